//! Moves file bytes to sockets, and sockets to files, beneath user space.
#![deny(unsafe_code)]

mod blocking_stream;
mod file_bytes;
mod file_cache;
mod outgoing;
mod stability;
mod stage;
#[cfg(feature = "tokio")]
mod tokio;
mod warm;

pub use blocking_stream::BlockingStream;
pub use file_bytes::{Broken, FileBytes, MapError};
pub use file_cache::FileCache;
pub use outgoing::{COPY_MAX_BYTES, OutgoingError, Route};
pub use stability::{Stability, UnknownStability};
#[cfg(feature = "tokio")]
pub use tokio::{
    listener::Listener,
    stream::{Socket, Stream},
};
pub use underpass_sys::region::Unchanging;
