//! The wire between hyper and a connection's socket, and what has passed over it.
//!
//! hyper does not say when it holds nothing that would be lost with it. The wire can tell: hyper
//! flushes the socket only when its own write buffer is empty, and asks for more bytes only
//! when it has used up what it read.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use underpass::Stream;

/// Where a connection's conversation stands.
#[derive(Debug, Default)]
pub(crate) struct Progress {
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
    /// Whether nothing would be lost with hyper's state, save bytes it would hand back.
    pub(crate) fn is_idle(&self) -> bool {
        let is_waiting = self.open.get() == 0 && !self.is_unflushed.get();
        is_waiting && !self.is_in_head.get() && !self.had_content.get()
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

/// A stream that keeps its conversation's [`Progress`].
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream<TcpStream>,
    /// Bytes that were read from the socket already, to be read first.
    unread: Bytes,
    progress: Rc<Progress>,
}

impl Wire {
    pub(crate) fn new(stream: Stream<TcpStream>, unread: Bytes, progress: Rc<Progress>) -> Self {
        Self { stream, unread, progress }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream.into_inner(), self.unread)
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
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
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
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.progress.add(written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.progress.is_unflushed.set(false);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
