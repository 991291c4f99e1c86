//! When a watch looks and when it rests, so that looking takes no more of a processor than it may.
//!
//! Each look is paid for by the watched process: some hundred nanoseconds for a call, and about a
//! microsecond for a packet, which a busy server makes many of. As long as that stays below the
//! budget, nothing is missed. Past it, short looks are followed by rests that are long enough. In a
//! rest packets are counted and no calls; that is a part of the cost, and so of the budget.
//!
//! A rest is as long as chance has it, around what the budget asks: a load that repeats itself at
//! the pace of the rests would be seen from one side only. A rest is longer the more the look
//! before the last had cost, not the last: that would have what costs much be seen less than it is.
//!
//! Nothing here looks at a clock, so that a whole watch can be tried in no time.

use std::time::Duration;

use crate::chance::Chance;
use crate::explain::interval::Looks;

/// How long a look is. The shorter, the more of them, and the less a large file is missed.
const LOOK: Duration = Duration::from_millis(3);

/// The time between two accounts of a look that is continued, because it is cheap.
const ACCOUNT: Duration = Duration::from_millis(30);

/// No rest is longer, however costly a look.
const REST_MAX: Duration = Duration::from_secs(2);

/// A rest, in times of what the budget asks: from this, and as much above one.
const REST_LEAST: f64 = 0.5;

/// Looks have this share of the budget at least, whatever it costs to count in rests.
const FOR_LOOKS: f64 = 0.25;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    GoOn,
    Rest,
    Look,
}

/// The turns of looking and resting. Times are since the watch began.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: f64,
    chance: Chance,
    is_resting: bool,
    since: Duration,
    due: Duration,
    /// How long the last look was, or what there was of it.
    look: Duration,
    /// What this look or rest has cost so far, and what was before it.
    spent: Duration,
    /// What the last look cost, and the one before, as a share of the time that they took; and what
    /// it costs to count.
    cost: f64,
    cost_before: f64,
    counting: f64,
    /// What had left before that was not in pages of files.
    others: u64,
    rested: Duration,
    looks: Looks,
}

impl Pace {
    /// Looks may take this share of one processor's time. The first begins now.
    pub(crate) fn new(budget: f64, seed: u64) -> Self {
        Self {
            budget,
            chance: Chance::new(seed),
            is_resting: false,
            since: Duration::ZERO,
            due: LOOK,
            look: LOOK,
            spent: Duration::ZERO,
            cost: 0.0,
            cost_before: 0.0,
            counting: 0.0,
            others: 0,
            rested: Duration::ZERO,
            looks: Looks::default(),
        }
    }

    /// Until when this look or this rest lasts.
    pub(crate) const fn due(&self) -> Duration {
        self.due
    }

    /// The share that looking may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.budget
    }

    /// What was due has come: says what is next, after this was paid since the last turn. Those
    /// bytes that have left in all were not in pages of files.
    pub(crate) fn turn(&mut self, now: Duration, paid: Duration, others: u64) -> Turn {
        let length = now.saturating_sub(self.since);
        let cost = (self.spent + paid).div_duration_f64(length.max(Duration::from_nanos(1)));
        let turn = if self.is_resting {
            self.counting = cost;
            self.rested += length;
            Turn::Look
        } else {
            self.looks.add(others.saturating_sub(self.others));
            (self.cost_before, self.cost, self.look) = (self.cost, cost, length);
            if self.cost_before > self.budget { Turn::Rest } else { Turn::GoOn }
        };
        let next = match turn {
            Turn::GoOn => ACCOUNT,
            Turn::Look => LOOK,
            Turn::Rest => self.rest().mul_f64(REST_LEAST + self.chance.share()).min(REST_MAX),
        };
        self.is_resting = turn == Turn::Rest;
        (self.since, self.due, self.spent, self.others) = (now, now + next, Duration::ZERO, others);
        turn
    }

    /// What it took to do that: the look is dearer by it, which begins or has ended.
    pub(crate) fn add_cost(&mut self, more: Duration) {
        if self.is_resting {
            self.cost += more.div_duration_f64(self.look.max(Duration::from_nanos(1)));
        } else {
            self.spent += more;
        }
    }

    /// How long to rest after the last look, so that looks and counting take what they may.
    fn rest(&self) -> Duration {
        let left = (self.budget - self.counting).max(self.budget * FOR_LOOKS);
        rest_after(self.look, self.cost_before - self.budget, left)
    }

    /// The looks that have ended.
    pub(crate) const fn looks(&self) -> Looks {
        self.looks
    }

    /// The share of the time, from 0 to 1, that was looked at; nothing if that was all of it.
    pub(crate) fn looked(&self, now: Duration) -> Option<f64> {
        let resting = if self.is_resting { now.saturating_sub(self.since) } else { Duration::ZERO };
        let rested = self.rested + resting;
        (!rested.is_zero()).then(|| 1.0 - rested.div_duration_f64(now))
    }
}

/// How long to rest after a look of that length, if it costs this share of its time more than it
/// may, and there is that much left of the time after it.
fn rest_after(look: Duration, more: f64, left: f64) -> Duration {
    let rest = look.as_secs_f64() * (more / left).max(0.0);
    Duration::try_from_secs_f64(rest).map_or(REST_MAX, |rest| rest.min(REST_MAX))
}

#[cfg(test)]
mod tests;
