//! Response bodies: nothing, bytes in memory, a range of a file, mapped or read, or several of
//! these.
//!
//! A range of a mapped file is a slice of its mapping, and this server never reads it: over
//! HTTP/1.1 hyper queues body slices as they are, and the stream below only looks at their
//! addresses. The one unsafe line of this crate promises that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use underpass::{FileBytes, Frames};

use crate::access_log::Cut;
#[cfg(feature = "remote")]
use crate::arriving::{Arriving, ArrivingFrames};
use crate::progress::Open;
use crate::reading::Reading;
use crate::sequence::InSequence;

/// What a body is made of.
pub(crate) enum Payload {
    /// One slice.
    Bytes(Bytes),
    /// Pieces that are still to be read.
    Reading(Reading),
    /// Several of these.
    Sequence(Box<InSequence>),
    /// What is on its way.
    #[cfg(feature = "remote")]
    Arriving(Box<Arriving>),
}

/// What may be looked at on its way out, as h2 does: no byte of a mapping is among it.
pub(crate) enum Readable {
    /// A file, of which pieces are copied.
    Frames(Frames),
    /// What is in memory, or read anyway.
    Payload(Payload),
    /// What is on its way, of which pieces are copied.
    #[cfg(feature = "remote")]
    Arriving(ArrivingFrames),
}

impl Payload {
    /// The one slice, if it is one.
    pub(crate) fn into_bytes(self) -> Option<Bytes> {
        let Self::Bytes(bytes) = self else { return None };
        Some(bytes)
    }

    /// The next slice. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::Reading(reading) => reading.poll_next(cx),
            Self::Sequence(sequence) => sequence.poll_next(cx),
            #[cfg(feature = "remote")]
            Self::Arriving(arriving) => arriving.poll_next(cx),
        }
    }
}

/// The content of a response.
pub(crate) struct Body {
    payload: Payload,
    _open: Open,
}

impl Body {
    /// A body of exactly these bytes; the response counts as open until hyper has taken them.
    pub(crate) const fn new(payload: Payload, open: Open) -> Self {
        Self { payload, _open: open }
    }
}

/// The bytes of a mapped file, to be sent and not read.
#[expect(unsafe_code, reason = "hyper takes slices, and a slice of a mapping takes a promise")]
pub(crate) fn to_be_sent(file: FileBytes) -> Bytes {
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": the only consumer is hyper's
    // HTTP/1 queue over `underpass::Stream` or `TlsStream`, and all pass it on by address and
    // length: where rustls encrypts, the file is read anew, and not the mapping. HTTP/2 is given
    // what `Representation::to_be_read` makes. The path-shape test would see a byte of it in user
    // memory.
    unsafe { file.into_bytes() }
}

/// Whose doing it is that content is not available.
pub(crate) fn cut_by(error: &io::Error) -> Cut {
    #[cfg(feature = "remote")]
    if crate::arriving::is_of_origin(error) {
        return Cut::Origin;
    }
    let _ = error;
    Cut::File
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.payload.poll_next(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload {
            Payload::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Reading(reading) => {
                reading.left().map_or_else(SizeHint::new, SizeHint::with_exact)
            }
            Payload::Sequence(sequence) => SizeHint::with_exact(sequence.left()),
            #[cfg(feature = "remote")]
            Payload::Arriving(arriving) => SizeHint::with_exact(arriving.left()),
        }
    }
}
