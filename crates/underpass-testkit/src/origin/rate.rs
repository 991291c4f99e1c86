//! How fast an origin sends: one bucket of tokens for all its connections.

use std::time::{Duration, Instant};

/// How much of what was missed is made up for.
const BURST: Duration = Duration::from_millis(50);

/// A limit in bytes a second, or none.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_s: Option<u64>,
    /// When the next grain may leave.
    next: Instant,
}

impl Rate {
    pub(super) fn of(bytes_per_s: Option<u64>) -> Self {
        Self { bytes_per_s, next: Instant::now() }
    }

    /// Takes a place in the row, and says when it comes.
    pub(super) fn take(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.bytes_per_s else { return now };
        let oldest = now.checked_sub(BURST).unwrap_or(now);
        let at = self.next.max(oldest);
        self.next = at + Duration::from_nanos(bytes * 1_000_000_000 / rate.max(1));
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grains_leave_at_the_rate_and_a_pause_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut rate = Rate { bytes_per_s: Some(1 << 20), next: start };
        let times: Vec<_> = (0..64).map(|_| rate.take(16 << 10, start)).collect();
        assert_eq!((times[63] - start).as_millis(), 1_000);
        let later = start + Duration::from_secs(10);
        let burst = (0..64).filter(|_| rate.take(16 << 10, later) <= later).count();
        assert_eq!(burst, 3, "50 ms are 3 grains of 15.6 ms");
        let mut none = Rate::of(None);
        assert_eq!(none.take(u64::MAX, later), later);
    }
}
