//! The wire between hyper and a connection's transport, which keeps the [`Progress`].

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::progress::Progress;
use crate::transport::Transport;

/// A transport that keeps its conversation's [`Progress`].
#[derive(Debug)]
pub(crate) struct Wire {
    transport: Rc<RefCell<Transport>>,
    /// Bytes that were read from the socket already, to be read first.
    unread: Bytes,
    progress: Rc<Progress>,
}

impl Wire {
    pub(crate) const fn new(
        transport: Rc<RefCell<Transport>>,
        unread: Bytes,
        progress: Rc<Progress>,
    ) -> Self {
        Self { transport, unread, progress }
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
            ready!(self.transport.borrow_mut().poll_read(cx, buf))?;
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
        let mut transport = self.transport.borrow_mut();
        let written = ready!(transport.poll_write_vectored(cx, slices));
        let (head_bytes, n) =
            (slices.first().map_or(0, |head| head.len()), *written.as_ref().unwrap_or(&0));
        self.progress.note_written(head_bytes, n, &transport.take_account());
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.transport.borrow_mut().poll_flush(cx))?;
        self.progress.note_flushed();
        Poll::Ready(Ok(()))
    }

    /// The conversation gets the socket back from hyper, and closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
