//! The wire between hyper and a connection's socket, and what has passed over it.
//!
//! hyper does not say when it holds nothing that would be lost with it. The wire can tell: hyper
//! flushes the socket only when its own write buffer is empty, and asks for more bytes only
//! when it has used up what it read.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use underpass::Stream;
use underpass_daemon::Accepted;

use crate::site::Site;

/// The state of a connection's conversation.
#[derive(Debug)]
pub(crate) struct Progress {
    site: Rc<Site>,
    /// Requests whose response hyper has not taken whole.
    open: Cell<u32>,
    /// Whether hyper may hold bytes that the socket has not taken.
    is_unflushed: Cell<bool>,
    /// Whether bytes came after the last request began.
    is_in_head: Cell<bool>,
    /// Whether a request had a body, of which hyper may be reading the rest.
    had_content: Cell<bool>,
    bytes: Cell<u64>,
}

impl Progress {
    pub(crate) fn new(site: Rc<Site>) -> Self {
        let (open, is_unflushed, is_in_head, had_content, bytes) = Default::default();
        Self { site, open, is_unflushed, is_in_head, had_content, bytes }
    }

    /// Whether nothing would be lost with hyper's state, save bytes it would hand back.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_answered() && !self.had_content.get()
    }

    /// Whether every request has its response. What came after one with content may be its rest.
    pub(crate) fn is_answered(&self) -> bool {
        let is_waiting = self.open.get() == 0 && !self.is_unflushed.get();
        is_waiting && (self.had_content.get() || !self.is_in_head.get())
    }

    /// Whether part of a request head has come and its rest has not.
    pub(crate) fn is_in_head(&self) -> bool {
        self.is_in_head.get()
    }

    /// Bytes that passed in either direction.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

/// A request that is being answered: dropped when hyper has taken the whole response.
#[derive(Debug)]
pub(crate) struct Open(Rc<Progress>);

impl Open {
    pub(crate) fn new(progress: &Rc<Progress>, has_content: bool) -> Self {
        progress.open.set(progress.open.get() + 1);
        progress.is_in_head.set(false);
        if has_content {
            progress.had_content.set(true);
        }
        Self(Rc::clone(progress))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.is_unflushed.set(true);
    }
}

/// A client's socket, whose file-backed slices leave by sendfile.
enum Socket {
    Tcp(Stream<TcpStream>, SocketAddr),
    Unix(Stream<UnixStream>),
}

impl Socket {
    fn new(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Tcp(stream, peer) => Self::Tcp(Stream::new(stream), peer),
            Accepted::Unix(stream) => Self::Unix(Stream::new(stream)),
        }
    }

    fn into_inner(self) -> Accepted {
        match self {
            Self::Tcp(stream, peer) => Accepted::Tcp(stream.into_inner(), peer),
            Self::Unix(stream) => Accepted::Unix(stream.into_inner()),
        }
    }
}

/// Calls a method of whichever stream it is.
macro_rules! stream {
    ($socket:expr, $method:ident, $($argument:expr),*) => {
        match &mut $socket {
            Socket::Tcp(stream, _) => Pin::new(stream).$method($($argument),*),
            Socket::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

/// A socket that keeps its conversation's [`Progress`].
pub(crate) struct Wire {
    socket: Socket,
    /// Bytes that were read from the socket already, to be read first.
    unread: Bytes,
    progress: Rc<Progress>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(accepted: Accepted, unread: Bytes, progress: Rc<Progress>) -> Self {
        Self { socket: Socket::new(accepted), unread, progress }
    }

    /// The client's address; the client of a Unix socket has none.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        match &self.socket {
            Socket::Tcp(_, peer) => Some(peer.ip()),
            Socket::Unix(_) => None,
        }
    }

    pub(crate) fn into_parts(self) -> (Accepted, Bytes) {
        (self.socket.into_inner(), self.unread)
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
            ready!(stream!(self.socket, poll_read, cx, buf))?;
        } else {
            let n = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..n]);
            self.unread.advance(n);
        }
        let read = buf.filled().len() - before;
        if read > 0 {
            self.progress.is_in_head.set(true);
            self.progress.add(read);
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(stream!(self.socket, poll_write_vectored, cx, slices))?;
        self.progress.add(written);
        self.progress.site.counts.count_sent(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(stream!(self.socket, poll_flush, cx))?;
        self.progress.is_unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self.socket, poll_shutdown, cx)
    }
}
