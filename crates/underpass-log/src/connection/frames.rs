//! Requests cut from a connection's bytes.
//!
//! A frame is a length of four bytes and as many bytes. What has arrived is read into a buffer of
//! the worker; a frame that is whole there is cut from it, and a longer one gets its own memory,
//! which grows only as its bytes arrive.
//!
//! Source: Kafka's protocol guide, "Common Request and Response Structure".

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use underpass_daemon::Accepted;

use super::vitals::{Doing, Vitals};

/// Bytes of the length before a frame.
const PREFIX: usize = 4;

/// Bytes of the length and of what is asked for.
const KEY_END: usize = PREFIX + 2;

/// What every header has: what is asked for, its version and the request's number.
const HEADER_MIN: usize = 2 + 2 + 4;

/// The only kind of request that is long: it brings records.
const PRODUCE: [u8; 2] = [0, 0];

/// The most bytes of any other: a commit of some 100,000 offsets.
const OTHER_BYTES_MAX: usize = 8 << 20;

/// How much is read at first: most requests are shorter.
const FIRST_READ: usize = 16 << 10;

/// How much memory a frame gets ahead of its bytes, and how much without a share of what there is
/// for long ones.
const AHEAD_MAX: usize = 1 << 20;

/// Memory of requests that are longer than [`AHEAD_MAX`], in its unit: 256 MiB.
const LONG_MAX: usize = 256;

thread_local! {
    static FIRST: RefCell<Box<[u8; FIRST_READ]>> = RefCell::new(Box::new([0; FIRST_READ]));
}

/// How long requests may be, one and all together.
#[derive(Debug)]
pub(crate) struct RequestLimits {
    bytes_max: usize,
    long: Arc<Semaphore>,
}

impl RequestLimits {
    pub(crate) fn new(bytes_max: usize) -> Self {
        // The longest may come at least once.
        let long = LONG_MAX.max(bytes_max / AHEAD_MAX + 1).min(Semaphore::MAX_PERMITS);
        Self { bytes_max, long: Arc::new(Semaphore::new(long)) }
    }
}

/// A request, without its length.
#[derive(Debug)]
pub(super) struct Frame {
    bytes: Bytes,
    /// Its share of the memory for long ones.
    _share: Option<OwnedSemaphorePermit>,
}

impl Frame {
    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// What has been read of a connection and not been taken.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: BytesMut,
    share: Option<OwnedSemaphorePermit>,
}

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The peer has left, or the server told it to, between two frames.
    #[error("the connection has ended")]
    End,
    /// It left within a frame.
    #[error("the connection ended {missing} bytes before the end of a request")]
    Cut { missing: usize },
    /// It has not even a header, whose bytes would be waited for.
    #[error("a request cannot have {length} bytes; its header alone has {HEADER_MIN}")]
    Short { length: usize },
    /// It cannot be that long.
    #[error("a request cannot have {length} bytes; the limit is {max} (--max-request-bytes)")]
    Length { length: i32, max: usize },
    /// The socket has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Frames {
    /// The next request.
    pub(super) async fn next(
        &mut self,
        socket: &Accepted,
        vitals: &Vitals,
        limits: &RequestLimits,
    ) -> Result<Frame, FrameError> {
        loop {
            let wanted = self.wanted(limits.bytes_max)?;
            if wanted > PREFIX && self.buffer.len() >= wanted {
                self.buffer.advance(PREFIX);
                return Ok(self.take(wanted - PREFIX));
            }
            if !self.buffer.is_empty() {
                vitals.now(Doing::Receiving);
            }
            self.get_share(wanted, vitals, limits).await;
            if self.read(socket, wanted).await? == 0 {
                return Err(self.ended(wanted));
            }
        }
    }

    /// How many bytes the buffer is to hold next: those of the frame, once its length is known.
    fn wanted(&self, max: usize) -> Result<usize, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(PREFIX) };
        let length = i32::from_be_bytes(*prefix);
        let key = self.buffer.get(PREFIX..KEY_END);
        let max = if key.is_none_or(|key| key == PRODUCE) { max } else { max.min(OTHER_BYTES_MAX) };
        match usize::try_from(length) {
            Ok(length @ ..HEADER_MIN) => Err(FrameError::Short { length }),
            Ok(frame) if frame <= max && key.is_none() => Ok(KEY_END),
            Ok(frame) if frame <= max => Ok(PREFIX + frame),
            _ => Err(FrameError::Length { length, max }),
        }
    }

    /// Waits for a share of the memory for long requests, if this one is about to grow so.
    async fn get_share(&mut self, wanted: usize, vitals: &Vitals, limits: &RequestLimits) {
        let next = wanted.min(self.buffer.len() + AHEAD_MAX);
        let needed = next.saturating_sub(AHEAD_MAX).div_ceil(AHEAD_MAX);
        let had = self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(more) = needed.checked_sub(had).filter(|&more| more > 0) else { return };
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        // A request that waits for too long is ended like one that does not arrive.
        let share = tokio::select! {
            biased;
            share = Arc::clone(&limits.long).acquire_many_owned(more) => share,
            () = vitals.left() => return,
        };
        let Ok(share) = share else { return };
        match &mut self.share {
            Some(had) => had.merge(share),
            none => *none = Some(share),
        }
    }

    /// Cuts the frame off; what follows it stays.
    fn take(&mut self, length: usize) -> Frame {
        let bytes = if self.buffer.len() == length {
            std::mem::take(&mut self.buffer).freeze()
        } else {
            self.buffer.split_to(length).freeze()
        };
        Frame { bytes, _share: self.share.take() }
    }

    /// Reads some of the `wanted` bytes that the buffer is to hold. 0 at the end.
    async fn read(&mut self, socket: &Accepted, wanted: usize) -> io::Result<usize> {
        let missing = wanted - self.buffer.len();
        poll_fn(|cx| {
            loop {
                ready!(socket.poll_read_ready(cx))?;
                let tried = if missing <= FIRST_READ {
                    self.read_first(socket)
                } else {
                    self.read_more(socket, missing)
                };
                match tried {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Reads into the worker's memory: an idle connection has none.
    fn read_first(&mut self, socket: &Accepted) -> io::Result<usize> {
        FIRST.with_borrow_mut(|first| {
            let count = socket.try_read(&mut first[..])?;
            self.buffer.extend_from_slice(&first[..count]);
            Ok(count)
        })
    }

    /// Reads into the frame's own memory.
    fn read_more(&mut self, socket: &Accepted, missing: usize) -> io::Result<usize> {
        let ahead = missing.min(AHEAD_MAX);
        self.buffer.reserve(ahead);
        let mut room = (&mut self.buffer).limit(ahead);
        match socket {
            Accepted::Tcp(stream, _) => stream.try_read_buf(&mut room),
            Accepted::Unix(stream) => stream.try_read_buf(&mut room),
        }
    }

    fn ended(&self, wanted: usize) -> FrameError {
        match self.buffer.len() {
            0 => FrameError::End,
            there => FrameError::Cut { missing: wanted - there },
        }
    }
}
