//! What a watch with rests knows of the share by reference of all the time: from where to where
//! it is.
//!
//! What leaves is counted in rests too: what in pages of files, by reference, and what otherwise.
//! Only looks tell how much of the latter was of files, and copied. A look may have met files only,
//! or none, so looks tell as much as that many answers to a question of yes or no, and those that
//! met little count for less than those that met much. Where more has left than the looks stand
//! for by their time, such as in bursts that no look met, that may have been of files or not, and
//! the interval holds both.
//!
//! Source: E. B. Wilson, Probable Inference, Journal of the American Statistical Association 22
//! (1927); L. Kish, Survey Sampling (1965), the effective size of a sample.

use serde::Serialize;

use crate::figure::float;

/// Deviations that the interval goes to both sides: 98 of 100, since loads are seldom as kind as
/// chance.
const DEVIATIONS: f64 = 2.33;

/// Bytes that left in one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// In all the time.
    pub(crate) all: u64,
    /// In looks.
    pub(crate) seen: u64,
    /// Of those, bytes of files.
    pub(crate) of_files: u64,
}

impl Sample {
    fn unseen(self) -> f64 {
        float(self.all.saturating_sub(self.seen))
    }

    /// The share of files in what was seen.
    fn share(self) -> Option<f64> {
        (self.seen > 0).then(|| (float(self.of_files) / float(self.seen)).min(1.0))
    }
}

/// Looks, by how much left in them that was not in pages of files.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Looks {
    pub(crate) count: usize,
    pub(crate) sum: f64,
    pub(crate) squares: f64,
}

impl Looks {
    /// One more.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.sum += float(bytes);
        self.squares += float(bytes) * float(bytes);
    }

    /// How many of the same size would tell as much.
    fn effective(self) -> f64 {
        if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 }
    }
}

/// From where to where the percentage by reference is, of all the time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Interval {
    /// The least.
    pub low: f64,
    /// The most.
    pub high: f64,
    /// From how many looks that follows.
    pub looks: usize,
}

impl Interval {
    /// `71.2 to 98 %`.
    pub(crate) fn text(&self) -> String {
        // Outwards, so that it holds no less than it does.
        let (low, high) = ((self.low * 10.0).floor() / 10.0, (self.high * 10.0).ceil() / 10.0);
        if low < high { format!("{low} to {high} %") } else { format!("{low} %") }
    }

    /// What follows of what left in pages of files, and otherwise, in looks that were this share of
    /// the time.
    pub(crate) fn of(lent: Sample, others: Sample, looks: Looks, looked: f64) -> Self {
        let by_reference = float(lent.of_files) + lent.unseen() * lent.share().unwrap_or(1.0);
        let share = |copied: f64| match by_reference + copied {
            all if all > 0.0 => by_reference * 100.0 / all,
            _ => 0.0,
        };
        let like_looks = others.unseen().min(float(others.seen) * (1.0 / looked - 1.0));
        let unlike = others.unseen() - like_looks;
        let [least, most] = bounds(others, looks.effective());
        let seen = float(others.of_files);
        let [low, high] = [seen + like_looks * most + unlike, seen + like_looks * least].map(share);
        Self { low, high, looks: looks.count }
    }
}

/// From where to where the share of files is of which looks tell: Wilson's interval.
fn bounds(sample: Sample, looks: f64) -> [f64; 2] {
    let Some(share) = sample.share().filter(|_| looks > 0.0) else { return [0.0, 1.0] };
    let square = DEVIATIONS * DEVIATIONS / looks;
    let middle = (share + square / 2.0) / (1.0 + square);
    let spread = (share * (1.0 - share) * square + square * square / 4.0).sqrt() / (1.0 + square);
    [(middle - spread).max(0.0), (middle + spread).min(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_BY_REFERENCE: Sample = Sample { all: 600, seen: 60, of_files: 60 };

    fn looks(count: usize, bytes: u64) -> Looks {
        let mut looks = Looks::default();
        (0..count).for_each(|_| looks.add(bytes));
        looks
    }

    fn ends(lent: Sample, others: Sample, looks: Looks) -> (i64, i64) {
        let Interval { low, high, .. } = Interval::of(lent, others, looks, 0.1);
        #[expect(clippy::cast_possible_truncation, reason = "percentages")]
        let whole = |percent: f64| percent.round() as i64;
        (whole(low), whole(high))
    }

    #[test]
    fn what_no_look_met_may_be_of_files_or_not() {
        let unmet = Sample { all: 400, seen: 0, of_files: 0 };
        assert_eq!(ends(ALL_BY_REFERENCE, unmet, Looks::default()), (60, 100));
        // And a file that left in a rest only, by reference, is counted.
        let unmet = Sample { all: 600, seen: 0, of_files: 0 };
        let others = Sample { all: 400, seen: 400, of_files: 400 };
        assert_eq!(ends(unmet, others, looks(10, 40)), (60, 60));
    }

    #[test]
    fn more_looks_leave_less_room_and_one_that_met_all_counts_for_one() {
        let others = Sample { all: 400, seen: 40, of_files: 40 };
        assert_eq!(ends(ALL_BY_REFERENCE, others, looks(10_000, 1)), (60, 60));
        assert_eq!(ends(ALL_BY_REFERENCE, others, looks(20, 1)), (60, 65));
        let mut one_large = looks(19, 0);
        one_large.add(40);
        assert_eq!(ends(ALL_BY_REFERENCE, others, one_large), (60, 86));
        // Heads are of no file.
        let others = Sample { all: 400, seen: 40, of_files: 20 };
        assert_eq!(ends(ALL_BY_REFERENCE, others, looks(10_000, 1)), (75, 75));
        assert_eq!(ends(ALL_BY_REFERENCE, others, looks(20, 1)), (68, 84));
    }

    #[test]
    fn what_was_seen_is_certain_and_only_the_rest_is_not() {
        let others = Sample { all: 400, seen: 400, of_files: 200 };
        assert_eq!(ends(ALL_BY_REFERENCE, others, looks(1, 400)), (75, 75));
        let nothing = Sample { all: 0, seen: 0, of_files: 0 };
        assert_eq!(ends(ALL_BY_REFERENCE, nothing, looks(1, 0)), (100, 100));
        assert_eq!(ends(nothing, nothing, looks(1, 0)), (0, 0));
    }
}
