//! Booking what a call did: positions, ledger, method, and pieces that are done.

use bytes::Buf;
use rustix::io::Errno;

use super::{Ends, TransferState};
use crate::error::{Error, ErrorKind};
use crate::kind::Kind;
use crate::ledger::Fallback;
use crate::method::Method;
use crate::methods::count;
use crate::plan::Plan;
use crate::policy::Policy;
use crate::progress::{Call, Leg, Progress, Verdict};
use crate::source::Piece;
use crate::stability::Stability;
use crate::transfer::Step;

impl TransferState {
    pub(super) fn account(
        &mut self,
        call: Call,
        answer: Result<u64, Errno>,
        ends: Ends<'_>,
    ) -> Result<Step, Error> {
        let taken = self.front().map_or(0, |front| front.progress.taken());
        let verdict = match self.front_progress() {
            Some(progress) => progress.answer(call, answer),
            // Memory alone: a piece of no bytes stands in, and all that moves is ahead of it.
            None => Progress::new(Some(0)).answer(Call { leg: Leg::Out, ..call }, answer),
        };
        self.sample(taken, ends);
        match verdict {
            Verdict::Moved(n) => {
                self.ledger.by_method[call.method.index()].bytes += n;
                self.outlet.at += n;
                self.spend(call, n);
                self.drop_finished(Some(ends));
                Ok(Step::Moved(n))
            }
            Verdict::Buffered(n) => {
                if call.method == Method::Copy {
                    self.buffer.filled(n);
                } else if let Some(pipe) = &mut self.pipe {
                    pipe.held += n;
                }
                Ok(Step::Buffered(n))
            }
            Verdict::Interrupted => Ok(Step::Moved(0)),
            Verdict::Wait(side) => {
                self.ledger.waits[side as usize] += 1;
                Ok(Step::Wait(side))
            }
            Verdict::Ended => {
                self.drop_finished(Some(ends));
                Ok(if self.pieces.is_empty() { Step::Done } else { Step::Moved(0) })
            }
            Verdict::Truncated { missing } => {
                Err(self.error_in(call.method, ErrorKind::Truncated { missing }))
            }
            Verdict::Refused(errno) => {
                self.uncork(ends.sink);
                self.fall_back(call.method, errno)
            }
            Verdict::Failed(errno) => Err(self.error_in(call.method, ErrorKind::Io(errno))),
        }
    }

    /// Remembers a few of the bytes that a call took from a file, from `taken` on, unless they
    /// were its last: then it has been looked at.
    fn sample(&self, taken: u64, ends: Ends<'_>) {
        let looks_again = matches!(self.stability, Stability::Guard | Stability::Copy);
        let piece = self.front().and_then(|front| self.pieces.get(front.index));
        if let (
            true,
            Some(source),
            Some(Piece::File { offset, progress, baseline: Some(baseline), .. }),
        ) = (looks_again, ends.source, piece)
            && progress.left() > 0
        {
            baseline.note_sent(source, &(offset + taken..offset + progress.taken()));
        }
    }

    /// Books bytes that came out of the pipe into memory: buffered before and after.
    pub(super) fn emptied(&mut self, answer: Result<u64, Errno>) -> Result<Step, Error> {
        match answer {
            Err(Errno::INTR) => Ok(Step::Moved(0)),
            Ok(n) if n > 0 => {
                self.buffer.filled(n);
                self.unpipe(n);
                Ok(Step::Moved(0))
            }
            // The pipe is ours and holds bytes; it has no way to say that it does not.
            Ok(_) | Err(Errno::AGAIN) => Err(self.error(ErrorKind::Io(Errno::IO))),
            Err(errno) => Err(self.error(ErrorKind::Io(errno))),
        }
    }

    fn unpipe(&mut self, n: u64) {
        if let Some(pipe) = &mut self.pipe {
            pipe.held -= n;
        }
    }

    fn front_progress(&mut self) -> Option<&mut Progress> {
        let index = self.front()?.index;
        match self.pieces.get_mut(index)? {
            Piece::Memory(_) => None,
            Piece::File { progress, .. } | Piece::Stream { progress, .. } => Some(progress),
        }
    }

    /// Takes `n` bytes off what the call was given: memory, buffered memory, or the pipe.
    fn spend(&mut self, call: Call, mut n: u64) {
        if call.leg == Leg::Out && call.method != Method::Copy {
            self.unpipe(n);
            return;
        }
        if call.leg == Leg::Through && !self.memory_only {
            return;
        }
        for piece in &mut self.pieces {
            let part = match piece {
                Piece::Memory(bytes) => {
                    let part = n.min(bytes.len() as u64);
                    bytes.advance(count(part));
                    part
                }
                Piece::File { .. } | Piece::Stream { .. } => {
                    let part = n.min(self.buffer.len());
                    self.buffer.consume(part);
                    part
                }
            };
            n -= part;
            if n == 0 {
                break;
            }
        }
        debug_assert_eq!(n, 0, "{call:?} moved bytes that it was not given");
    }

    /// Drops finished pieces from the front; what was held for a source goes with it, and the
    /// cork if nothing follows at once.
    pub(super) fn drop_finished(&mut self, ends: Option<Ends<'_>>) {
        while let Some(piece) = self.pieces.pop_front_if(|piece| piece.is_over()) {
            if piece.kind() != Kind::Memory {
                self.release_source(ends.and_then(|ends| ends.source));
                self.sources_done += 1;
                self.plan = None;
            }
        }
        if let Some(ends) = ends
            && !self.pieces.front().is_some_and(Piece::is_at_hand)
        {
            self.uncork(ends.sink);
        }
    }

    /// Goes over to the next method. What the refused one has buffered comes along.
    fn fall_back(&mut self, from: Method, errno: Option<Errno>) -> Result<Step, Error> {
        let next = self.plan.as_mut().and_then(Plan::fall_back);
        let Some(to) = next else {
            let source = self.front().map_or(Kind::Memory, |front| front.kind);
            let kind = match self.policy {
                Policy::Only(_) => ErrorKind::Unsupported { source, sink: self.outlet.kind, errno },
                Policy::Auto | Policy::Prefer(_) => ErrorKind::Io(errno.unwrap_or(Errno::IO)),
            };
            return Err(self.error_in(from, kind));
        };
        self.window = None;
        let at = self.ledger.moved();
        self.ledger.fallbacks.push(Fallback { from, to, errno, at });
        Ok(Step::Moved(0))
    }

    pub(crate) fn error(&self, kind: ErrorKind) -> Error {
        self.error_in(self.method(), kind)
    }

    fn error_in(&self, method: Method, kind: ErrorKind) -> Error {
        let (moved, buffered, wanted) = (self.ledger.moved(), self.buffered(), self.wanted);
        Error { moved, buffered, wanted, ..Error::new(method, kind) }
    }
}
