//! A watch that is limited: looks, rests and what they cost, as the clock and the probe have it.
//!
//! To go from a look to a rest and back stops every processor some dozens of times, for as long
//! as the kernel changes its own code, which no toll counts: what it takes of this thread's time
//! is added, and as much again for the processor of the watched.
//!
//! Source: `Documentation/trace/tracepoints.rst`; clock_gettime(2) (`CLOCK_THREAD_CPUTIME_ID`).

use std::time::{Duration, Instant};

use crate::evidence::{Evidence, Lent};
use crate::explain::interval::Interval;
use crate::explain::pace::{Left, Pace};
use crate::explain::report::Report;
use crate::figure::float;
use crate::probe::{Probe, ProbeError, Tolls};
use crate::usage::own_time;

/// The turns of a watch, and what was paid for the last of them.
#[derive(Debug)]
pub(crate) struct Limited {
    pace: Pace,
    seed: u64,
    start: Instant,
    paid: Tolls,
}

impl Limited {
    /// Looks may take this share of one processor's time. The first has begun.
    pub(crate) fn new(budget: f64, seed: u64, probe: &Probe) -> Result<Self, ProbeError> {
        let (pace, paid) = (Pace::new(budget, seed), probe.tolls()?);
        Ok(Self { pace, seed, start: Instant::now(), paid })
    }

    /// Does what is due, and says when there is something to do again.
    pub(crate) fn turn(&mut self, probe: &mut Probe) -> Result<Duration, ProbeError> {
        let now = self.start.elapsed();
        if now >= self.pace.due() {
            let tolls = probe.tolls()?;
            let before = own_time();
            if self.pace.is_resting() {
                probe.look()?;
                self.pace.look(self.start.elapsed(), switched_since(before));
            } else {
                let cost = probe.toll().mul_f64(float(tolls.most_since(&self.paid)));
                if self.pace.is_dear(now, cost) {
                    probe.rest();
                    let ended = switched_since(before);
                    self.pace.rest(now, ended, Left::of(&probe.evidence()?));
                } else {
                    self.pace.go_on(now, Left::of(&probe.evidence()?));
                }
            }
            self.paid = tolls;
        }
        Ok(self.pace.due().saturating_sub(self.start.elapsed()))
    }

    /// The share of the time, from 0 to 1, that was looked at; nothing if that was all of it.
    pub(crate) fn looked(&self) -> Option<f64> {
        self.pace.looked(self.start.elapsed())
    }

    /// The share that looking may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.pace.budget()
    }

    /// The share by reference of all the time, from where to where.
    pub(crate) fn interval(&self, seen: &Evidence, report: &Report) -> Interval {
        let (left, total) = (Left::of(seen), &report.total);
        let looks = self.pace.looks(self.start.elapsed(), left);
        let part = |bytes: u64, of: u64| if of == 0 { 1.0 } else { float(bytes) / float(of) };
        let of_files = [
            part(total.by_reference_bytes, left.by_reference),
            part(total.copied_bytes + total.unknown_bytes, left.copied),
        ];
        Interval::of(&looks, of_files, all_that_left(seen), self.seed)
    }
}

/// What it took of two processors to begin a look or to end it, which this thread began then.
fn switched_since(then: Duration) -> Duration {
    2 * own_time().saturating_sub(then)
}

impl Left {
    /// What was seen to leave, by whether its pages were lent.
    fn of(seen: &Evidence) -> Self {
        let mut left = Self::default();
        for pages in seen.sockets.iter().flat_map(|socket| &socket.sent) {
            match pages.lent {
                Lent::No => left.copied += pages.bytes,
                Lent::Shared | Lent::ZeroCopy => left.by_reference += pages.bytes,
            }
        }
        left
    }
}

/// What left as TCP counts it, seen or not; nothing where it was not asked.
fn all_that_left(seen: &Evidence) -> Option<u64> {
    let sockets = seen.sockets.iter();
    let is_known = sockets.clone().any(|socket| socket.total_bytes.is_some());
    let left = sockets.map(|socket| {
        let seen = socket.sent.iter().map(|pages| pages.bytes).sum();
        socket.total_bytes.map_or(seen, |total| total.max(seen))
    });
    is_known.then(|| left.sum())
}
