//! How old an entry is, and how long it may be given out without asking its origin.
//!
//! By the clock of the wall, in milliseconds: an age is the same after a restart and on the way to
//! the next cache. Where that clock was set back nothing is fresh.
//!
//! Source: RFC 9111 §4.2 (freshness), §4.2.3 (age).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How old something is and how long it stays fresh, as of the moment when that was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lifetime {
    /// When it was told, in milliseconds since 1970.
    said: u64,
    age: Duration,
    fresh_for: Duration,
}

impl Lifetime {
    /// As of now.
    pub(crate) fn new(age: Duration, fresh_for: Duration) -> Self {
        Self { said: now(), age, fresh_for }
    }
}

/// A [`Lifetime`] that is replaced while others look at it.
#[derive(Debug)]
pub(super) struct Clock {
    born: AtomicU64,
    said: AtomicU64,
    fresh_until: AtomicU64,
}

impl Clock {
    pub(super) fn new(lifetime: Lifetime) -> Self {
        let clock = Self {
            born: AtomicU64::new(0),
            said: AtomicU64::new(0),
            fresh_until: AtomicU64::new(0),
        };
        clock.set(lifetime);
        clock
    }

    /// Each is looked at alone: one that is of the former lifetime was right a moment ago.
    pub(super) fn set(&self, Lifetime { said, age, fresh_for }: Lifetime) {
        self.born.store(said.saturating_sub(millis(age)), Ordering::Relaxed);
        self.said.store(said, Ordering::Relaxed);
        self.fresh_until.store(said.saturating_add(millis(fresh_for)), Ordering::Relaxed);
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.is_fresh_at(now())
    }

    fn is_fresh_at(&self, now: u64) -> bool {
        now < self.fresh_until.load(Ordering::Relaxed) && now >= self.said.load(Ordering::Relaxed)
    }

    /// In seconds.
    pub(super) fn age(&self) -> u64 {
        self.age_at(now())
    }

    fn age_at(&self, now: u64) -> u64 {
        now.saturating_sub(self.born.load(Ordering::Relaxed)) / 1_000
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970, read without a system call; the clock ticks every 1 to 10 ms.
fn now() -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1_000).saturating_add(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_fresh_for_its_time_and_not_where_the_clock_was_set_back() {
        let (age, fresh_for) = (Duration::from_millis(1_500), Duration::from_secs(2));
        let clock = Clock::new(Lifetime { said: 10_000, age, fresh_for });
        let looks = [9_999, 10_000, 11_999, 12_000].map(|now| clock.is_fresh_at(now));
        assert_eq!(looks, [false, true, true, false]);
        let ages = [0, 8_500, 9_499, 9_500, 10_000, 13_500].map(|now| clock.age_at(now));
        assert_eq!(ages, [0, 0, 0, 1, 1, 5]);
        clock.set(Lifetime { said: 12_000, age: Duration::ZERO, fresh_for: Duration::MAX });
        assert!(clock.is_fresh_at(u64::MAX - 1));
        assert_eq!(clock.age_at(12_999), 0);
        clock.set(Lifetime { said: 12_000, age, fresh_for: Duration::ZERO });
        assert!(!clock.is_fresh_at(12_000));
    }
}
