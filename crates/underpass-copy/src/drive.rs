//! Runs the engine's transfers one after another: waits, limits the rate, reports progress.
//!
//! A signal ends every wait, and the ledger is exact whatever happens: what an error reports as
//! moved is what the sink has.
//!
//! Source: poll(2); `underpass::Transfer::step`.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use underpass::{Ledger, Method, Policy, Side, Sink, Source, Stability, Step, Transfer};
use underpass_client::{Interrupt, Woken};

use crate::digest::Checksum;
use crate::limit::Limit;
use crate::stop::Stop;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What happens while bytes move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Peers may connect to this address or path.
    Listening(String),
    /// How far the copy is.
    Progress {
        /// Bytes at the sink, holes and resumed bytes included.
        done: u64,
        /// Bytes there will be in the end, if that is known.
        total: Option<u64>,
        /// The method in use.
        method: Method,
    },
    /// Something the user should know that is not a failure.
    Note(String),
}

/// What a copy learns on its way, and the ledger does not say.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) holes: u64,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) verified: bool,
}

/// The progress of all connections of one copy.
#[derive(Debug)]
pub(crate) struct SharedProgress {
    /// What each has moved; the first is the one with this drive.
    pub(crate) moved: Arc<Vec<AtomicU64>>,
    /// What was done before they began.
    pub(crate) before: u64,
}

/// What the transfers of one copy share.
pub(crate) struct Drive<'w> {
    pub(crate) interrupt: &'w Interrupt,
    watcher: &'w mut dyn FnMut(Event),
    pub(crate) policy: Policy,
    pub(crate) stability: Stability,
    pub(crate) ledger: Ledger,
    pub(crate) findings: Findings,
    /// Bytes that crossed user memory outside of the engine: TLS, framing.
    pub(crate) through_user_space: u64,
    /// Calls that moved them.
    pub(crate) outside_calls: u64,
    /// Why they did, where the kernel could have moved them.
    pub(crate) reasons: Vec<String>,
    /// Bytes at the sink, holes and resumed ones included.
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    /// Where several connections move ranges of the file.
    pub(crate) shared: Option<SharedProgress>,
    limit: Option<Limit>,
    reported: Instant,
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("done", &self.done).field("total", &self.total).finish()
    }
}

impl<'w> Drive<'w> {
    pub(crate) fn new(
        interrupt: &'w Interrupt,
        watcher: &'w mut dyn FnMut(Event),
        policy: Policy,
        stability: Stability,
        limit_bytes_per_s: Option<u64>,
    ) -> Self {
        Self {
            interrupt,
            watcher,
            policy,
            stability,
            ledger: Ledger::default(),
            findings: Findings::default(),
            through_user_space: 0,
            outside_calls: 0,
            reasons: Vec::new(),
            done: 0,
            total: None,
            shared: None,
            limit: limit_bytes_per_s.map(Limit::new),
            reported: Instant::now(),
        }
    }

    /// Bytes of a connection pass through user space for this reason, by no choice of methods.
    pub(crate) fn pass_user_space(&mut self, why: impl ToString) {
        self.reasons.push(why.to_string());
        self.policy = Policy::Auto;
    }

    /// How much may go at once within the rate limit; `usual` without a limit.
    pub(crate) fn block_bytes(&self, usual: usize) -> usize {
        let slice = self.limit.as_ref().map(Limit::slice);
        slice.and_then(|slice| usize::try_from(slice).ok()).map_or(usual, |slice| slice.min(usual))
    }

    /// Sets another rate limit.
    pub(crate) fn set_limit(&mut self, bytes_per_s: Option<u64>) {
        self.limit = bytes_per_s.map(Limit::new);
    }

    /// Reports progress; `moved` is not yet part of `done`.
    fn tell_progress(&mut self, moved: u64, method: Method) {
        self.reported = Instant::now();
        let (mut done, total) = (self.done + moved, self.total);
        if let Some(SharedProgress { moved, before }) = &self.shared
            && let [own, others @ ..] = &moved[..]
        {
            own.store(done.saturating_sub(*before), Ordering::Release);
            done += others.iter().map(|other| other.load(Ordering::Relaxed)).sum::<u64>();
        }
        (self.watcher)(Event::Progress { done, total, method });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        (self.watcher)(event);
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.tell(Event::Note(text.into()));
    }

    /// Moves all of a source; returns how many bytes the sink took.
    pub(crate) fn transfer(&mut self, source: Source<'_>, sink: Sink<'_>) -> Result<u64, Stop> {
        let room = |sink: BorrowedFd<'_>| self.interrupt.wait_to_move(sink, PollFlags::OUT);
        self.transfer_into(source, sink, &room)
    }

    /// The same, to a sink whose room has to be waited for in another way.
    pub(crate) fn transfer_into(
        &mut self,
        source: Source<'_>,
        sink: Sink<'_>,
        room: &dyn Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<u64, Stop> {
        let mut transfer =
            Transfer::new(source, sink).policy(self.policy).stability(self.stability);
        if let Some(limit) = &self.limit {
            transfer = transfer.at_most(limit.slice());
        }
        let before = self.done;
        let answer = self.steps(&mut transfer, room);
        self.ledger += transfer.ledger();
        self.done = before + transfer.moved();
        answer.map(|()| transfer.moved())
    }

    fn steps(
        &mut self,
        transfer: &mut Transfer<'_>,
        room: &dyn Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Result<(), Stop> {
        let mut paid = 0;
        loop {
            if let Some(signal) = self.interrupt.signal() {
                return Err(Stop::Signal(signal));
            }
            let step = transfer.step().map_err(Stop::Engine)?;
            // Before the next step, and after the last one.
            self.pause(transfer.moved() - paid)?;
            paid = transfer.moved();
            match step {
                Step::Wait(Side::Source) => {
                    let source = transfer.descriptor(Side::Source);
                    let waited = self.interrupt.wait_to_move(source, PollFlags::IN);
                    waited.map_err(Stop::when("reading the source"))?;
                }
                Step::Wait(Side::Sink) => {
                    let waited = room(transfer.descriptor(Side::Sink));
                    waited.map_err(Stop::when("writing to the sink"))?;
                }
                Step::Done => return Ok(()),
                Step::Moved(_) | Step::Buffered(_) | Step::Cold { .. } | _ => {}
            }
            if self.reported.elapsed() >= PROGRESS_INTERVAL {
                let moved = transfer.moved();
                let method = most_used(if moved == 0 { &self.ledger } else { transfer.ledger() });
                self.tell_progress(moved, method);
            }
        }
    }

    /// Counts bytes that moved outside of the engine, and keeps to the rate.
    pub(crate) fn count_outside(&mut self, moved: u64, calls: u64) -> Result<(), Stop> {
        self.through_user_space += moved;
        self.outside_calls += calls;
        if let Some(signal) = self.interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        if self.reported.elapsed() >= PROGRESS_INTERVAL {
            self.tell_progress(0, Method::Copy);
        }
        self.pause(moved)
    }

    /// Waits until `moved` more bytes are within the limit.
    fn pause(&mut self, moved: u64) -> Result<(), Stop> {
        let Some(limit) = &mut self.limit else { return Ok(()) };
        let until = limit.due(moved);
        match self.interrupt.wait(&[], Some(until)) {
            Ok(Woken::Signal) => Err(Stop::Signal(self.interrupt.signal().unwrap_or(2))),
            Ok(Woken::Ready | Woken::Due) => Ok(()),
            Err(errno) => Err(Stop::call("waiting", errno)),
        }
    }
}

/// A range of a file. The file may have been truncated since it was opened.
pub(crate) fn file_source(file: &File, offset: u64, len: u64) -> Result<Source<'_>, Stop> {
    Source::file(file, offset..offset + len).map_err(|error| {
        let there = file.metadata().map_or(u64::MAX, |found| found.len());
        if there < offset { Stop::short(0, len) } else { Stop::call("reading the source", error) }
    })
}

/// The method that moved the most bytes; `Copy` before the first.
pub(crate) fn most_used(ledger: &Ledger) -> Method {
    let bytes = |method: &Method| ledger.of(*method).bytes;
    Method::ALL.iter().copied().rev().max_by_key(bytes).unwrap_or(Method::Copy)
}
