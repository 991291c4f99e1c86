//! A body that is read while it is sent, on threads that may wait: of a file that is not mapped.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

/// What is read, piece by piece.
type Pieces = Box<dyn Iterator<Item = io::Result<Bytes>> + Send>;

/// A body of pieces, of which one is read at a time.
pub(crate) struct Reading {
    state: State,
    /// Bytes that are to come, if that is known.
    left: Option<u64>,
}

enum State {
    Between(Pieces),
    Reading(JoinHandle<(Pieces, Option<io::Result<Bytes>>)>),
    Over,
}

impl Reading {
    /// A body of these pieces, which have `left` bytes.
    pub(crate) fn new(
        pieces: impl Iterator<Item = io::Result<Bytes>> + Send + 'static,
        left: Option<u64>,
    ) -> Self {
        Self { state: State::Between(Box::new(pieces)), left }
    }

    /// Bytes that are to come, if that is known.
    pub(crate) const fn left(&self) -> Option<u64> {
        self.left
    }

    /// The next piece. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if let State::Between(_) = self.state
            && let State::Between(mut pieces) = std::mem::replace(&mut self.state, State::Over)
        {
            self.state = State::Reading(spawn_blocking(move || {
                let piece = pieces.next();
                (pieces, piece)
            }));
        }
        let State::Reading(reading) = &mut self.state else { return Poll::Ready(None) };
        // It is cancelled if the runtime stops meanwhile.
        let (pieces, piece) = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
        self.state =
            if matches!(piece, Some(Ok(_))) { State::Between(pieces) } else { State::Over };
        if let (Some(Ok(piece)), Some(left)) = (&piece, &mut self.left) {
            *left = left.saturating_sub(piece.len() as u64);
        }
        Poll::Ready(piece)
    }
}
