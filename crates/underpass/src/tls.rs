//! TLS connections whose records the kernel makes and reads where it can.
//!
//! A [`Handover`] asks whether the kernel can, and says why it cannot ([`Unavailable`]) while the
//! connection is still rustls'. Afterwards a [`TlsStream`] is a source and a sink of transfers
//! as a plain socket is: a file leaves by sendfile(2), and content arrives by splice(2).
//!
//! Source: Documentation/networking/tls.rst; RFC 8446 §5; RFC 5246 §6.

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod by_record;
mod error;
#[cfg(feature = "tls")]
mod handover;
#[cfg(feature = "tls")]
mod inbound;
#[cfg(feature = "tls")]
mod probe;
#[cfg(feature = "tls")]
mod records;
#[cfg(feature = "tls")]
mod stream;
#[cfg(test)]
#[cfg(feature = "tls")]
mod wire;

#[cfg(not(feature = "tls"))]
pub(crate) use absent::Records;
pub use error::TlsError;
#[cfg(feature = "tls")]
pub(crate) use records::Records;
#[cfg(feature = "tls")]
pub use {
    by_record::ByRecord,
    handover::{Handover, Unavailable},
    stream::TlsStream,
};
