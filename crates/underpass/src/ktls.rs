//! TLS in the kernel: a connection that rustls made, whose records the kernel goes on with.
//!
//! A [`Handover`] asks whether the kernel can, and says why it cannot ([`Unavailable`]) while the
//! connection is still rustls' own. Afterwards a [`TlsStream`] is a source and a sink of transfers
//! as a plain socket is: a file goes out by sendfile(2), and content comes in by splice(2).
//!
//! Source: Documentation/networking/tls.rst; RFC 8446 §5; RFC 5246 §6.

mod by_record;
mod handover;
mod inbound;
mod probe;
mod records;
mod stream;
#[cfg(test)]
mod wire;

pub use by_record::ByRecord;
pub use handover::{Handover, Unavailable};
pub(crate) use records::{Halt, Records, Turn};
pub use stream::TlsStream;
