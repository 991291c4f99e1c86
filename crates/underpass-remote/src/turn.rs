//! How long a fill keeps its thread.
//!
//! What takes long must not keep heads waiting, so it counts as long as soon as that is seen; where
//! there are as many long ones as may be, it gives its thread back, waits in their queue, and asks
//! for the rest anew. Its answer is dropped: waiting with it would keep the thread. While others
//! wait in that queue, each has its turn, so that no reader waits for the end of 32 large objects.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::store::Store;
use crate::threads::Length;

/// A fill of no more bytes is short,
const SHORT_BYTES: u64 = 1 << 20;

/// as long as it does not last for this.
const SHORT_FOR: Duration = Duration::from_secs(1);

/// How long a fill may have a thread while others wait for one.
const TURN: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 10_000 });

/// How long a fill of these bytes takes, as far as that is known before it.
pub(crate) const fn length(range: &Range<u64>) -> Length {
    if range.end - range.start > SHORT_BYTES { Length::Long } else { Length::Short }
}

/// Since when a fill has its thread.
#[derive(Debug)]
pub(crate) struct Turn {
    began: Instant,
    is_long: bool,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), is_long: false }
    }

    /// Whether a fill to which this much is still to come keeps its thread. One that cannot ask for
    /// the rest has it to its end, once it is a long one.
    pub(crate) fn lasts(&mut self, missing: u64, can_resume: bool, store: &Store) -> bool {
        let time = self.began.elapsed();
        if !self.is_long && (missing > SHORT_BYTES || time > SHORT_FOR) {
            self.is_long = store.threads().lengthen();
            if !self.is_long {
                return false;
            }
        }
        !(can_resume && self.is_long && time > TURN && store.threads().has_waiting())
    }
}

#[cfg(test)]
#[path = "turn_tests.rs"]
mod tests;
