//! What looking costs those who are looked at, in tolls.
//!
//! What it takes differs between machines by a factor of ten, with how they switch to the kernel
//! and back. So the programs count tolls, and the price of one is measured on the machine at hand.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::process::getppid;

/// Calls of one trial.
const CALLS: u32 = 500;

/// Trials; the quickest is right.
const TRIALS: u32 = 7;

/// What looking has cost, by processor: a system call of a process that is not followed pays one
/// toll, whatever else is looked at the multiple that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tolls(pub(super) Vec<u64>);

impl Tolls {
    /// Tolls since an earlier count, of the processor that paid most.
    #[must_use]
    pub(crate) fn most_since(&self, earlier: &Self) -> u64 {
        let paid = self.0.iter().zip(&earlier.0).map(|(now, before)| now.saturating_sub(*before));
        paid.max().unwrap_or(0)
    }
}

/// How long a system call takes, at best.
pub(super) fn trial() -> Duration {
    let trials = (0..TRIALS).map(|_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(getppid());
        }
        start.elapsed() / CALLS
    });
    trials.min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_that_paid_most_counts_and_not_their_sum() {
        let (before, now) = (Tolls(vec![100, 7, 0]), Tolls(vec![130, 47, 10]));
        assert_eq!(now.most_since(&before), 40);
        assert_eq!(before.most_since(&now), 0);
    }
}
