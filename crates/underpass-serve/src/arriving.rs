//! The body of an object that is on its way: what is there of it, and then what comes.
//!
//! It waits at its own place for the next byte. Nothing of a hole is ever given out, since only
//! what the object says to be there is. A client that waits for the origin takes no less than it
//! could, so it is the origin that has a time: from the last byte of the object that came.

use std::fmt;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep};
use underpass::{FileBytes, Frames};
use underpass_remote::{LOOK_EVERY, ObjectError, Wanted};

/// What messages call an object.
pub(crate) type Name = Arc<str>;

/// A range of an object, as it comes.
pub(crate) struct Arriving {
    wanted: Wanted,
    /// All of the object.
    file: FileBytes,
    /// The same as slices that only leave by address.
    bytes: Bytes,
    name: Name,
    timeout: Duration,
    /// Since when there is nothing, and when the object is looked at again.
    look: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("left", &self.left()).finish_non_exhaustive()
    }
}

impl Arriving {
    /// What is `wanted`, from a mapping of all of its object, which is also `bytes`.
    pub(crate) const fn new(
        wanted: Wanted,
        file: FileBytes,
        bytes: Bytes,
        name: Name,
        timeout: Duration,
    ) -> Self {
        Self { wanted, file, bytes, name, timeout, look: None }
    }

    /// Bytes that are to come.
    pub(crate) fn left(&self) -> u64 {
        let Range { start, end } = self.wanted.range();
        end - start
    }

    /// The next bytes that are there, for sending only. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let part = ready!(self.poll_part(cx)?);
        Poll::Ready(part.map(|part| Ok(self.bytes.slice(part))))
    }

    fn poll_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frames>>> {
        let part = ready!(self.poll_part(cx)?);
        let file = part.map(|part| self.file.slice(part).expect("it is within the object"));
        Poll::Ready(Ok(file.map(FileBytes::into_copied_frames)))
    }

    /// Where the next bytes are.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Range<usize>>>> {
        let part = loop {
            if let Poll::Ready(part) = self.wanted.poll(cx) {
                break part;
            }
            if let Some(why) = ready!(self.poll_look(cx)) {
                break Err(why);
            }
        };
        self.look = None;
        let part = part.map_err(|why| self.cut(why))?;
        if part.is_empty() {
            return Poll::Ready(Ok(None));
        }
        self.wanted.advance(part.end - part.start);
        let index = |at| usize::try_from(at).expect("it is mapped");
        Poll::Ready(Ok(Some(index(part.start)..index(part.end))))
    }

    /// Ready when the object is to be looked at again, or with why not: nothing came for too long.
    fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<Option<ObjectError>> {
        let first = self.timeout.min(LOOK_EVERY);
        let (since, look) =
            self.look.get_or_insert_with(|| (Instant::now(), Box::pin(sleep(first))));
        ready!(look.as_mut().poll(cx));
        // What comes for others may be on its way to here.
        let quiet = since.elapsed().min(self.wanted.object().quiet());
        if quiet >= self.timeout {
            return Poll::Ready(Some(ObjectError::Late(self.timeout)));
        }
        look.set(sleep((self.timeout - quiet).min(LOOK_EVERY)));
        Poll::Ready(None)
    }

    fn cut(&self, why: ObjectError) -> io::Error {
        let (name, at) = (Arc::clone(&self.name), self.wanted.range().start);
        io::Error::other(OriginCut { name, at, why })
    }
}

/// The same where it is looked at on its way: pieces are copied, each from where all bytes are.
#[derive(Debug)]
pub(crate) struct ArrivingFrames {
    arriving: Arriving,
    frames: Option<Frames>,
}

impl ArrivingFrames {
    pub(crate) const fn new(arriving: Arriving) -> Self {
        Self { arriving, frames: None }
    }

    /// Waits until there is something; `false` at the end. Must run within a tokio runtime.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        while self.frames.as_ref().is_none_or(|frames| frames.remaining() == 0) {
            self.frames = ready!(self.arriving.poll_frames(cx)?);
            if self.frames.is_none() {
                return Poll::Ready(Ok(false));
            }
        }
        Poll::Ready(Ok(true))
    }

    /// What there is.
    pub(crate) const fn frames(&mut self) -> Option<&mut Frames> {
        self.frames.as_mut()
    }
}

/// Why the rest of an object will not come.
#[derive(Debug, thiserror::Error)]
#[error("{name} at byte {at}: {why}")]
struct OriginCut {
    name: Name,
    at: u64,
    why: ObjectError,
}

/// Whether it is the origin's doing that content is not available.
pub(crate) fn is_of_origin(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<OriginCut>())
}

#[cfg(test)]
mod tests;
