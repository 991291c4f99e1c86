//! When a watch looks and when it rests, so that looking takes no more of a processor than it may.
//!
//! Each look is paid for by the watched process: some hundred nanoseconds for a call, and about a
//! microsecond for a packet, which a busy server makes many of. As long as that stays below the
//! budget, nothing is missed. Past it, short looks are followed by rests that are long enough;
//! while it rests, nothing of it is left in the kernel's way.
//!
//! A rest is as long as chance has it, around what the budget asks: a load that repeats itself at
//! the pace of the rests would be seen from one side only. What a look saw counts for the time that
//! it stands for: itself, and half of the rests before and behind it. A rest is longer the more the
//! look before the last had cost, not the last: that would have what costs much count for more.
//!
//! Nothing here looks at a clock, so that a whole watch can be tried in no time.

use std::time::Duration;

use crate::explain::interval::{Chance, Look};

/// How long a look is. The shorter, the more of them, and the less a large file is missed.
const LOOK: Duration = Duration::from_millis(3);

/// The time between two accounts of a look that is continued, because it is cheap.
const ACCOUNT: Duration = Duration::from_millis(30);

/// No rest is longer, however costly a look.
const REST_MAX: Duration = Duration::from_secs(2);

/// A rest, in times of what the budget asks: from this, and as much above one.
const REST_LEAST: f64 = 0.5;

/// Looks that are told apart; beyond them, two neighbours are one.
const LOOKS_MAX: usize = 4_096;

/// Bytes that have left so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) by_reference: u64,
    pub(crate) copied: u64,
}

/// The turns of looking and resting. Times are since the watch began.
#[derive(Debug)]
pub(crate) struct Pace {
    budget: f64,
    chance: Chance,
    is_resting: bool,
    since: Duration,
    due: Duration,
    /// The rest before the look, and what it took to begin the look.
    before: Duration,
    begun: Duration,
    /// What the last look cost, and the one before, as a share of the time that they took.
    cost: f64,
    cost_before: f64,
    left: Left,
    rested: Duration,
    looks: Vec<Look>,
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
            before: Duration::ZERO,
            begun: Duration::ZERO,
            cost: 0.0,
            cost_before: 0.0,
            left: Left::default(),
            rested: Duration::ZERO,
            looks: Vec::new(),
        }
    }

    /// Until when this look or this rest lasts.
    pub(crate) const fn due(&self) -> Duration {
        self.due
    }

    pub(crate) const fn is_resting(&self) -> bool {
        self.is_resting
    }

    /// The share that looking may take.
    pub(crate) const fn budget(&self) -> f64 {
        self.budget
    }

    /// Takes what the look has cost until now; says whether it is time to rest.
    pub(crate) fn is_dear(&mut self, now: Duration, cost: Duration) -> bool {
        self.cost_before = self.cost;
        self.cost = self.share_of_look(now, cost + self.begun);
        self.cost_before > self.budget
    }

    fn share_of_look(&self, now: Duration, cost: Duration) -> f64 {
        let looked = now.saturating_sub(self.since).max(Duration::from_nanos(1));
        cost.div_duration_f64(looked)
    }

    /// The look is continued.
    pub(crate) fn go_on(&mut self, now: Duration, left: Left) {
        self.account(now, left);
        (self.since, self.due, self.before) = (now, now + ACCOUNT, Duration::ZERO);
        self.begun = Duration::ZERO;
    }

    /// The look has ended, which took this much.
    pub(crate) fn rest(&mut self, now: Duration, ended: Duration, left: Left) {
        self.cost += self.share_of_look(now, ended);
        let rest = rest_after(now.saturating_sub(self.since), self.cost_before, self.budget);
        let rest = rest.mul_f64(REST_LEAST + self.chance.share()).min(REST_MAX);
        self.account(now, left);
        (self.since, self.due, self.is_resting) = (now, now + rest, true);
    }

    /// The rest has ended, and this is what it took.
    pub(crate) fn look(&mut self, now: Duration, begun: Duration) {
        let rest = now.saturating_sub(self.since);
        self.rested += rest;
        if let Some(last) = self.looks.last_mut() {
            last.stand_for(rest / 2);
        }
        (self.since, self.due, self.is_resting) = (now, now + LOOK, false);
        (self.before, self.begun) = (rest, begun);
    }

    /// The looks, the one that has not ended included.
    pub(crate) fn looks(&self, now: Duration, left: Left) -> Vec<Look> {
        let mut looks = self.looks.clone();
        let passed = now.saturating_sub(self.since);
        match looks.last_mut() {
            Some(last) if self.is_resting => last.stand_for(passed),
            Some(_) | None => looks.push(self.look_until(now, left)),
        }
        looks
    }

    fn look_until(&self, now: Duration, left: Left) -> Look {
        let mut look = Look::new(
            now.saturating_sub(self.since),
            left.by_reference.saturating_sub(self.left.by_reference),
            left.copied.saturating_sub(self.left.copied),
        );
        look.stand_for(self.before / 2);
        look
    }

    fn account(&mut self, now: Duration, left: Left) {
        self.looks.push(self.look_until(now, left));
        self.left = left;
        if self.looks.len() > LOOKS_MAX {
            let pairs = self.looks.chunks(2).map(|pair| match pair {
                [one, other] => one.and(other),
                _ => pair[0],
            });
            self.looks = pairs.collect();
        }
    }

    /// The share of the time, from 0 to 1, that was looked at; nothing if that was all of it.
    pub(crate) fn looked(&self, now: Duration) -> Option<f64> {
        let resting = if self.is_resting { now.saturating_sub(self.since) } else { Duration::ZERO };
        let rested = self.rested + resting;
        (!rested.is_zero()).then(|| 1.0 - rested.div_duration_f64(now))
    }
}

/// How long to rest after a look of that length, if looking costs this share of the time.
fn rest_after(look: Duration, cost: f64, budget: f64) -> Duration {
    let rest = look.as_secs_f64() * (cost / budget - 1.0).max(0.0);
    Duration::try_from_secs_f64(rest).map_or(REST_MAX, |rest| rest.min(REST_MAX))
}

#[cfg(test)]
mod tests;
