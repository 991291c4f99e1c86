//! How often a watch looks, so that looking takes no more of a processor than it may.
//!
//! Each look is paid for by whoever is watched: some hundred nanoseconds for a call, and about a
//! microsecond for a packet, which a busy server makes many of. As long as that stays below the
//! budget, nothing is missed. Past it, looks of a fixed length are followed by rests that are long
//! enough; while it rests, nothing of it is left in the kernel's way.

use std::time::{Duration, Instant};

use crate::figure::float;
use crate::probe::{Probe, ProbeError, Tolls};

/// How long a look is, or the time between two accounts of one that goes on.
const LOOK: Duration = Duration::from_millis(15);

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
    Look { since: Instant, paid: Tolls },
    Rest { since: Instant, length: Duration },
}

impl Pace {
    /// Looks may take this share of one processor's time. The first has begun.
    pub(crate) fn new(budget: f64, probe: &Probe) -> Result<Self, ProbeError> {
        let begun = Instant::now();
        let turn = Turn::Look { since: begun, paid: probe.tolls()? };
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
        let rest = match &self.turn {
            Turn::Rest { .. } => {
                self.rested += passed;
                probe.look()?;
                None
            }
            Turn::Look { paid, .. } => {
                let cost = probe.toll().as_secs_f64() * float(tolls.most_since(paid));
                rest_after(passed, cost / passed.as_secs_f64(), self.budget)
            }
        };
        self.turn = match rest {
            Some(length) => {
                probe.rest();
                Turn::Rest { since: now, length }
            }
            None => Turn::Look { since: now, paid: tolls },
        };
        Ok(rest.unwrap_or(LOOK))
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

/// How long to rest after a look of that length, which took a share of a processor.
fn rest_after(look: Duration, share: f64, budget: f64) -> Option<Duration> {
    if share <= budget {
        return None;
    }
    let rest = look.as_secs_f64() * (share / budget - 1.0);
    Some(Duration::try_from_secs_f64(rest).map_or(REST_MAX, |rest| rest.min(REST_MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_is_ten_times_too_dear_is_followed_by_a_rest_of_nine() {
        let look = Duration::from_millis(20);
        assert_eq!(rest_after(look, 0.3, 0.03), Some(Duration::from_millis(180)));
        assert_eq!(rest_after(look, 0.06, 0.03), Some(Duration::from_millis(20)));
    }

    #[test]
    fn there_is_no_rest_within_the_budget_and_none_without_end() {
        let look = Duration::from_millis(20);
        assert_eq!(rest_after(look, 0.03, 0.03), None);
        assert_eq!(rest_after(look, 0.0, 0.0), None);
        assert_eq!(rest_after(look, 0.3, 0.0), Some(REST_MAX));
        assert_eq!(rest_after(look, 50.0, 0.001), Some(REST_MAX));
    }
}
