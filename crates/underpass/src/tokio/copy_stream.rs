//! `CopyStream`: file-backed slices for a transport that has to read what it sends.
//!
//! TLS in user space encrypts, so it reads. From a mapping it would read zeros where the file was
//! truncated, and could not tell. This reads file-backed slices by pread(2) instead, asks whether
//! the file is still what it was, and gives the transport memory.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::outgoing;
use crate::sent::Sent;
use crate::tokio::cold_fetch::ColdFetch;

/// Any `AsyncWrite`, such as a rustls connection, that gets the contents of file-backed slices as
/// memory, and never a byte that was not in the file.
///
/// What a [`Stream`](crate::Stream) is for sockets: put it between hyper and the transport. Slices
/// of other memory pass through as they are. No byte of a mapping is touched. A cold page is read
/// on the blocking pool.
///
/// ```no_run
/// # async fn example<T: tokio::io::AsyncWrite + Unpin>(tls: T, body: bytes::Bytes)
/// # -> std::io::Result<()> {
/// use tokio::io::AsyncWriteExt;
///
/// let mut stream = underpass::CopyStream::new(tls); // of tokio-rustls, say
/// stream.write_all(&body).await?; // of `FileBytes::into_bytes`, or any other
/// stream.shutdown().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Those of the transport. If a file was truncated, changed or could not be read, the `io::Error`
/// holds an [`Error`](crate::Error), and the last bytes of the slice were not given to the
/// transport: close it without a farewell, so that the peer does not take a part for the whole.
///
/// # Cancel safety
///
/// That of the transport: a write that was not ready has taken nothing.
///
/// # Panics
///
/// Outside a tokio runtime, when a file's bytes are not in the page cache.
///
/// # Limits
///
/// What the layer above reads itself is not covered: HTTP/2 copies the start of each frame, up to
/// 256 bytes, out of the slice. With [`Frames`](crate::Frames) as the body that is found too.
#[derive(Debug)]
pub struct CopyStream<T> {
    transport: T,
    fetch: ColdFetch,
    /// What was copied since someone asked last.
    copied: u64,
}

impl<T> CopyStream<T> {
    /// Wraps a transport.
    pub fn new(transport: T) -> Self {
        Self { transport, fetch: ColdFetch::default(), copied: 0 }
    }

    /// The transport.
    pub const fn get_ref(&self) -> &T {
        &self.transport
    }

    /// The transport, to be changed.
    pub const fn get_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// What the writes did since this was asked last.
    pub fn take_sent(&mut self) -> Sent {
        let copied = std::mem::take(&mut self.copied);
        self.fetch.add_waits(Sent { copied, ..Sent::default() })
    }

    /// The transport alone.
    pub fn into_inner(self) -> T {
        self.transport
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for CopyStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for CopyStream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.fetch.poll(cx))?;
            let gate = self.fetch.gate();
            let write = |memory: &[IoSlice<'_>]| {
                Pin::new(&mut self.transport).poll_write_vectored(cx, memory)
            };
            match outgoing::with_memory(slices, &gate, write)? {
                Ok(written) => {
                    if let Poll::Ready(Ok(n)) = &written {
                        self.copied += *n as u64;
                    }
                    return written;
                }
                Err(cold) => self.fetch.start(cold),
            }
        }
    }

    /// A caller that must not copy slices together would touch them.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
