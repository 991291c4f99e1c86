//! A transfer without its descriptors: pieces, positions, plan, buffered bytes, ledger.
//!
//! Without them it can move to another thread while a future waits for it. A step asks
//! what to do ([`TransferState::act`]), makes one call, and lets [`Progress`] say what it meant.
//!
//! Invariants: bytes are buffered in the pipe or in memory for one piece at a time, the first that
//! is not memory; the pipe is filled only when it is empty; a finished piece is never kept.

mod account;
mod calls;

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use underpass_sys::lease;

use crate::buffer::Buffer;
use crate::cork::Cork;
use crate::error::{Error, ErrorKind};
use crate::kind::Kind;
use crate::ledger::{Fallback, Ledger, Side};
use crate::limits::QUANTUM;
use crate::method::Method;
use crate::methods::copy::SLICES_MAX;
use crate::methods::mmap_write::Window;
use crate::pipe::Pipe;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::progress::{Progress, quantum};
use crate::ring::Ring;
use crate::sink::Outlet;
use crate::source::Piece;
use crate::stability::Stability;
use crate::transfer::Step;
use crate::zero_copy::ZeroCopy;

/// The descriptors of one step: the first piece's that is not memory, and the sink's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends<'f> {
    pub(crate) source: Option<BorrowedFd<'f>>,
    pub(crate) sink: BorrowedFd<'f>,
}

/// What the next call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// Sends memory and buffered memory.
    Gather,
    /// Reads into memory.
    Read,
    /// Moves from source to sink.
    Through,
    /// Fills the pipe.
    FillPipe,
    /// Drains the pipe into the sink.
    DrainPipe,
    /// Takes bytes out of the pipe into memory, because the sink refuses to take them from it.
    EmptyPipe,
}

/// The first piece that is not memory.
#[derive(Debug, Clone, Copy)]
struct Front {
    index: usize,
    kind: Kind,
    progress: Progress,
    /// Offset in the file of the next byte to take.
    at: Option<u64>,
    /// A TLS connection.
    is_tls: bool,
}

#[derive(Debug)]
pub(crate) struct TransferState {
    pub(crate) pieces: VecDeque<Piece>,
    pub(crate) outlet: Outlet,
    pub(crate) policy: Policy,
    pub(crate) stability: Stability,
    /// Whether a range that is not in the page cache is reported instead of waited for.
    pub(crate) gated: bool,
    pub(crate) ledger: Ledger,
    /// Pieces that are not memory and are done; the index of the descriptor in use.
    pub(crate) sources_done: usize,
    /// What the user wants at most in one step.
    pub(crate) step_bytes_max: u64,
    wanted: Option<u64>,
    begun: bool,
    /// Nothing but memory was given: the policy governs it.
    memory_only: bool,
    plan: Option<Plan>,
    leased: bool,
    buffer: Buffer,
    pipe: Option<Pipe>,
    cork: Cork,
    window: Option<Window>,
    zero_copy: Option<ZeroCopy>,
    ring: Option<Ring>,
    /// Whether the sink's error queue may be used, see [`Self::forbid_error_queue`].
    error_queue: bool,
    /// Offset up to which the current file was last seen in the page cache.
    warm_until: u64,
    /// How far the next question about the page cache reaches.
    warm_window: u64,
    /// The offset last reported cold, and how often in a row.
    cold_at: (u64, u8),
}

impl TransferState {
    pub(crate) fn new(first: Piece, outlet: Outlet) -> Self {
        Self {
            pieces: VecDeque::from([first]),
            outlet,
            policy: Policy::default(),
            stability: Stability::default(),
            gated: false,
            ledger: Ledger::default(),
            sources_done: 0,
            step_bytes_max: u64::MAX,
            wanted: None,
            begun: false,
            memory_only: false,
            plan: None,
            leased: false,
            buffer: Buffer::default(),
            pipe: None,
            cork: Cork::default(),
            window: None,
            zero_copy: None,
            ring: None,
            error_queue: true,
            warm_until: 0,
            warm_window: QUANTUM,
            cold_at: (0, 0),
        }
    }

    /// Stands in for a state that is away.
    #[cfg(feature = "tokio")]
    pub(crate) fn placeholder() -> Self {
        let nowhere = Outlet { kind: Kind::Other, at: 0, records: None };
        Self::new(Piece::Memory(bytes::Bytes::new()), nowhere)
    }

    /// Makes the next call, if there is one.
    pub(crate) fn step(&mut self, ends: Ends<'_>) -> Result<Step, Error> {
        let step = self.try_step(ends);
        if step.is_err() {
            self.uncork(ends.sink);
        }
        step
    }

    fn try_step(&mut self, ends: Ends<'_>) -> Result<Step, Error> {
        if !self.begun {
            self.begin()?;
        }
        if self.plan.is_none() {
            self.open(ends)?;
        }
        let Some(act) = self.act() else { return self.finish(ends) };
        let front = self.front();
        let mut max = quantum(self.method()).min(self.step_bytes_max);
        if let (Some(front), Some(source)) = (front, ends.source) {
            match self.warm(front, source, act) {
                Ok(warm) => max = max.min(warm),
                Err(cold) => return Ok(cold),
            }
            self.check(front, source, act, max).map_err(|kind| self.error(kind))?;
        }
        let (call, answer) = self.perform(act, front, ends, max);
        self.ledger.by_method[call.method.index()].calls += 1;
        if act == Act::EmptyPipe {
            return self.emptied(answer);
        }
        let answer = self.past_records(call, answer, ends).map_err(|kind| self.error(kind))?;
        let step = self.account(call, answer, ends)?;
        if step == Step::Done { self.finish(ends) } else { Ok(step) }
    }

    /// Waits until the socket has the records that were made of the last bytes.
    fn finish(&self, ends: Ends<'_>) -> Result<Step, Error> {
        let Some(records) = &self.outlet.records else { return Ok(Step::Done) };
        match records.finish(ends.sink) {
            Ok(()) => Ok(Step::Done),
            Err(Errno::AGAIN) => Ok(Step::Wait(Side::Sink)),
            Err(Errno::INTR) => Ok(Step::Moved(0)),
            Err(errno) => Err(self.error(ErrorKind::Io(errno))),
        }
    }

    /// Which end the next call may have to wait for; `None` for a regular file.
    pub(crate) fn side(&self) -> Option<Side> {
        let front = self.front();
        let source = front.filter(|front| front.kind != Kind::File).map(|_| Side::Source);
        let sink = (self.outlet.kind != Kind::File).then_some(Side::Sink);
        match self.act()? {
            Act::Gather | Act::DrainPipe => sink,
            Act::Read | Act::FillPipe => source,
            Act::Through => source.or(sink),
            Act::EmptyPipe => None,
        }
    }

    /// Whether the next call may wait for a disk although the gate is asked: it writes to a
    /// file, or goes from file to file.
    #[cfg(feature = "tokio")]
    pub(crate) fn is_file_call(&self) -> bool {
        self.outlet.kind == Kind::File && self.act().is_some() && self.side().is_none()
    }

    /// Bytes taken from the source that the sink does not have.
    pub(crate) fn buffered(&self) -> u64 {
        self.front().map_or(0, |front| front.progress.buffered())
    }

    /// Bytes in the pipe.
    fn piped(&self) -> u64 {
        self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Gives up what is held on the current source.
    pub(crate) fn release_source(&mut self, source: Option<BorrowedFd<'_>>) {
        self.window = None;
        if let (true, Some(source)) = (std::mem::take(&mut self.leased), source) {
            // fcntl(2): EAGAIN says that no lease is held: it was broken, which `check` reports.
            let released = lease::release(source);
            debug_assert!(matches!(released, Ok(()) | Err(Errno::AGAIN)), "{released:?}");
        }
        self.pipe.take_if(|pipe| pipe.held == 0);
    }

    /// Sends what a cork of ours holds back.
    pub(crate) fn uncork(&mut self, sink: BorrowedFd<'_>) {
        self.cork.pull(sink);
    }

    /// Keeps zero-copy sends off a socket that tokio watches.
    ///
    /// A completion makes epoll report `EPOLLERR`, which mio takes for the end of writing and
    /// tokio never forgets: from then on the socket counts as writable, and a task that waits for
    /// it spins.
    #[cfg(feature = "tokio")]
    pub(crate) fn forbid_error_queue(&mut self) {
        self.error_queue = false;
    }

    /// Reads what completions there are, and lets go of the sink's zero-copy sends.
    pub(crate) fn close(&mut self) {
        if let Some(zero_copy) = self.zero_copy.take() {
            self.ledger.book(zero_copy.reap());
            zero_copy.close();
        }
        if let Some(mut ring) = self.ring.take() {
            self.ledger.book(ring.reap());
            ring.close();
        }
    }

    /// Refuses what `Only` cannot have before anything moves.
    fn begin(&mut self) -> Result<(), Error> {
        self.begun = true;
        self.wanted =
            self.pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.len()?));
        self.memory_only = self.pieces.iter().all(|piece| piece.kind() == Kind::Memory);
        let governed = |piece: &&Piece| self.memory_only || piece.kind() != Kind::Memory;
        let refused = self.pieces.iter().filter(governed).find(|p| self.choose(p).is_none());
        if let (Some(piece), Policy::Only(method)) = (refused, self.policy) {
            let (source, sink) = (piece.kind(), self.outlet.kind);
            self.begun = false;
            let kind = ErrorKind::Unsupported { source, sink, errno: None };
            return Err(Error { method, ..self.error(kind) });
        }
        self.drop_finished(None);
        Ok(())
    }

    fn choose(&self, piece: &Piece) -> Option<Plan> {
        let (source, sink) = (piece.kind(), self.outlet.kind);
        Plan::choose(source, sink, piece.len(), self.policy, self.stability)
    }

    /// The piece the plan is for: the front, or memory if there was never anything else.
    fn governed(&self) -> Option<&Piece> {
        match self.front() {
            Some(front) => self.pieces.get(front.index),
            None => self.pieces.front().filter(|_| self.memory_only),
        }
    }

    /// Chooses for the piece that is now in front, and takes its lease.
    fn open(&mut self, ends: Ends<'_>) -> Result<(), Error> {
        let Some(piece) = self.governed() else { return Ok(()) };
        let is_file = piece.kind() == Kind::File;
        let plan = self.choose(piece);
        if is_file
            && self.stability == Stability::Lease
            && !self.leased
            && let Some(source) = ends.source
        {
            lease::take(source).map_err(|errno| self.error(ErrorKind::NoLease(errno)))?;
            self.leased = true;
        }
        if let Some(Plan { method: to, declined: Some(from), .. }) = plan {
            self.ledger.fallbacks.push(Fallback { from, to, errno: None, at: self.ledger.moved() });
        }
        self.plan = plan;
        (self.warm_until, self.warm_window) = (0, QUANTUM);
        Ok(())
    }

    /// The method in use; before the first step, the one that will be.
    pub(crate) fn method(&self) -> Method {
        let plan = self.plan.or_else(|| self.governed().and_then(|piece| self.choose(piece)));
        plan.map_or(Method::Copy, |plan| plan.method)
    }

    fn front(&self) -> Option<Front> {
        self.pieces.iter().take(SLICES_MAX).enumerate().find_map(|(index, piece)| match piece {
            Piece::Memory(_) => None,
            Piece::File { offset, progress, .. } => {
                let at = Some(offset + progress.taken());
                Some(Front { index, kind: Kind::File, progress: *progress, at, is_tls: false })
            }
            Piece::Stream { kind, progress, records } => {
                let is_tls = records.is_some();
                Some(Front { index, kind: *kind, progress: *progress, at: None, is_tls })
            }
        })
    }

    fn act(&self) -> Option<Act> {
        if self.pieces.is_empty() {
            return None;
        }
        let method = self.method();
        let Some(front) = self.front() else {
            let plain = !self.memory_only || method == Method::Copy;
            return Some(if plain { Act::Gather } else { Act::Through });
        };
        if self.buffer.len() > 0 {
            return Some(Act::Gather);
        }
        if self.piped() > 0 {
            return Some(if method == Method::Copy { Act::EmptyPipe } else { Act::DrainPipe });
        }
        // A file is read before its head is sent: both then go in one call.
        let read_first = method == Method::Copy && front.kind == Kind::File;
        if front.index > 0 && !read_first {
            return Some(Act::Gather);
        }
        // Of a TLS record a pipe must have room for all: see `underpass_sys::tls`.
        let an_end_is_a_pipe = front.kind == Kind::Pipe || self.outlet.kind == Kind::Pipe;
        let an_end_is_a_pipe = an_end_is_a_pipe && !front.is_tls;
        Some(match method {
            Method::Copy => Act::Read,
            Method::Splice if !an_end_is_a_pipe => Act::FillPipe,
            Method::UringSplice => Act::FillPipe,
            Method::Splice
            | Method::MmapWrite
            | Method::Sendfile
            | Method::CopyFileRange
            | Method::Clone
            | Method::ZeroCopySend
            | Method::UringSendZc => Act::Through,
        })
    }
}
