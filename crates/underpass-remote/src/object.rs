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
use std::time::{Duration, Instant};

use crate::entry::Upstream;
use crate::error::ObjectError;
use crate::extents::{Extents, Piece};
use crate::fill::Fill;
use crate::plan::{self, Filling, JUMP_BYTES_MAX, JUMP_BYTES_MIN, Need, Next, OriginFacts};
use crate::waiting::Waiting;
use crate::writing::Writing;

/// A reader is given no more at a time, so that it comes back to see whether more has come.
const PART_BYTES_MAX: u64 = 2 << 20;

/// How often a reader that waits is to poll, whether it was woken or not.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    /// What it is an object of; none in tests of readers.
    upstream: Option<Upstream>,
    made: Instant,
    /// When bytes came last, in milliseconds after it was made.
    came_ms: AtomicU64,
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
    pub(crate) writing: Writing,
    fills_begun: u64,
    waiting: Waiting,
    pub(crate) origin: OriginFacts,
    cut: Option<ObjectError>,
    /// How many fills have failed, and the last of them.
    failures: u64,
    failure: Option<(Range<u64>, ObjectError)>,
    readers: usize,
    /// Since when it has no reader.
    unread: Option<Instant>,
}

impl Object {
    /// An object in `file`, which has its length. What of it is there is to be proved.
    pub(crate) fn new(
        file: OwnedFd,
        unproved: Extents,
        origin: OriginFacts,
        ask: Box<Ask>,
    ) -> Arc<Self> {
        Arc::new(Self::make(file, unproved, origin, (ask, None)))
    }

    fn make(
        file: OwnedFd,
        unproved: Extents,
        origin: OriginFacts,
        (ask, upstream): (Box<Ask>, Option<Upstream>),
    ) -> Self {
        let len = unproved.len();
        let state = State {
            there: Extents::none(len),
            unproved,
            fills: Vec::new(),
            writing: Writing::default(),
            fills_begun: 0,
            waiting: Waiting::default(),
            origin,
            cut: None,
            failures: 0,
            failure: None,
            readers: 0,
            unread: Some(Instant::now()),
        };
        Self {
            file,
            len,
            end: AtomicU64::new(0),
            state: Mutex::new(state),
            ask,
            upstream,
            made: Instant::now(),
            came_ms: AtomicU64::new(0),
        }
    }

    /// An object of an entry, whose fills are asked for by `upstream`.
    pub(crate) fn of_entry(
        file: OwnedFd,
        unproved: Extents,
        facts: OriginFacts,
        (ask, upstream): (Box<Ask>, Upstream),
    ) -> Arc<Self> {
        Arc::new(Self::make(file, unproved, facts, (ask, Some(upstream))))
    }

    pub(crate) const fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    /// Begins a fill of a range that is asked for already.
    pub(crate) fn begin(self: &Arc<Self>, range: Range<u64>) -> Fill {
        let filling = self.state().begin(range);
        Fill::new(Arc::clone(self), filling)
    }

    /// An object that is whole, as was proved.
    pub(crate) fn whole(file: OwnedFd, len: u64, upstream: Upstream) -> Arc<Self> {
        let none = (Box::new(drop) as Box<Ask>, Some(upstream));
        let this = Self::make(file, Extents::none(len), OriginFacts::UNKNOWN, none);
        this.end.store(len, Ordering::Release);
        Arc::new(this)
    }

    /// Its file. Bytes that are not there read as zeros: ask first.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// How long no byte has come, or since when it is there if none has.
    pub fn quiet(&self) -> Duration {
        let came = Duration::from_millis(self.came_ms.load(Ordering::Relaxed));
        self.made.elapsed().saturating_sub(came)
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
        let mut state = self.state();
        state.readers += 1;
        state.unread = None;
        drop(state);
        let object = Arc::clone(self);
        Wanted { object, range, jump: JUMP_BYTES_MIN, place: None, waits_since: None }
    }

    /// How long it is without a reader.
    pub(crate) fn unread(&self) -> Duration {
        self.state().unread.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Why no byte comes any more.
    pub(crate) fn why_cut(&self) -> Option<ObjectError> {
        self.state().cut.clone()
    }

    /// Whether some bytes are there.
    pub(crate) fn has_some(&self) -> bool {
        !self.state().there.pieces().is_empty()
    }

    /// What is there, and what an earlier process left that is not proved.
    pub(crate) fn kept(&self) -> Extents {
        let state = self.state();
        let mut pieces = [state.there.pieces(), state.unproved.pieces()].concat();
        drop(state);
        pieces.sort_by_key(|piece| piece.start);
        let mut kept = Extents::none(self.len);
        for piece in pieces {
            // What is in both is there.
            if kept.lack(&piece) {
                kept.insert(piece);
            }
        }
        kept
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

    /// What a fill may write of the bytes that it got.
    pub(crate) fn begin_writing(&self, fill: &Filling, range: Range<u64>) -> Vec<Range<u64>> {
        let mut state = self.state();
        let State { writing, there, .. } = &mut *state;
        writing.begin(fill.number, range, there)
    }

    /// What an earlier process had left is as it was, unless a fill has got some of it meanwhile.
    pub(crate) fn proved(&self, piece: Piece) {
        let range = piece.start..piece.end();
        let state = self.state();
        if state.there.lack(&piece) && !state.writing.touches(&range) {
            self.publish_in(state, &[piece], None);
        }
    }

    /// Bytes of these pieces are in the file from now on, and a fill has come so far.
    pub(crate) fn publish(&self, pieces: &[Piece], fill: Option<Filling>) {
        self.publish_in(self.state(), pieces, fill);
    }

    fn publish_in(
        &self,
        mut state: MutexGuard<'_, State>,
        pieces: &[Piece],
        fill: Option<Filling>,
    ) {
        for piece in pieces {
            state.there.insert(*piece);
        }
        if !pieces.is_empty() {
            let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.came_ms.store(now, Ordering::Relaxed);
        }
        if let Some(fill) = fill {
            let known = state.fills.iter_mut().find(|known| known.number == fill.number);
            known.into_iter().for_each(|known| *known = fill);
            state.writing.end(fill.number);
        }
        // Readers without the lock see the bytes that were written before.
        self.end.store(state.there.end_from(0), Ordering::Release);
        let came = |at| pieces.iter().any(|piece| (piece.start..piece.end()).contains(&at));
        let woken = state.waiting.take(came);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// A fill ends, with all it was asked for or without; those who wait look what to do now. If it
    /// failed, those who wait for its bytes fail, and who comes later asks again.
    pub(crate) fn end_fill(&self, fill: &Filling, failure: Option<ObjectError>) {
        let mut state = self.state();
        state.fills.retain(|filling| filling.number != fill.number);
        state.writing.end(fill.number);
        if let Some(failure) = failure {
            state.failures += 1;
            state.failure = Some((fill.at..fill.end, failure));
        }
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
        let (at, end, came) = (range.start, range.end, Instant::now());
        let filling = Filling { number, at, end, bytes_per_second: 0, came };
        self.fills.push(filling);
        filling
    }

    /// Why a reader that has waited for `at` since this many failures will not have it.
    fn failed(&self, at: u64, since: u64) -> Option<ObjectError> {
        let (range, why) = self.failure.as_ref().filter(|_| since < self.failures)?;
        let comes = self.fills.iter().any(|fill| fill.at <= at && at < fill.end);
        (range.contains(&at) && !comes).then(|| why.clone())
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
    /// How many fills had failed when it began to wait.
    waits_since: Option<u64>,
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
    /// A reader that waits is woken by bytes and ends, and not by an origin that does nothing:
    /// polled again after [`LOOK_EVERY`], one ahead of what has stalled asks for its own.
    ///
    /// # Errors
    ///
    /// Why the next byte will not come.
    pub fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Range<u64>, ObjectError>> {
        let at = self.range.start;
        // What was failed for before is not why this one fails.
        let waits_since = self.waits_since.take();
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
        if let Some(why) = waits_since.and_then(|since| state.failed(at, since)) {
            return Poll::Ready(Err(why));
        }
        self.waits_since = Some(waits_since.unwrap_or(state.failures));
        let (range, jump, now) = (self.range.clone(), self.jump, Instant::now());
        let need = Need { range, jump, now };
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
        let mut state = self.object.state();
        state.waiting.leave(&mut self.place);
        state.readers -= 1;
        if state.readers == 0 {
            state.unread = Some(Instant::now());
        }
    }
}

#[cfg(test)]
#[path = "object_tests.rs"]
mod tests;
