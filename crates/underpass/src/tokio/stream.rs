//! `Stream`: a tokio socket that sends file-backed slices by sendfile.
//!
//! It is an ordinary `AsyncRead + AsyncWrite`, so hyper, axum, tonic and h2 take it for a socket.
//! It says that it is good at vectored writes, which is what makes hyper queue bodies instead of
//! copying them. A cold page is fetched on the blocking pool, and the worker does other work.

use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use ::tokio::net::{TcpStream, UnixStream};

use crate::limits::TURN_BYTES;
use crate::outgoing::Attempt;
use crate::policy::Policy;
use crate::sender::Sender;
use crate::sent::Sent;
use crate::tokio::cold_fetch::ColdFetch;

/// A tokio socket that [`Stream`] can write to: [`TcpStream`] or [`UnixStream`].
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin + sealed::Sealed {
    /// Waits until the socket may have room.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down.
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Runs `f`, and notes that the socket has no room if it answers `WouldBlock`.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    fn try_write<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R>;
}

mod sealed {
    #[expect(unnameable_types, reason = "sealing a trait is making this one unnameable")]
    pub trait Sealed {}
    impl Sealed for super::TcpStream {}
    impl Sealed for super::UnixStream {}
}

impl Socket for TcpStream {
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
    }

    fn try_write<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::WRITABLE, f)
    }
}

impl Socket for UnixStream {
    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_write_ready(self, cx)
    }

    fn try_write<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::WRITABLE, f)
    }
}

/// A socket that sends slices of mapped files by reference and all others as they are.
///
/// Cancelling a write loses nothing: what the socket took was returned, and a fetch that is
/// under way only warms the page cache.
///
/// # Panics
///
/// Outside a tokio runtime, when a file's bytes are not in the page cache.
pub struct Stream<S: AsFd> {
    sender: Sender<S>,
    fetch: ColdFetch,
    /// Bytes written since other tasks of the thread last had their turn.
    turn_bytes: u64,
}

impl<S: Socket> Stream<S> {
    /// Wraps a connected socket. Its options are left alone; see [`Listener`](crate::Listener).
    pub fn new(socket: S) -> Self {
        Self { sender: Sender::new(socket), fetch: ColdFetch::default(), turn_bytes: 0 }
    }

    /// Sets how file-backed slices are sent; `Auto` otherwise.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.sender.writes.policy = policy;
        self
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        self.sender.socket()
    }

    /// The socket alone.
    pub fn into_inner(self) -> S {
        self.sender.into_inner()
    }

    /// What the writes did since this was asked last.
    pub fn take_sent(&mut self) -> Sent {
        let sent = std::mem::take(&mut self.sender.writes.sent);
        self.fetch.add_waits(sent)
    }

    fn poll_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.turn_bytes >= TURN_BYTES {
            self.turn_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            ready!(self.fetch.poll(cx))?;
            if self.get_ref().poll_write_ready(cx)?.is_pending() {
                self.turn_bytes = 0;
                return Poll::Pending;
            }
            let gate = self.fetch.gate();
            let (socket, writes) = self.sender.split();
            match socket.try_write(|| writes.attempt(socket.as_fd(), slices, &gate)) {
                Ok(Attempt::Wrote(wrote)) => {
                    self.turn_bytes += wrote.bytes as u64;
                    return Poll::Ready(Ok(wrote.bytes));
                }
                Ok(Attempt::Cold(cold)) => self.fetch.start(cold),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl<S: AsFd + fmt::Debug> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("socket", self.sender.socket())
            .field("policy", &self.sender.writes.policy)
            .finish_non_exhaustive()
    }
}

impl<S: Socket> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(self.sender.socket_mut()).poll_read(cx, buf)
    }
}

impl<S: Socket> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_slices(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.uncork();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender.uncork();
        Pin::new(self.sender.socket_mut()).poll_shutdown(cx)
    }
}
