//! How often a watch looks, so that looking takes no more of a processor than it may.
//!
//! Each look is paid for by the watched process: some hundred nanoseconds for a call, and about a
//! microsecond for a packet, which a busy server makes many of. As long as that stays below the
//! budget, nothing is missed. Past it, looks of a fixed length are followed by rests that are long
//! enough; while it rests, nothing of it is left in the kernel's way. To go from one to the other
//! stops every processor some dozens of times for as long as the kernel changes its own code
//! there, which no toll counts: what it takes of this thread's time is added.
//!
//! Source: `Documentation/trace/tracepoints.rst`; clock_gettime(2) (`CLOCK_THREAD_CPUTIME_ID`).

use std::time::{Duration, Instant};

use crate::figure::float;
use crate::probe::{Probe, ProbeError, Tolls};
use crate::usage::own_time;

/// How long a look is, or the time between two accounts of a long one.
const LOOK: Duration = Duration::from_millis(30);

/// No rest is longer, however costly a look.
const REST_MAX: Duration = Duration::from_secs(2);

/// The turns of looking and resting.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: f64,
    turn: Turn,
    begun: Instant,
    rested: Duration,
}

#[derive(Debug)]
enum Turn {
    /// `begun` is what it took to begin.
    Look {
        since: Instant,
        paid: Tolls,
        begun: Duration,
    },
    Rest {
        since: Instant,
        length: Duration,
    },
}

impl Pace {
    /// Looks may take this share of one processor's time. The first has begun.
    pub(crate) fn new(budget: f64, probe: &Probe) -> Result<Self, ProbeError> {
        let begun = Instant::now();
        let turn = Turn::Look { since: begun, paid: probe.tolls()?, begun: Duration::ZERO };
        Ok(Self { budget, turn, begun, rested: Duration::ZERO })
    }

    /// Does what is due, and says when there is something to do again.
    pub(crate) fn turn(&mut self, probe: &mut Probe) -> Result<Duration, ProbeError> {
        let now = Instant::now();
        let (since, length) = match &self.turn {
            Turn::Look { since, .. } => (*since, LOOK),
            Turn::Rest { since, length } => (*since, *length),
        };
        let passed = now.duration_since(since);
        if passed < length {
            return Ok(length - passed);
        }
        let tolls = probe.tolls()?;
        let (next, length) = match &self.turn {
            Turn::Rest { .. } => {
                self.rested += passed;
                let before = own_time();
                probe.look()?;
                let begun = own_time().saturating_sub(before);
                (Turn::Look { since: now, paid: tolls, begun }, LOOK)
            }
            Turn::Look { paid, begun, .. } => {
                let cost = probe.toll().mul_f64(float(tolls.most_since(paid)));
                if cost.div_duration_f64(passed) <= self.budget {
                    let begun = Duration::ZERO;
                    (Turn::Look { since: now, paid: tolls, begun }, LOOK)
                } else {
                    let before = own_time();
                    probe.rest();
                    let ended = own_time().saturating_sub(before);
                    let length = rest_after(passed, cost + *begun + ended, self.budget);
                    (Turn::Rest { since: now, length }, length)
                }
            }
        };
        self.turn = next;
        Ok(length)
    }

    /// The share of the time, from 0 to 1, that was looked at; nothing if that was all of it.
    pub(crate) fn looked(&self) -> Option<f64> {
        let resting = match &self.turn {
            Turn::Rest { since, .. } => since.elapsed(),
            Turn::Look { .. } => Duration::ZERO,
        };
        let rested = self.rested + resting;
        (!rested.is_zero()).then(|| 1.0 - rested.div_duration_f64(self.begun.elapsed()))
    }

    /// The share that looking may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.budget
    }
}

/// How long to rest after a look of that length, which took this much of a processor's time.
fn rest_after(look: Duration, cost: Duration, budget: f64) -> Duration {
    let turn = Duration::try_from_secs_f64(cost.as_secs_f64() / budget);
    turn.map_or(REST_MAX, |turn| turn.saturating_sub(look).min(REST_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_look_that_is_ten_times_too_dear_is_followed_by_a_rest_of_nine() {
        assert_eq!(rest_after(millis(20), millis(6), 0.03), millis(180));
        assert_eq!(rest_after(millis(20), Duration::from_micros(1_200), 0.03), millis(20));
    }

    #[test]
    fn there_is_no_rest_without_end() {
        assert_eq!(rest_after(millis(20), millis(6), 0.0), REST_MAX);
        assert_eq!(rest_after(millis(20), millis(1_000), 0.001), REST_MAX);
        assert_eq!(rest_after(millis(20), Duration::ZERO, 0.5), Duration::ZERO);
    }
}
