//! Moves file bytes to sockets, and sockets to files, beneath user space.
//!
//! # The common jobs
//!
//! Each is one call, under tokio:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```text")]
//! # use tokio::net::TcpStream;
//! # async fn jobs(file: std::fs::File, a: TcpStream, b: TcpStream) -> std::io::Result<()> {
//! underpass::send_file(&file, .., &a).await?; // a range of a file to a socket: sendfile(2)
//! underpass::receive_file(&a, &file, ..).await?; // a socket to a file: splice(2)
//! underpass::copy_bidirectional(&a, &b).await?; // both ways between two sockets: splice(2)
//! # Ok(())
//! # }
//! ```
//!
//! [`transfer`] moves anything to anything on a thread that may wait. `examples/` has a program for
//! each job.
//!
//! # Transfers
//!
//! [`Transfer`] moves the bytes of any [`Source`] to any [`Sink`]: a file's range, a stream, or
//! memory, alone or in a chain. [`Transfer::run`] waits; [`Transfer::drive`] does not hold a
//! tokio worker; [`Transfer::step`] makes one system call, for your own event loop. What was done
//! is in its [`Ledger`]; an [`Error`] says how many bytes the sink already has.
//!
//! | from | to | `Policy::Auto` tries |
//! |---|---|---|
//! | file, up to 16 KiB | socket | `Copy`, in one call with what precedes it |
//! | file | socket | `Sendfile`, `Splice`, `Copy` |
//! | file | pipe | `Splice`, `Sendfile`, `Copy` |
//! | file | file | `CopyFileRange`, `Splice`, `Copy` |
//! | socket, pipe | socket, pipe, file | `Splice`, `Copy` |
//! | memory | anything | `Copy` |
//!
//! 256 KiB of a file and more leave a TCP socket under `TCP_CORK`, unless you corked the socket
//! yourself.
//!
//! # File-backed bytes
//!
//! [`FileBytes`] are a file's bytes as memory: map one, make [`Bytes`](bytes::Bytes) of it, give
//! them to hyper, axum or tonic as a body, and write through a [`Stream`], and they leave by
//! sendfile(2), untouched. [`Rope`] does the same for encoders.
//!
//! ```no_run
//! # use underpass::{FileBytes, Stability};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = std::fs::File::open("large.bin")?;
//! let mapped = FileBytes::map(file, .., Stability::Guard)?;
//! // No one writes to large.bin while the body lives: see `FileBytes::into_bytes`.
//! let body: bytes::Bytes = unsafe { mapped.into_bytes() };
//! # Ok(())
//! # }
//! ```
//!
//! When they go by reference:
//!
//! - HTTP/1: a body, or a piece of one, of more than [`COPY_MAX_BYTES`].
//! - HTTP/2, and tonic, which is HTTP/2: never by default. Their frames have 16 KiB, and at that
//!   size a copy is cheaper. [`Policy::Prefer`] with [`Method::Sendfile`] sends them by reference.
//! - TLS: where the kernel makes the records. In user space TLS reads what it sends: use
//!   [`CopyStream`] or [`Frames`].
//!
//! What is sent by reference is not copied: if the file is written to before the peer has the
//! bytes, the peer gets what was written. [`Stability`] says what is done about that.
//!
//! # Flows
//!
//! A [`Flow`] is one direction of a long-lived connection. It holds no pipe and no buffer while
//! nothing moves: a proxy pays for its busy connections alone. [`Pipe`] is the pool that
//! flows and transfers share.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `tokio` (default) | [`send_file`], [`Transfer::drive`], [`Flow`], [`Stream`], [`Listener`] |
//! | `tls` | [`tls`]: connections that rustls opens, and the kernel continues where it can |
//! | `uring` | the methods `UringSendZc` and `UringSplice` |
#![deny(unsafe_code)]

mod blocking;
mod blocking_stream;
mod buffer;
mod cork;
mod descriptor;
mod error;
mod file_bytes;
mod file_bytes_mut;
mod file_cache;
mod frames;
mod kind;
mod ledger;
mod limits;
mod method;
mod methods;
mod note;
mod outgoing;
mod pipe;
mod plan;
mod policy;
mod progress;
#[expect(unsafe_code, reason = "a promise about a file's bytes, and BufMut, an unsafe trait")]
mod promised;
mod residency;
mod ring;
mod rope;
mod sender;
mod sent;
mod sink;
mod source;
mod stability;
mod stage;
pub mod tls;
#[cfg(feature = "tokio")]
mod tokio;
mod transfer;
mod unmapped;
mod warm;
mod zero_copy;

pub use blocking_stream::BlockingStream;
pub use error::{Error, ErrorKind};
pub use file_bytes::{Broken, FileBytes, MapError};
pub use file_bytes_mut::{FileBytesMut, StoreError};
pub use file_cache::FileCache;
pub use frames::{Cold, Copied, Frames};
pub use kind::Kind;
pub use ledger::{Fallback, Ledger, Side, Tally};
pub use limits::COPY_MAX_BYTES;
pub use method::{Method, UnknownMethod};
pub use pipe::{Pipe, PipeSize, Shortage};
pub use policy::Policy;
pub use residency::Residency;
pub use rope::Rope;
pub use rustix::io::Errno;
pub use sent::Sent;
pub use sink::Sink;
pub use source::Source;
pub use stability::{Stability, UnknownStability};
#[cfg(feature = "tokio")]
pub use tokio::{
    copy_stream::CopyStream,
    flow::Flow,
    jobs::{copy_bidirectional, receive_file, send_file},
    listener::{Listener, ListeningSocket},
    readiness::Readiness,
    stream::{Socket, Stream},
};
pub use transfer::{Step, Transfer, prefetch, transfer};
pub use underpass_sys::region::Order;
pub use underpass_sys::socket::{send_room, unacknowledged};
pub use unmapped::UnmappedFile;
