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

impl Figure {
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

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "counts of bytes stay far below 2^53")]
pub(crate) const fn float(count: u64) -> f64 {
    count as f64
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
}
