//! One generation of an object: a file of its full length that fills while it is read.
//!
//! The file has the object's length from the start and never another one, so that a mapping of it
//! never reaches past its end. Its readers learn from [`Wanted`] which bytes are there; those then
//! leave as those of any file do. A reader that misses bytes starts a fill, or waits for one.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::ObjectError;
use crate::extents::{Extents, Piece};
use crate::fill::Fill;
use crate::plan::{self, Filling, JUMP_BYTES_MAX, JUMP_BYTES_MIN, Need, Next, OriginFacts};
use crate::waiting::Waiting;

/// A reader is given no more at a time, so that it comes back to see whether more has come.
const PART_BYTES_MAX: u64 = 2 << 20;

/// Takes a fill that has to be asked for, and must not wait.
pub(crate) type Ask = dyn Fn(Fill) + Send + Sync;

/// One generation of an object.
pub struct Object {
    file: OwnedFd,
    len: u64,
    /// The end of the bytes that are there from the first on.
    end: AtomicU64,
    state: Mutex<State>,
    ask: Box<Ask>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("len", &self.len).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) there: Extents,
    /// What an earlier process says is in the file; it is believed piece by piece, after a look.
    pub(crate) unproved: Extents,
    pub(crate) fills: Vec<Filling>,
    fills_begun: u64,
    waiting: Waiting,
    pub(crate) origin: OriginFacts,
    cut: Option<ObjectError>,
}

impl Object {
    /// An object in `file`, which has its length. What of it is there is to be proved.
    pub(crate) fn new(
        file: OwnedFd,
        unproved: Extents,
        origin: OriginFacts,
        ask: Box<Ask>,
    ) -> Arc<Self> {
        let len = unproved.len();
        let state = State {
            there: Extents::none(len),
            unproved,
            fills: Vec::new(),
            fills_begun: 0,
            waiting: Waiting::default(),
            origin,
            cut: None,
        };
        Arc::new(Self { file, len, end: AtomicU64::new(0), state: Mutex::new(state), ask })
    }

    /// An object that is whole, as an earlier process has proved.
    pub(crate) fn whole(file: OwnedFd, there: Extents, ask: Box<Ask>) -> Arc<Self> {
        let this = Self::new(file, Extents::none(there.len()), OriginFacts::UNKNOWN, ask);
        this.end.store(there.end_from(0), Ordering::Release);
        this.state().there = there;
        this
    }

    /// Its file. Bytes that are not there read as zeros: ask first.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// In bytes.
    #[expect(clippy::len_without_is_empty, reason = "one without bytes is an object like others")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether all of its bytes are there.
    pub fn is_whole(&self) -> bool {
        self.end.load(Ordering::Acquire) == self.len
    }

    /// Up to where all bytes from `at` on are there: `at` if that one is missing.
    pub fn available(&self, at: u64) -> u64 {
        let end = self.end.load(Ordering::Acquire);
        if at < end { end } else { self.state().there.end_from(at) }
    }

    /// Somebody begins to read `range`, or less if the object ends before.
    pub fn want(self: &Arc<Self>, range: Range<u64>) -> Wanted {
        let range = range.start.min(self.len)..range.end.min(self.len);
        Wanted { object: Arc::clone(self), range, jump: JUMP_BYTES_MIN, place: None }
    }

    pub(crate) fn cell(&self, at: u64) -> Range<u64> {
        crate::extents::cell(self.len, at)
    }

    /// No byte comes any more: readers have what is there, and then this error. The first is kept.
    pub(crate) fn cut(&self, why: ObjectError) {
        let mut state = self.state();
        state.cut.get_or_insert(why);
        let all = state.waiting.take(|_| true);
        drop(state);
        all.into_iter().for_each(Waker::wake);
    }

    /// Bytes of these pieces are in the file from now on, and a fill has come so far.
    pub(crate) fn publish(&self, pieces: &[Piece], fill: Option<Filling>) {
        let mut state = self.state();
        for piece in pieces {
            state.there.insert(*piece);
        }
        if let Some(fill) = fill {
            let known = state.fills.iter_mut().find(|known| known.number == fill.number);
            known.into_iter().for_each(|known| *known = fill);
        }
        // Readers without the lock see the bytes that were written before.
        self.end.store(state.there.end_from(0), Ordering::Release);
        let came = |at| pieces.iter().any(|piece| (piece.start..piece.end()).contains(&at));
        let woken = state.waiting.take(came);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// A fill ends, with all it was asked for or without; those who wait look what to do now.
    pub(crate) fn end_fill(&self, number: u64) {
        let mut state = self.state();
        state.fills.retain(|filling| filling.number != number);
        let all = state.waiting.take(|_| true);
        drop(state);
        all.into_iter().for_each(Waker::wake);
    }

    /// What a panic may have left is whole: nothing here panics with the lock held, but for what
    /// says that bytes came twice.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn begin(&mut self, range: Range<u64>) -> Filling {
        self.fills_begun += 1;
        let number = self.fills_begun;
        let filling = Filling { number, at: range.start, end: range.end, bytes_per_second: 0 };
        self.fills.push(filling);
        filling
    }
}

/// A range that somebody reads, in order.
#[derive(Debug)]
pub struct Wanted {
    object: Arc<Object>,
    /// What is still to be read.
    range: Range<u64>,
    jump: u64,
    place: Option<usize>,
}

impl Wanted {
    /// The object that is read.
    pub const fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// What is still to be read.
    pub const fn range(&self) -> &Range<u64> {
        &self.range
    }

    /// That many bytes were read.
    pub fn advance(&mut self, n: u64) {
        self.range.start = (self.range.start + n).min(self.range.end);
    }

    /// The next bytes that are there, at most 2 MiB; an empty range at the end.
    ///
    /// # Errors
    ///
    /// Why the next byte will not come.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Range<u64>, ObjectError>> {
        let at = self.range.start;
        if at == self.range.end || at < self.object.end.load(Ordering::Acquire) {
            return Poll::Ready(Ok(self.part(self.object.end.load(Ordering::Acquire))));
        }
        let object = Arc::clone(&self.object);
        let mut state = object.state();
        let end = state.there.end_from(at);
        if end > at {
            return Poll::Ready(Ok(self.part(end)));
        }
        if let Some(cut) = &state.cut {
            return Poll::Ready(Err(cut.clone()));
        }
        let need = Need { range: self.range.clone(), jump: self.jump };
        let next = plan::plan(&state.there, &state.fills, &need, &state.origin);
        state.waiting.enter(&mut self.place, at, cx.waker());
        let Next::Ask(range) = next else { return Poll::Pending };
        let filling = state.begin(range);
        drop(state);
        self.jump = (self.jump * 2).min(JUMP_BYTES_MAX);
        (object.ask)(Fill::new(Arc::clone(&object), filling));
        Poll::Pending
    }

    fn part(&self, end: u64) -> Range<u64> {
        let at = self.range.start;
        at..end.min(self.range.end).min(at + PART_BYTES_MAX)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        if self.place.is_some() {
            self.object.state().waiting.leave(&mut self.place);
        }
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
