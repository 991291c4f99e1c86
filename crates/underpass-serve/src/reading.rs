//! What is made while it is sent, on threads that may wait: a body that is read, of a file that is
//! not mapped, or the segments of one that is put together.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

/// What is made, one after the other.
type Items<T> = Box<dyn Iterator<Item = io::Result<T>> + Send>;

/// Items of which one is made at a time.
pub(crate) struct Making<T> {
    state: State<T>,
}

enum State<T> {
    Between(Items<T>),
    Making(JoinHandle<(Items<T>, Option<io::Result<T>>)>),
    Over,
}

impl<T: Send + 'static> Making<T> {
    pub(crate) fn new(items: impl Iterator<Item = io::Result<T>> + Send + 'static) -> Self {
        Self { state: State::Between(Box::new(items)) }
    }

    /// The next item. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<T>>> {
        if let State::Between(_) = self.state
            && let State::Between(mut items) = std::mem::replace(&mut self.state, State::Over)
        {
            self.state = State::Making(spawn_blocking(move || {
                let item = items.next();
                (items, item)
            }));
        }
        let State::Making(making) = &mut self.state else { return Poll::Ready(None) };
        // It is cancelled if the runtime stops meanwhile.
        let (items, item) = ready!(Pin::new(making).poll(cx)).map_err(io::Error::other)?;
        self.state = if matches!(item, Some(Ok(_))) { State::Between(items) } else { State::Over };
        Poll::Ready(item)
    }
}

impl<T> fmt::Debug for Making<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Making").finish_non_exhaustive()
    }
}

/// A body of pieces.
pub(crate) struct Reading {
    pieces: Making<Bytes>,
    /// Bytes that are to come, if that is known.
    left: Option<u64>,
}

impl Reading {
    /// A body of these pieces, which have `left` bytes.
    pub(crate) fn new(
        pieces: impl Iterator<Item = io::Result<Bytes>> + Send + 'static,
        left: Option<u64>,
    ) -> Self {
        Self { pieces: Making::new(pieces), left }
    }

    /// Bytes that are to come, if that is known.
    pub(crate) const fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next piece. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let piece = ready!(self.pieces.poll_next(cx));
        if let (Some(Ok(piece)), Some(left)) = (&piece, &mut self.left) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece)
    }
}
