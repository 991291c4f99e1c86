//! Making the next call: what has to be looked at before, and the call itself.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use underpass_sys::lease;

use super::{Act, Ends, Front, TransferState};
use crate::error::ErrorKind;
use crate::kind::Kind;
use crate::ledger::Side;
use crate::limits::{CORK_MIN_BYTES, QUANTUM};
use crate::method::Method;
use crate::methods::copy::{self, Gathered};
use crate::methods::mmap_write::{self, Window};
use crate::methods::splice::{self, End};
use crate::methods::{clone, copy_file_range, count, sendfile, zero_copy_send};
use crate::pipe::Pipe;
use crate::policy::Policy;
use crate::progress::{Call, Leg};
use crate::ring::Ring;
use crate::source::Piece;
use crate::stability::{Change, Stability};
use crate::tls::Records;
use crate::transfer::Step;
use crate::warm::{self, Warmth};
use crate::zero_copy::ZeroCopy;

/// The most of a file that one question about the page cache is about: what it found there may be
/// evicted before it is sent.
const WARM_WINDOW_MAX: u64 = 8 * QUANTUM;

/// Reports of the same cold offset before the call is made anyway, or a page that is
/// evicted as fast as it is fetched would hold the transfer for ever.
const COLD_REPORTS_MAX: u8 = 3;

impl TransferState {
    /// How many bytes the call may take without waiting for the disk, or the report that it may
    /// take none. Asked before a head is sent too: a head is not held back while its file is
    /// fetched.
    pub(super) fn warm(
        &mut self,
        front: Front,
        source: BorrowedFd<'_>,
        act: Act,
    ) -> Result<u64, Step> {
        let takes = match act {
            Act::Through | Act::FillPipe | Act::Read => true,
            Act::Gather => self.buffer.len() == 0 && front.index > 0,
            Act::DrainPipe | Act::EmptyPipe => false,
        };
        let (true, Some(at)) = (self.gated && takes, front.at) else { return Ok(u64::MAX) };
        if at >= self.warm_until {
            let len = front.progress.left().min(QUANTUM);
            let hot = self.hot(source, at, front.progress.left());
            let reports = if self.cold_at.0 == at { self.cold_at.1 } else { 0 };
            if hot == 0 && reports < COLD_REPORTS_MAX {
                self.cold_at = (at, reports + 1);
                self.ledger.cold += 1;
                return Err(Step::Cold { offset: at, len });
            }
            self.warm_until = at + if hot == 0 { len } else { hot };
        }
        Ok(self.warm_until - at)
    }

    /// How many of `left` bytes at `at` are in the page cache. A file that has always been there is
    /// asked about in larger and larger parts, one that has not in steps.
    fn hot(&mut self, source: BorrowedFd<'_>, at: u64, left: u64) -> u64 {
        let wide = left.min(self.warm_window);
        if self.probe(source, at, wide) == Warmth::Hot {
            self.warm_window = (2 * self.warm_window).min(WARM_WINDOW_MAX);
            return wide;
        }
        self.warm_window = QUANTUM;
        let len = left.min(QUANTUM);
        match self.probe(source, at, len) {
            Warmth::Hot => len,
            Warmth::Cold { hot } => hot,
        }
    }

    fn probe(&self, source: BorrowedFd<'_>, at: u64, len: u64) -> Warmth {
        let front = self.front().and_then(|front| self.pieces.get(front.index));
        match front {
            Some(Piece::File { residency: Some(known), .. }) => known.probe(source, at, len),
            _ => warm::probe(source, at, len),
        }
    }

    /// Whether the file is still what it was, before the call that would complete it.
    pub(super) fn check(
        &self,
        front: Front,
        source: BorrowedFd<'_>,
        act: Act,
        max: u64,
    ) -> Result<(), ErrorKind> {
        let left = front.progress.left();
        let completes = match act {
            Act::Gather => self.buffer.len() > 0 && left == 0,
            Act::DrainPipe => left == 0,
            Act::Through => left <= max || self.method() == Method::Clone,
            Act::Read | Act::FillPipe | Act::EmptyPipe => false,
        };
        let (true, Some(Piece::File { offset, progress, baseline, .. })) =
            (completes, self.pieces.get(front.index))
        else {
            return Ok(());
        };
        match self.stability {
            Stability::None => Ok(()),
            Stability::Lease => match lease::is_held(source) {
                Ok(true) => Ok(()),
                Ok(false) => Err(ErrorKind::Changed),
                Err(errno) => Err(ErrorKind::Io(errno)),
            },
            Stability::Guard | Stability::Copy => {
                let Some(baseline) = baseline else { return Ok(()) };
                let end = offset + progress.len().unwrap_or(0);
                match baseline.change(source).map_err(ErrorKind::Io)? {
                    Change::Nothing | Change::Grown => Ok(()),
                    Change::Shrunk { size } if size.max(offset + progress.taken()) < end => {
                        let there = size.max(offset + progress.taken());
                        Err(ErrorKind::Truncated { missing: end - there })
                    }
                    Change::Shrunk { .. } | Change::Written => Err(ErrorKind::Changed),
                }
            }
        }
    }

    /// Makes the call. `max` bounds what is taken from the source.
    pub(super) fn perform(
        &mut self,
        act: Act,
        front: Option<Front>,
        ends: Ends<'_>,
        max: u64,
    ) -> (Call, Result<u64, Errno>) {
        let method = self.method();
        let piped = self.piped();
        let call = |leg, blocked, own| Call { method, leg, blocked, ahead: 0, own };
        let (Some(front), Some(source)) = (front, ends.source) else {
            if act == Act::Gather {
                return self.send_memory(ends.sink);
            }
            let answer = self.lend_memory(ends.sink);
            return (call(Leg::Through, Side::Sink, 0), answer);
        };
        let left = front.progress.left();
        let max = max.min(left);
        let records = self.records().cloned();
        let is_ended = records.as_ref().is_some_and(Records::is_ended);
        match act {
            Act::Gather => self.send_memory(ends.sink),
            Act::Read => {
                let to = (self.outlet.kind == Kind::File).then_some(self.outlet.at);
                let from = front.at.or(to).unwrap_or(0);
                let room = self.buffer.room(from, to, max);
                let own = room.len() as u64;
                let answer = match &records {
                    Some(records) => records.read(source, room),
                    None => copy::fill(source, front.at, room),
                };
                (call(Leg::In, Side::Source, own), answer)
            }
            Act::EmptyPipe => {
                let to = (self.outlet.kind == Kind::File).then_some(self.outlet.at);
                let room = self.buffer.room(to.unwrap_or(0), to, piped);
                let own = room.len() as u64;
                let answer = self
                    .pipe
                    .as_ref()
                    .map_or(Err(Errno::PIPE), |pipe| copy::fill(pipe.read_end(), None, room));
                (call(Leg::Out, Side::Sink, own), answer)
            }
            Act::FillPipe => {
                let source = End(source, front.at);
                let answer =
                    if is_ended { Ok(0) } else { self.fill_pipe(source, max, front.is_tls) };
                (call(Leg::In, Side::Source, max), answer)
            }
            Act::DrainPipe => {
                let more = self.more_behind(front, left > 0);
                let answer = self.drain_pipe(End(ends.sink, self.sink_at()), more);
                (call(Leg::Out, Side::Sink, piped), answer)
            }
            Act::Through => {
                let max = if method == Method::Clone { left } else { max };
                let answer = self.through(front, source, ends.sink, max);
                let blocked = match (front.kind, self.outlet.kind) {
                    (Kind::File, _) => Side::Sink,
                    (_, Kind::File) => Side::Source,
                    _ if answer == Err(Errno::AGAIN) => splice::blocked(source),
                    _ => Side::Sink,
                };
                (call(Leg::Through, blocked, max), answer)
            }
        }
    }

    fn through(
        &mut self,
        front: Front,
        source: BorrowedFd<'_>,
        sink: BorrowedFd<'_>,
        max: u64,
    ) -> Result<u64, Errno> {
        let at = front.at.unwrap_or(0);
        let left = front.progress.left();
        let more = self.more_behind(front, left > max);
        match self.method() {
            Method::Sendfile => {
                let at_once = left.min(self.step_bytes_max);
                if self.outlet.kind == Kind::Socket && at_once >= CORK_MIN_BYTES {
                    self.cork.insert(sink);
                }
                sendfile::through(source, at, sink, max)
            }
            Method::Splice => {
                let sink = End(sink, self.sink_at());
                let answer = splice::splice(End(source, front.at), sink, max, more);
                splice::unless_urgent(source, answer)
            }
            Method::CopyFileRange => {
                copy_file_range::through(source, at, sink, self.outlet.at, max)
            }
            Method::Clone => clone::through(source, at, sink, self.outlet.at, max),
            Method::MmapWrite => {
                let part = Window::part(&mut self.window, source, at, left, max)?;
                mmap_write::through(part, sink, &self.outlet, more)
            }
            Method::ZeroCopySend => {
                self.ready_zero_copy(sink)?;
                let part = Window::part(&mut self.window, source, at, left, max)?;
                let zero_copy = self.zero_copy.as_ref().ok_or(Errno::OPNOTSUPP)?;
                zero_copy_send::from_map(zero_copy, part, sink, more)
            }
            Method::UringSendZc => {
                self.ready_ring()?;
                let part = Window::part(&mut self.window, source, at, left, max)?;
                open_ring(&mut self.ring)?.send_map(part, sink, more)
            }
            // Plans never hold these for a direct call.
            Method::Copy | Method::UringSplice => Err(Errno::NOSYS),
        }
    }

    /// Sends the first piece, which is memory, without copying it.
    fn lend_memory(&mut self, sink: BorrowedFd<'_>) -> Result<u64, Errno> {
        let Some(Piece::Memory(bytes)) = self.pieces.front() else { return Err(Errno::NOSYS) };
        let part = bytes.slice(..bytes.len().min(count(QUANTUM)));
        let more = part.len() < bytes.len() || self.pieces.get(1).is_some_and(Piece::is_at_hand);
        if self.method() == Method::UringSendZc {
            self.ready_ring()?;
            return open_ring(&mut self.ring)?.send_memory(part, sink, more);
        }
        self.ready_zero_copy(sink)?;
        let zero_copy = self.zero_copy.as_ref().ok_or(Errno::OPNOTSUPP)?;
        zero_copy_send::from_memory(zero_copy, part, sink, more)
    }

    /// Reads completions; refuses where the kernel keeps copying.
    fn ready_zero_copy(&mut self, sink: BorrowedFd<'_>) -> Result<(), Errno> {
        if !self.error_queue {
            return Err(Errno::OPNOTSUPP);
        }
        let zero_copy = match &mut self.zero_copy {
            Some(open) => open,
            none => none.insert(ZeroCopy::open(sink)?),
        };
        self.ledger.book(zero_copy.reap());
        let futile = zero_copy.is_futile();
        self.refuse_if(futile)
    }

    /// As [`Self::ready_zero_copy`], for the ring.
    fn ready_ring(&mut self) -> Result<(), Errno> {
        let ring = open_ring(&mut self.ring)?;
        self.ledger.book(ring.reap());
        let futile = ring.is_futile();
        self.refuse_if(futile)
    }

    /// Gives up what is futile, unless it was demanded.
    fn refuse_if(&self, futile: bool) -> Result<(), Errno> {
        let demanded = matches!(self.policy, Policy::Only(_));
        if futile && !demanded { Err(Errno::OPNOTSUPP) } else { Ok(()) }
    }

    fn send_memory(&self, sink: BorrowedFd<'_>) -> (Call, Result<u64, Errno>) {
        let buffered = self.buffer.len();
        let all_of_it = self
            .front()
            .is_some_and(|f| f.progress.left() == 0 && f.progress.buffered() == buffered);
        let gathered = Gathered::new(&self.pieces, self.buffer.bytes(), all_of_it);
        let answer = gathered.send(sink, &self.outlet);
        let Gathered { ahead, own, .. } = gathered;
        let leg = Leg::Out;
        (Call { method: Method::Copy, leg, blocked: Side::Sink, ahead, own }, answer)
    }

    /// Fills the pipe, which is empty.
    fn fill_pipe(&mut self, source: End<'_>, max: u64, is_tls: bool) -> Result<u64, Errno> {
        let by_ring = self.method() == Method::UringSplice;
        let pipe = match &mut self.pipe {
            Some(pipe) => pipe,
            none if is_tls => none.insert(Pipe::take_for_records()?),
            none => none.insert(Pipe::take_largest()?),
        };
        let into = End(pipe.write_end(), None);
        let answer = if by_ring {
            open_ring(&mut self.ring)?.splice(source, into, max, false)
        } else {
            splice::splice(source, into, max, false)
        };
        splice::unless_urgent(source.0, answer)
    }

    /// Drains the pipe.
    fn drain_pipe(&mut self, sink: End<'_>, more: bool) -> Result<u64, Errno> {
        let by_ring = self.method() == Method::UringSplice;
        let pipe = self.pipe.as_ref().ok_or(Errno::PIPE)?;
        let from = End(pipe.read_end(), None);
        if by_ring {
            open_ring(&mut self.ring)?.splice(from, sink, pipe.held, more)
        } else {
            splice::splice(from, sink, pipe.held, more)
        }
    }

    /// Those of the TLS connection in front.
    fn records(&self) -> Option<&Records> {
        match self.pieces.get(self.front()?.index)? {
            Piece::Stream { records, .. } => records.as_ref(),
            Piece::Memory(_) | Piece::File { .. } => None,
        }
    }

    /// The answer as a plain stream would have given it.
    pub(super) fn past_records(
        &self,
        call: Call,
        answer: Result<u64, Errno>,
        ends: Ends<'_>,
    ) -> Result<Result<u64, Errno>, ErrorKind> {
        match (call.leg, self.records(), ends.source) {
            (Leg::In, Some(records), Some(source)) => records.past(source, answer),
            (Leg::Out, _, _) => match &self.outlet.records {
                Some(records) => records.past(ends.sink, answer),
                None => Ok(answer),
            },
            _ => Ok(answer),
        }
    }

    fn sink_at(&self) -> Option<u64> {
        (self.outlet.kind == Kind::File).then_some(self.outlet.at)
    }

    /// Whether a socket is told that more follows at once: the rest of a file, or the piece
    /// behind it. Never before a stream, whose next byte may be long in coming.
    fn more_behind(&self, front: Front, of_this: bool) -> bool {
        if of_this {
            return front.kind == Kind::File;
        }
        self.pieces.get(front.index + 1).is_some_and(Piece::is_at_hand)
    }
}

fn open_ring(ring: &mut Option<Ring>) -> Result<&mut Ring, Errno> {
    match ring {
        Some(open) => Ok(open),
        none => Ok(none.insert(Ring::open()?)),
    }
}
