//! A watch that is limited: looks, rests and what they cost, as the clock and the probe have it.
//!
//! To go from a look to a rest and back stops every processor some dozens of times, for as long
//! as the kernel changes its own code, which no toll counts: what it takes of this thread's time
//! is added, and as much again for the processor of the watched.
//!
//! Source: `Documentation/trace/tracepoints.rst`; clock_gettime(2) (`CLOCK_THREAD_CPUTIME_ID`).

use std::time::{Duration, Instant};

use crate::evidence::{Evidence, Lent};
use crate::explain::interval::{Interval, Sample};
use crate::explain::pace::{Pace, Turn};
use crate::explain::report::Report;
use crate::figure::float;
use crate::probe::{Probe, ProbeError, Tolls};
use crate::usage::own_time;

/// The turns of a watch, and what was paid for the last of them.
#[derive(Debug)]
pub(crate) struct Limited {
    pace: Pace,
    start: Instant,
    paid: Tolls,
}

impl Limited {
    /// Looks may take this share of one processor's time. The first has begun.
    pub(crate) fn new(budget: f64, seed: u64, probe: &Probe) -> Result<Self, ProbeError> {
        let (pace, paid) = (Pace::new(budget, seed), probe.tolls()?);
        Ok(Self { pace, start: Instant::now(), paid })
    }

    /// Does what is due, and says when there is something to do again.
    pub(crate) fn turn(&mut self, probe: &mut Probe) -> Result<Duration, ProbeError> {
        let now = self.start.elapsed();
        if now >= self.pace.due() {
            let (tolls, [_, others]) = (probe.tolls()?, probe.left()?);
            let cost = probe.toll().mul_f64(float(tolls.most_since(&self.paid)));
            let before = own_time();
            match self.pace.turn(now, cost, others) {
                Turn::GoOn => {}
                Turn::Look => probe.look()?,
                Turn::Rest => probe.rest()?,
            }
            // Of two processors, of which this thread knows its own.
            self.pace.add_cost(2 * own_time().saturating_sub(before));
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
    pub(crate) fn interval(
        &self,
        probe: &Probe,
        seen: &Evidence,
        report: &Report,
    ) -> Result<Interval, ProbeError> {
        let (all, looked_at, total) = (probe.left_by_all()?, left_in_looks(seen), &report.total);
        let of_files = [total.by_reference_bytes, total.copied_bytes + total.unknown_bytes];
        let [lent, others] = [0, 1].map(|way| Sample {
            all: all[way],
            seen: looked_at[way],
            of_files: of_files[way],
        });
        Ok(Interval::of(lent, others, self.pace.looks(), self.looked().unwrap_or(1.0)))
    }
}

/// What was seen to leave in pages of files, and otherwise.
fn left_in_looks(seen: &Evidence) -> [u64; 2] {
    let mut left = [0; 2];
    for pages in seen.sockets.iter().flat_map(|socket| &socket.sent) {
        let is_of_file = pages.origin.file().is_some() && pages.lent != Lent::No;
        left[usize::from(!is_of_file)] += pages.bytes;
    }
    left
}
