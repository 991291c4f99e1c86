//! A file as an HTTP body, for hyper, axum and tower: it leaves by sendfile(2), or is read once
//! and checked, and a response is cut short rather than completed with bytes the file did not
//! have.
//!
//! ```toml
//! underpass-http-body = "0.0"
//! ```
//!
//! ```
//! # use std::fs::File;
//! # use underpass::{FileBytes, Stability};
//! # use underpass_http_body::FileBody;
//! # fn example(file: File) -> Result<http::Response<FileBody>, underpass::MapError> {
//! let mapped = FileBytes::map(file, .., Stability::Guard)?; // or a range, such as 0..1_000
//! Ok(http::Response::new(FileBody::copied(mapped)))
//! # }
//! ```
//!
//! | body | its bytes | for |
//! |---|---|---|
//! | [`FileBody::by_reference`] | leave by sendfile, unread | HTTP/1 over [`underpass::Stream`] |
//! | [`FileBody::copied`] | are read once, then checked | gzip, hashes, TLS, HTTP/2, all else |
//!
//! Either ends in an error if the file lost bytes or was changed, as far as its
//! [`Stability`](underpass::Stability) can tell, before the response is complete.
//!
//! HTTP/2 frames are 16 KiB unless the peer allows more, and slices of that size are copied,
//! because that is cheaper. [`Policy::Prefer`](underpass::Policy::Prefer) with `Method::Sendfile`
//! on the listener sends each by reference, and so does `Auto` where the peer's
//! `SETTINGS_MAX_FRAME_SIZE` is larger.
#![forbid(unsafe_code)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use underpass::{FileBytes, Frames};

/// A file, or a range of one, as a body and as a stream of its bytes.
///
/// Its size is known, so hyper sends a `Content-Length`, and the peer notices when the body is cut:
/// the connection ends early over HTTP/1, and the stream is reset over HTTP/2.
///
/// # Errors
///
/// The `io::Error` holds an [`underpass::Error`] with the offset in the file. It is the last item.
#[derive(Debug)]
pub struct FileBody {
    frames: Frames,
    /// A range that is being brought in from the disk.
    prefetch: Option<JoinHandle<io::Result<()>>>,
}

impl FileBody {
    /// A body that leaves by sendfile where an [`underpass::Stream`] writes it.
    ///
    /// The file is checked before each piece of up to 2 MiB and before the end. That is enough if
    /// each piece is used up before the next is asked for, as compression does, or if the
    /// transport checks again before it releases the last bytes, as [`underpass::Stream`] and
    /// [`underpass::CopyStream`] do. HTTP/1 does not ask for the end of a body whose length it
    /// knows: user-space TLS without a `CopyStream` can send zeros for bytes the file lost, in a
    /// response that completes.
    ///
    /// [`FileBytes::into_frames`] says what the caller promises, and is unsafe.
    #[must_use]
    pub const fn by_reference(frames: Frames) -> Self {
        Self { frames, prefetch: None }
    }

    /// A body of copies: each piece of up to 64 KiB is read by pread(2), then the file is checked,
    /// and then the piece is handed out. Safe on any file, under every layer and transport.
    ///
    /// What is not in the page cache is fetched on tokio's blocking pool; outside of a runtime,
    /// reading waits for the disk.
    #[must_use]
    pub fn copied(file: FileBytes) -> Self {
        Self { frames: file.into_copied_frames(), prefetch: None }
    }

    /// Waits until the next piece can be read without waiting for the disk.
    fn poll_hot(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.prefetch.is_none() && self.frames.are_copies() && !self.frames.is_over() {
            let runtime = Handle::try_current().ok();
            self.prefetch = runtime.and_then(|runtime| {
                let cold = self.frames.cold()?;
                Some(runtime.spawn_blocking(move || cold.prefetch()))
            });
        }
        let Some(prefetch) = &mut self.prefetch else { return Poll::Ready(Ok(())) };
        let answer = ready!(Pin::new(prefetch).poll(cx));
        self.prefetch = None;
        // A disk that failed is reported by the read that needs the page, with its offset.
        Poll::Ready(answer.map(|_| ()).map_err(io::Error::other))
    }
}

impl Stream for FileBody {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        ready!(self.poll_hot(cx))?;
        Poll::Ready(self.frames.next().map(|piece| piece.map_err(io::Error::from)))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_next(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    /// Not before the last check has passed.
    fn is_end_stream(&self) -> bool {
        self.frames.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.frames.remaining())
    }
}
