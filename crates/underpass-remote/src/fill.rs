//! Bytes on their way from an origin into an object's file.

use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::error::ObjectError;
use crate::extents::Piece;
use crate::object::Object;
use crate::plan::Filling;
use crate::turn::Turn;

/// Bytes that are there already cost less to receive once more than another request, up to this.
const SKIP_BYTES_MAX: u64 = 1 << 20;

/// A rate is of this time at the least, and of twice as much at the most.
const RATE_OVER: Duration = Duration::from_secs(1);

/// What becomes of the next bytes of a fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is room for this many.
    Take(u64),
    /// This many are there, or another fill brings them.
    Skip(u64),
    /// No more are needed of this one.
    End,
}

/// A range of an object that was asked for, or is about to be. When it is dropped, those who wait
/// for its bytes look what to do now.
pub struct Fill {
    object: Arc<Object>,
    filling: Filling,
    /// Why it ends before its end.
    failure: Option<ObjectError>,
    /// When it was how far: before the last of them, and then. Its rate is of what came since the
    /// first.
    marks: Option<[(Instant, u64); 2]>,
    pub(crate) turn: Turn,
    /// Dropped with it.
    held: Option<Box<dyn Send>>,
}

impl Fill {
    pub(crate) fn new(object: Arc<Object>, filling: Filling) -> Self {
        let turn = Turn::begin();
        Self { object, filling, failure: None, marks: None, turn, held: None }
    }

    /// The same, and drops this when it has ended, on whatever thread that is.
    #[must_use]
    pub fn holding(mut self, held: impl Send + 'static) -> Self {
        self.held = Some(Box::new((self.held.take(), held)));
        self
    }

    pub(crate) const fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// Nothing comes for a while, and what came before says nothing of what will.
    pub(crate) fn forget_rate(&mut self) {
        self.marks = None;
        self.filling.bytes_per_second = 0;
        self.object.publish(&[], Some(self.filling));
    }

    /// Who waits for its bytes gets this if it ends before they come; `None` lets them ask again.
    pub(crate) fn fail(&mut self, why: Option<ObjectError>) {
        self.failure = why;
    }

    /// What is still to come: to be asked for, at the beginning and when an answer broke off.
    pub(crate) const fn range(&self) -> Range<u64> {
        self.filling.at..self.filling.end
    }

    /// What becomes of the next bytes.
    pub(crate) fn next(&self) -> Result<Step, ObjectError> {
        let at = self.filling.at;
        if let Some(why) = self.object.why_cut() {
            return Err(why);
        }
        self.prove(at)?;
        let state = self.object.state();
        // One that is behind may be far away: those who read here do not wait for that.
        let own = (at, Reverse(self.filling.number));
        let ahead = || state.fills.iter().filter(|it| (it.at, Reverse(it.number)) > own);
        let mut free = at;
        loop {
            let coming = ahead().filter(|it| it.at <= free && free < it.end).map(|it| it.end);
            let end = state.there.end_from(free).max(coming.max().unwrap_or(free));
            if end == free {
                break;
            }
            free = end;
        }
        if free >= self.filling.end || free - at > SKIP_BYTES_MAX {
            return Ok(Step::End);
        }
        if free > at {
            return Ok(Step::Skip(free - at));
        }
        let gaps = [&state.there, &state.unproved].map(|known| known.gap_from(at).end);
        let ends = gaps.into_iter().chain(ahead().map(|it| it.at));
        Ok(Step::Take(ends.min().expect("two").min(self.filling.end) - at))
    }

    /// Looks at what a process before this one left at `at`: it is there if it is what had come.
    fn prove(&self, at: u64) -> Result<(), ObjectError> {
        let Some(piece) = self.object.state().unproved.take(at) else { return Ok(()) };
        let mut bytes = vec![0; usize::try_from(piece.len).expect("a cell")];
        read_all(self.object.file(), &mut bytes, piece.start).map_err(ObjectError::Disk)?;
        if crc32c::crc32c(&bytes) == piece.crc32c {
            self.object.proved(piece);
        }
        Ok(())
    }

    /// Takes the next bytes, no more than [`Fill::next`] said. What another fill has got as well is
    /// left to it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        let (start, mut pieces) = (self.filling.at, Vec::new());
        for part in self.object.begin_writing(&self.filling, start..start + bytes.len() as u64) {
            let within = |at: u64| usize::try_from(at - start).expect("of a slice");
            let bytes = &bytes[within(part.start)..within(part.end)];
            write_all(self.object.file(), bytes, part.start).map_err(ObjectError::Disk)?;
            pieces.extend(self.pieces(part.start, bytes));
        }
        self.advance(bytes.len() as u64);
        self.object.publish(&pieces, Some(self.filling));
        Ok(())
    }

    /// The next bytes came, or need not be asked for, and others have them.
    pub(crate) fn skip(&mut self, n: u64) {
        self.advance(n);
        self.object.publish(&[], Some(self.filling));
    }

    fn advance(&mut self, n: u64) {
        self.filling.at += n;
        let now = (Instant::now(), self.filling.at);
        let marks = self.marks.get_or_insert([now; 2]);
        if now.0 - marks[1].0 >= RATE_OVER {
            *marks = [marks[1], now];
        }
        let (began, before) = marks[0];
        let micros = (now.0 - began).as_micros().max(1);
        let rate = u128::from(self.filling.at - before) * 1_000_000 / micros;
        self.filling.bytes_per_second = u64::try_from(rate).unwrap_or(u64::MAX);
        self.filling.came = now.0;
    }

    /// Bytes from `start` on, cell by cell, with their checksums.
    fn pieces(&self, mut start: u64, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while !bytes.is_empty() {
            let cell = self.object.cell(start);
            let len = usize::try_from(cell.end - start).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(len);
            let len = u32::try_from(len).expect("a cell has less than 4 GiB");
            pieces.push(Piece { start, len, crc32c: crc32c::crc32c(piece) });
            (start, bytes) = (start + u64::from(len), rest);
        }
        pieces
    }
}

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").field("filling", &self.filling).finish_non_exhaustive()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.object.end_fill(&self.filling, self.failure.take());
    }
}

pub(crate) fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => (bytes, at) = (&bytes[n..], at + n as u64),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

pub(crate) fn read_all(
    file: BorrowedFd<'_>,
    mut into: &mut [u8],
    mut at: u64,
) -> Result<(), Errno> {
    while !into.is_empty() {
        match rustix::io::pread(file, &mut *into, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => (into, at) = (&mut into[n..], at + n as u64),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
