//! Response bodies: nothing, bytes in memory, or a range of a file.
//!
//! A range of a file is a slice of its mapping, and this server never reads it: over HTTP/1.1
//! hyper queues body slices as they are, and the stream below only looks at their addresses.
//! The one unsafe line of this crate promises that.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use underpass::FileBytes;

use crate::wire::Open;

/// A body of at most one slice.
#[derive(Debug)]
pub(crate) struct Body {
    bytes: Option<Bytes>,
    _open: Open,
}

impl Body {
    /// A body of exactly these bytes; the response counts as open until hyper has taken them.
    pub(crate) fn new(bytes: Bytes, open: Open) -> Self {
        Self { bytes: (!bytes.is_empty()).then_some(bytes), _open: open }
    }
}

/// The bytes of a mapped file, to be sent and not read.
#[expect(unsafe_code, reason = "hyper takes slices, and a slice of a mapping takes a promise")]
pub(crate) fn to_be_sent(file: FileBytes) -> Bytes {
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": the only consumer is hyper's
    // HTTP/1 queue over `underpass::Stream`, and both pass it on by address and length. The
    // path-shape test would see a byte of it in user memory.
    unsafe { file.into_bytes() }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
