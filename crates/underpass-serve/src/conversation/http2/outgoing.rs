//! Content on its way into frames. h2 looks at what it writes, so no byte of a mapping is among
//! it: files are copied, each piece checked after it was read, and only once there is room for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use underpass::Cold;

use super::block::{self, Next};
use crate::answer::Content;
use crate::body::{Payload, Readable};
use crate::sequence::{Queue, Segment};

/// Content of which pieces are taken.
pub(super) struct Outgoing {
    /// What is left of the segment that is being sent.
    current: Readable,
    /// Bytes of it that are here already.
    ahead: Bytes,
    rest: Queue,
    /// Bytes that are to come, if that is known.
    left: Option<u64>,
    /// A range that is being brought in from the disk, and since when.
    fetch: Option<(JoinHandle<()>, Instant)>,
    /// How long the last one took.
    waited: Option<Duration>,
}

impl Outgoing {
    pub(super) fn new(content: Content) -> Self {
        let left = content.len();
        let nothing = Readable::Payload(Payload::Bytes(Bytes::new()));
        let (current, rest) = match content {
            Content::Empty => (nothing, Queue::default()),
            Content::Memory(bytes) => (Readable::Payload(Payload::Bytes(bytes)), Queue::default()),
            Content::File(file, range) => (file.to_be_read(range), Queue::default()),
            Content::UntilEnd(file) => (file.to_be_read(0..u64::MAX), Queue::default()),
            Content::Sequence(sequence) => (nothing, sequence.into_segments()),
            #[cfg(feature = "remote")]
            Content::Relayed(relayed) => {
                (Readable::Payload(Payload::Reading(relayed.into_reading())), Queue::default())
            }
        };
        Self { current, ahead: Bytes::new(), rest, left, fetch: None, waited: None }
    }

    /// Bytes that are to come, if that is known.
    pub(super) const fn left(&self) -> Option<u64> {
        self.left
    }

    /// How long a fetch from the disk took that has ended since this was asked last.
    pub(super) const fn take_waited(&mut self) -> Option<Duration> {
        self.waited.take()
    }

    /// All of it, if it is in memory.
    pub(super) fn in_memory(&self) -> Option<&Bytes> {
        match &self.current {
            Readable::Payload(Payload::Bytes(bytes)) if self.rest.is_empty() => Some(bytes),
            Readable::Payload(_) | Readable::Frames(_) => None,
            #[cfg(feature = "remote")]
            Readable::Arriving(_) => None,
        }
    }

    /// Waits until there is a piece that needs no waiting for, as far as is known. Not so at the
    /// end. Must run within a tokio runtime.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if let Some((fetch, since)) = &mut self.fetch {
            let fetched = ready!(Pin::new(fetch).poll(cx));
            self.waited = Some(since.elapsed());
            self.fetch = None;
            // A disk that failed is reported by the read that needs the page, with its offset.
            fetched.map_err(io::Error::other)?;
        }
        while self.ahead.is_empty() {
            let is_over = match &mut self.current {
                Readable::Frames(frames) => frames.remaining() == 0,
                #[cfg(feature = "remote")]
                Readable::Arriving(arriving) => !ready!(arriving.poll_ready(cx)?),
                Readable::Payload(payload) => match ready!(payload.poll_next(cx)?) {
                    Some(bytes) => {
                        self.ahead = bytes;
                        continue;
                    }
                    None => true,
                },
            };
            if !is_over {
                break;
            }
            self.current = match ready!(self.rest.poll_next(cx)?) {
                None => return Poll::Ready(Ok(false)),
                Some(Segment::Memory(bytes)) => Readable::Payload(Payload::Bytes(bytes)),
                Some(Segment::File(file, range)) => file.to_be_read(range),
            };
        }
        Poll::Ready(Ok(true))
    }

    /// The next piece, of up to `most` bytes; nothing, if it has to be waited for after all.
    ///
    /// # Errors
    ///
    /// That the file is not what it was, or cannot be read.
    pub(super) fn take(
        &mut self,
        most: usize,
        fetches: &Arc<Semaphore>,
    ) -> io::Result<Option<Bytes>> {
        let frames = match &mut self.current {
            Readable::Payload(_) => None,
            Readable::Frames(frames) => Some(frames),
            #[cfg(feature = "remote")]
            Readable::Arriving(arriving) => arriving.frames(),
        };
        let piece = match frames {
            _ if !self.ahead.is_empty() => self.ahead.split_to(most.min(self.ahead.len())),
            None => return Ok(None),
            Some(frames) => match block::next(frames, most)? {
                Next::Piece(piece) => piece,
                Next::Cold(cold) => {
                    self.fetch = Some((fetch(cold, Arc::clone(fetches)), Instant::now()));
                    return Ok(None);
                }
            },
        };
        self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
        Ok(Some(piece))
    }
}

/// Brings a range in, once it is its turn. Not cancelled: another stream may need it too.
fn fetch(cold: Cold, fetches: Arc<Semaphore>) -> JoinHandle<()> {
    spawn_local(async move {
        let _turn = fetches.acquire_owned().await;
        // Its error is met again by the read.
        drop(spawn_blocking(move || cold.prefetch()).await);
    })
}
