//! Moves file bytes to sockets, and sockets to files, beneath user space.
#![deny(unsafe_code)]

mod blocking;
mod blocking_stream;
mod error;
mod file_bytes;
mod file_bytes_mut;
mod file_cache;
mod kind;
mod ledger;
mod method;
mod methods;
mod outgoing;
mod parked;
mod passage;
mod pipe;
mod plan;
mod policy;
mod progress;
mod ring;
mod rope;
mod sink;
mod source;
mod stability;
mod stage;
#[cfg(feature = "tokio")]
mod tokio;
mod transfer;
mod warm;
mod zero_copy;

pub use blocking_stream::BlockingStream;
pub use error::{Error, ErrorKind};
pub use file_bytes::{Broken, FileBytes, MapError};
pub use file_bytes_mut::{FileBytesMut, StoreError};
pub use file_cache::FileCache;
pub use kind::Kind;
pub use ledger::{Fallback, Ledger, Side, Tally};
pub use method::{Method, UnknownMethod};
pub use outgoing::{COPY_MAX_BYTES, OutgoingError, Route};
pub use policy::Policy;
pub use rope::Rope;
pub use sink::Sink;
pub use source::Source;
pub use stability::{Stability, UnknownStability};
#[cfg(feature = "tonic")]
pub use tokio::tonic::Incoming;
#[cfg(feature = "tokio")]
pub use tokio::{
    drive::Evented,
    listener::Listener,
    stream::{Socket, Stream},
};
pub use transfer::{Step, Transfer, fetch, transfer};
pub use underpass_sys::region::Unchanging;
