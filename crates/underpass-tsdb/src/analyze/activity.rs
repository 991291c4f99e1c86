//! How many series had samples at which time of a block.

use serde::Serialize;

/// Pieces that a block's time range is cut into, at most.
const STEPS: u64 = 60;

/// Series over time, in steps of equal length.
///
/// A series counts from its first sample to its last, with the gaps between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activity {
    /// When the first step begins, in ms.
    pub start: i64,
    /// How long each is, in ms.
    pub step_ms: u64,
    /// Series that were there in a step.
    pub series: Vec<u64>,
    /// Series whose first sample is in a step.
    pub started: Vec<u64>,
    /// Series whose last sample is in a step.
    pub ended: Vec<u64>,
}

impl Activity {
    /// Of a block whose samples are from `min_time` up to `max_time` and not at it. `None` of an
    /// empty range.
    pub(super) fn new(min_time: i64, max_time: i64) -> Option<Self> {
        let range = u64::try_from(max_time.checked_sub(min_time)?).ok().filter(|ms| *ms > 0)?;
        let step_ms = range.div_ceil(STEPS);
        let steps = usize::try_from(range.div_ceil(step_ms)).ok()?;
        let none = || vec![0; steps];
        Some(Self { start: min_time, step_ms, series: none(), started: none(), ended: none() })
    }

    /// Counts a series whose first and last sample are at these times.
    pub(super) fn add(&mut self, first: i64, last: i64) {
        let (from, to) = (self.step(first), self.step(last));
        self.started[from] += 1;
        self.ended[to] += 1;
    }

    /// The step a time is in; times outside of the block are in the first or the last.
    fn step(&self, time: i64) -> usize {
        let since = u64::try_from(time.saturating_sub(self.start)).unwrap_or(0);
        let last = self.series.len() - 1;
        usize::try_from(since / self.step_ms).map_or(last, |step| step.min(last))
    }

    /// Adds up, when all series were counted.
    pub(super) fn finish(mut self) -> Self {
        let mut there = 0_u64;
        let mut gone = 0;
        for (step, series) in self.series.iter_mut().enumerate() {
            there = (there + self.started[step]).saturating_sub(gone);
            *series = there;
            gone = self.ended[step];
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_there_from_its_first_to_its_last_step() {
        let mut activity = Activity::new(-100, 500).unwrap();
        assert_eq!((activity.step_ms, activity.series.len()), (10, 60));
        activity.add(-100, 499);
        activity.add(-81, -80);
        activity.add(-90, -90);
        let activity = activity.finish();
        assert_eq!(activity.series[..5], [1, 3, 2, 1, 1]);
        assert_eq!(activity.series[59], 1);
        assert_eq!(activity.started[..3], [1, 2, 0]);
        assert_eq!(activity.ended[..3], [0, 1, 1]);
    }

    #[test]
    fn times_outside_of_the_block_count_at_its_ends() {
        let mut activity = Activity::new(0, 7).unwrap();
        assert_eq!((activity.step_ms, activity.series.len()), (1, 7));
        activity.add(i64::MIN, i64::MAX);
        assert_eq!(activity.finish().series, [1; 7]);
    }

    #[test]
    fn an_empty_range_has_no_steps() {
        assert_eq!(Activity::new(5, 5), None);
        assert_eq!(Activity::new(5, 4), None);
        assert_eq!(Activity::new(i64::MIN, i64::MAX), None);
    }
}
