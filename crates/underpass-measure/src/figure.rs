//! A number and how it came to be known: measured, derived by a named formula, or unavailable.
//!
//! A figure that could not be measured is never a zero.

use std::fmt;

use serde::Serialize;

/// A number with its provenance. Its unit is its column's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// Counted or timed by the kernel or by the clock.
    Measured(f64),
    /// Computed from measured figures.
    Derived {
        /// The result.
        value: f64,
        /// The formula, in words.
        from: &'static str,
    },
    /// Not available here, and why.
    Unavailable(String),
}

/// Why nothing is known of what went to and from a disk.
pub(crate) const NO_IO_ACCOUNTING: &str = "the kernel has no TASK_IO_ACCOUNTING";

impl Figure {
    /// A count of `/proc/pid/io`, which not every kernel keeps.
    pub(crate) fn of_disk(bytes: Option<u64>) -> Self {
        bytes.map_or_else(|| Self::Unavailable(NO_IO_ACCOUNTING.into()), Self::count)
    }

    /// A count that was measured.
    #[must_use]
    pub const fn count(count: u64) -> Self {
        Self::Measured(float(count))
    }

    /// The number, if there is one.
    #[must_use]
    pub const fn value(&self) -> Option<f64> {
        match self {
            Self::Measured(value) | Self::Derived { value, .. } => Some(*value),
            Self::Unavailable(_) => None,
        }
    }

    /// The number, or why there is none.
    pub(crate) fn known(&self) -> Result<f64, String> {
        match self {
            Self::Measured(value) | Self::Derived { value, .. } => Ok(*value),
            Self::Unavailable(why) => Err(why.clone()),
        }
    }

    /// The mark it carries in tables: nothing, `~` for derived, `?` for unavailable.
    #[must_use]
    pub const fn mark(&self) -> &'static str {
        match self {
            Self::Measured(_) => "",
            Self::Derived { .. } => "~",
            Self::Unavailable(_) => "?",
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => write!(f, "{}{value}", self.mark()),
            None => f.write_str("?"),
        }
    }
}

/// Of fewer runs it cannot be told what is chance.
pub(crate) const REPEATS_MIN: u32 = 3;

/// A figure of several runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The middle one; of an even number, the lower of the two in the middle.
    pub median: Figure,
    /// The lowest.
    pub min: Figure,
    /// The highest.
    pub max: Figure,
    /// How many runs.
    #[serde(skip)]
    pub runs: usize,
}

impl Spread {
    /// Of what was measured of each, one at least.
    pub(crate) fn of<T>(runs: &[T], key: impl Fn(&T) -> f64) -> Self {
        let all = || runs.iter().map(&key);
        Self {
            median: Figure::Measured(key(median(runs, &key))),
            min: Figure::Measured(all().fold(f64::INFINITY, f64::min)),
            max: Figure::Measured(all().fold(0.0, f64::max)),
            runs: runs.len(),
        }
    }

    /// Whether both are of runs enough to tell chance.
    pub(crate) fn are_enough(&self, other: &Self) -> bool {
        self.runs.min(other.runs) >= REPEATS_MIN as usize
    }

    /// Whether every run is below every run of another, and there are enough of both.
    pub(crate) fn is_below(&self, other: &Self) -> bool {
        let ends = self.max.value().zip(other.min.value());
        self.are_enough(other) && ends.is_some_and(|(max, min)| max < min)
    }

    /// Whether it is below by a tenth at least, too.
    pub(crate) fn is_clearly_below(&self, other: &Self) -> bool {
        let medians = self.median.value().zip(other.median.value());
        self.is_below(other) && medians.is_some_and(|(less, more)| less * 1.1 <= more)
    }

    pub(crate) fn unavailable(why: &str) -> Self {
        let none = || Figure::Unavailable(why.to_owned());
        Self { median: none(), min: none(), max: none(), runs: 0 }
    }
}

/// The middle one by `key` of one at least; of an even number, the lower of the two.
pub(crate) fn median<T>(runs: &[T], key: impl Fn(&T) -> f64) -> &T {
    let mut sorted: Vec<&T> = runs.iter().collect();
    sorted.sort_by(|a, b| key(a).total_cmp(&key(b)));
    sorted.get(runs.len().saturating_sub(1) / 2).expect("what is measured is run once at least")
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of bytes stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
}

/// Bytes in units of 10^9.
pub(crate) const fn gb(bytes: u64) -> f64 {
    float(bytes) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_figure_is_marked_and_an_unavailable_one_has_no_number() {
        let derived = Figure::Derived { value: 2.5, from: "bytes copied / bytes moved" };
        assert_eq!((derived.to_string(), derived.value()), ("~2.5".into(), Some(2.5)));
        let missing = Figure::Unavailable("no BPF".into());
        assert_eq!((missing.to_string(), missing.value()), ("?".into(), None));
        assert_eq!(Figure::count(7).to_string(), "7");
    }

    #[test]
    fn of_two_runs_or_one_nothing_is_below_another() {
        let of = |runs: &[f64]| Spread::of(runs, |run| *run);
        let (low, high) = (of(&[1.0, 2.0, 3.0]), of(&[4.0, 5.0, 6.0]));
        assert!(low.is_below(&high) && low.is_clearly_below(&high) && !high.is_below(&low));
        for (low, high) in [(&of(&[1.0]), &high), (&of(&[1.0, 2.0]), &high), (&low, &of(&[9.0]))] {
            assert!(!low.is_below(high) && !low.is_clearly_below(high), "{low:?} {high:?}");
        }
    }
}
