//! TLS connections: rustls shakes hands, then the kernel makes and reads the records where it can.
//!
//! [`TlsStream`] is for tokio, hyper and what stands on them; [`BlockingTlsStream`] is for threads
//! that may wait. Where the kernel makes the records, file-backed bytes leave by sendfile(2) as
//! over a plain socket. Elsewhere rustls makes them, nothing else changes for the caller, and
//! [`Unavailable`] says why.
//!
//! The kernel needs the keys: set `enable_secret_extraction` in the rustls configuration. Without
//! it connections stay in user space.
//!
//! Source: Documentation/networking/tls.rst; RFC 8446 §5; RFC 5246 §6.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod blocking;
#[cfg(feature = "tls")]
mod by_record;
#[cfg(all(feature = "tls", feature = "tokio"))]
mod closing;
mod error;
#[cfg(feature = "tls")]
mod handover;
#[cfg(feature = "tls")]
mod handshake;
#[cfg(feature = "tls")]
mod inbound;
#[cfg(feature = "tls")]
mod kernel;
#[cfg(feature = "tls")]
mod probe;
#[cfg(feature = "tls")]
mod records;
#[cfg(all(feature = "tls", feature = "tokio"))]
mod stream;
#[cfg(feature = "tls")]
mod user_space;
#[cfg(test)]
#[cfg(feature = "tls")]
mod wire;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::Records;
pub use error::TlsError;
#[cfg(feature = "tls")]
pub(crate) use records::Records;
#[cfg(all(feature = "tls", feature = "tokio"))]
pub use stream::TlsStream;
#[cfg(feature = "tls")]
pub use {
    blocking::BlockingTlsStream,
    handover::Unavailable,
    handshake::{Handshake, Negotiated},
    probe::is_available,
    rustls,
};
