//! The content of an answer: whole in memory, or piece by piece as it is made.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::ended::Ended;
use super::reading::ReadError;

/// What the thread that reads has to say.
#[derive(Debug)]
pub(super) enum Told {
    Piece(Bytes),
    /// There is no more. Without it, what came is not all.
    End,
    Failed(ReadError),
}

/// Why an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    #[error("the rest cannot be read")]
    Failed(#[source] ReadError),
    #[error("the thread that reads is gone")]
    Gone,
}

/// Where content comes from.
#[derive(Debug)]
enum Source {
    Memory(VecDeque<Bytes>),
    Thread(mpsc::Receiver<Told>),
}

/// The content of an answer, and what is noted when it ends.
#[derive(Debug)]
pub(super) struct Content {
    first: Option<Bytes>,
    source: Source,
    ended: Ended,
}

impl Content {
    pub(super) fn of(pieces: Vec<Bytes>, mut ended: Ended) -> Self {
        ended.is_whole = pieces.is_empty();
        Self { first: None, source: Source::Memory(pieces.into()), ended }
    }

    /// A first piece, and those that follow.
    pub(super) fn streamed(first: Bytes, rest: mpsc::Receiver<Told>, ended: Ended) -> Self {
        Self { first: Some(first), source: Source::Thread(rest), ended }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cut>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        let told = match &mut self.source {
            Source::Memory(pieces) => {
                let piece = pieces.pop_front();
                // Once its length has come, hyper asks for no more.
                self.ended.is_whole = pieces.is_empty();
                return Poll::Ready(piece.map(Ok));
            }
            Source::Thread(rest) => ready!(rest.poll_recv(cx)),
        };
        Poll::Ready(match told {
            Some(Told::Piece(piece)) => Some(Ok(piece)),
            Some(Told::End) => None,
            Some(Told::Failed(error)) => Some(Err(Cut::Failed(error))),
            None => Some(Err(Cut::Gone)),
        })
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let piece = ready!(self.poll_piece(cx));
        match &piece {
            Some(Ok(bytes)) => self.ended.bytes += bytes.len() as u64,
            Some(Err(_)) => {}
            None => self.ended.is_whole = true,
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_whole
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Memory(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Source::Thread(_) => SizeHint::default(),
        }
    }
}
