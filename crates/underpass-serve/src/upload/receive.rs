//! The content of an upload on its way to the disk: what has come is written by another thread,
//! while no more of it is read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, timeout};

use super::place::Place;
use super::{Refusal, wait};

/// As much is written at once, unless nothing more is here.
const WRITE_BYTES: usize = 256 << 10;

/// pwritev(2): `IOV_MAX`.
const PIECES_MAX: usize = 1024;

/// How long a client may take to send as much as [`QUIET_BYTES`]: each has one of a few places.
const QUIET_MAX: Duration = Duration::from_secs(60);
const QUIET_BYTES: usize = 1 << 10;

/// Content that is awaited for so long at most.
#[derive(Debug)]
pub(super) struct Arriving<B> {
    content: B,
    /// How long it was waited for, and what came, since enough had.
    waited: Duration,
    bytes: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Arriving<B> {
    pub(super) const fn new(content: B) -> Self {
        Self { content, waited: Duration::ZERO, bytes: 0 }
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let since = Instant::now();
            let next = poll_fn(|cx| Pin::new(&mut self.content).poll_frame(cx));
            let frame = match timeout(QUIET_MAX.saturating_sub(self.waited), next).await {
                Err(_) => return Err(Refusal::Stalled),
                Ok(Some(Err(_))) => return Err(Refusal::Incomplete),
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
            };
            self.waited += since.elapsed();
            let Ok(piece) = frame.into_data() else { continue };
            self.bytes += piece.len();
            if self.bytes >= QUIET_BYTES {
                (self.waited, self.bytes) = (Duration::ZERO, 0);
            }
            return Ok(Some(piece));
        }
    }
}

/// A place, and what is still to be written there.
#[derive(Debug)]
pub(super) struct Writing {
    place: Place,
    pieces: Vec<Bytes>,
    waiting: usize,
    /// How many bytes more there may be.
    room: u64,
}

impl Writing {
    /// Of `room` bytes at most.
    pub(super) const fn new(place: Place, room: u64) -> Self {
        Self { place, pieces: Vec::new(), waiting: 0, room }
    }

    /// Appends a piece, and writes once there is enough.
    pub(super) async fn add(mut self, piece: Bytes) -> Result<Self, Refusal> {
        let len = piece.len() as u64;
        self.room = self.room.checked_sub(len).ok_or(Refusal::TooLarge)?;
        self.waiting += piece.len();
        self.pieces.push(piece);
        let is_enough = self.waiting >= WRITE_BYTES || self.pieces.len() >= PIECES_MAX;
        if is_enough { self.write().await } else { Ok(self) }
    }

    async fn write(self) -> Result<Self, Refusal> {
        let Self { mut place, pieces, room, .. } = self;
        let place = wait(move || place.write(&pieces).map(|()| place)).await?;
        Ok(Self::new(place, room))
    }

    /// Writes what is left.
    pub(super) async fn finish(self) -> Result<Place, Refusal> {
        let is_written = self.pieces.is_empty();
        Ok(if is_written { self.place } else { self.write().await?.place })
    }
}

/// Writes all of the content, of `bytes_max` at most.
pub(super) async fn receive<B>(content: B, place: Place, bytes_max: u64) -> Result<Place, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut arriving, mut writing) = (Arriving::new(content), Writing::new(place, bytes_max));
    while let Some(piece) = arriving.next().await? {
        writing = writing.add(piece).await?;
    }
    writing.finish().await
}

#[cfg(test)]
mod tests;
