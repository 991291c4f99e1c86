//! The wire between hyper and a connection's socket, which keeps the [`Progress`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use underpass::Stream;
use underpass_daemon::Accepted;

use crate::progress::Progress;

/// A client's socket, whose file-backed slices leave by sendfile.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(Stream<TcpStream>, std::net::SocketAddr),
    Unix(Stream<UnixStream>),
}

impl Socket {
    pub(crate) fn new(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Tcp(stream, peer) => Self::Tcp(Stream::new(stream), peer),
            Accepted::Unix(stream) => Self::Unix(Stream::new(stream)),
        }
    }

    pub(crate) fn into_inner(self) -> Accepted {
        match self {
            Self::Tcp(stream, peer) => Accepted::Tcp(stream.into_inner(), peer),
            Self::Unix(stream) => Accepted::Unix(stream.into_inner()),
        }
    }

    /// The client's address; the client of a Unix socket has none.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) => Some(peer.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.get_ref().as_fd(),
            Self::Unix(stream) => stream.get_ref().as_fd(),
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! stream {
    ($wire:expr, $method:ident, $($argument:expr),*) => {
        match &mut *$wire.socket.borrow_mut() {
            Socket::Tcp(stream, _) => Pin::new(stream).$method($($argument),*),
            Socket::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

/// A socket that keeps its conversation's [`Progress`].
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Rc<RefCell<Socket>>,
    /// Bytes that were read from the socket already, to be read first.
    unread: Bytes,
    progress: Rc<Progress>,
}

impl Wire {
    pub(crate) const fn new(
        socket: Rc<RefCell<Socket>>,
        unread: Bytes,
        progress: Rc<Progress>,
    ) -> Self {
        Self { socket, unread, progress }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.unread.is_empty() {
            ready!(stream!(self, poll_read, cx, buf))?;
        } else {
            let n = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..n]);
            self.unread.advance(n);
        }
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.progress.note_read(read);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.progress.is_answering() {
            // What hyper says of a malformed head is a status without a word: there will be a
            // better answer when it gives the connection back.
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = ready!(stream!(self, poll_write_vectored, cx, slices))?;
        self.progress.note_written(slices.first().map_or(0, |head| head.len()), written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(stream!(self, poll_flush, cx))?;
        self.progress.note_flushed();
        Poll::Ready(Ok(()))
    }

    /// The conversation gets the socket back from hyper, and closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
