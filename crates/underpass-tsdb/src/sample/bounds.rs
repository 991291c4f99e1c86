//! The buckets of a histogram with their bounds and counts.
//!
//! Source: Prometheus 3.14, model/histogram/generic.go, `baseBucketIterator`,
//! `getBoundExponential`; float_histogram.go, `allFloatBucketIterator`.

use super::fractions::FRACTIONS;
use super::{CUSTOM_BUCKETS, Counts, Histogram, Layout, Span};

/// A bucket: between which bounds, and how many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The lower bound.
    pub lower: f64,
    /// The upper bound.
    pub upper: f64,
    /// Whether it has what is at the lower bound.
    pub is_lower_inclusive: bool,
    /// Whether it has what is at the upper bound.
    pub is_upper_inclusive: bool,
    /// Its observations.
    pub count: Count,
}

impl Bucket {
    /// Without the part of it that belongs to a zero bucket of this width, as Prometheus' query API
    /// gives it. (Its text form, and so promtool's dump, does not cut it.)
    #[must_use]
    pub fn beyond(self, zero_threshold: f64) -> Self {
        let Self { mut lower, mut upper, .. } = self;
        if lower > 0.0 && lower < zero_threshold {
            lower = zero_threshold;
        } else if upper < 0.0 && upper > -zero_threshold {
            upper = -zero_threshold;
        }
        Self { lower, upper, ..self }
    }
}

/// The count of a bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Count {
    /// Of a histogram whose counts are integers.
    Integer(u64),
    /// Of one whose counts are floats.
    Float(f64),
}

impl Count {
    /// Whether there was no observation.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        match self {
            Self::Integer(count) => count == 0,
            Self::Float(count) => count == 0.0,
        }
    }
}

impl Histogram {
    /// All buckets, also empty ones, from the lowest to the highest; the zero bucket if it is not
    /// empty.
    #[must_use]
    pub fn buckets(&self) -> Vec<Bucket> {
        let layout = &*self.layout;
        let (zero, positive, negative) = match &self.counts {
            Counts::Integer { zero, positive, negative, .. } => {
                (Count::Integer(*zero), totals(positive), totals(negative))
            }
            Counts::Float { zero, positive, negative, .. } => {
                (Count::Float(*zero), floats(positive), floats(negative))
            }
        };
        let zero = (!zero.is_zero()).then(|| layout.zero_bucket(zero));
        let below = indices(&layout.negative).zip(negative);
        let mut buckets: Vec<_> = below.map(|(index, count)| layout.below(index, count)).collect();
        buckets.reverse();
        buckets.extend(zero);
        let above = indices(&layout.positive).zip(positive);
        buckets.extend(above.map(|(index, count)| layout.above(index, count)));
        buckets
    }
}

/// From the differences between neighbours.
fn totals(differences: &[i64]) -> Vec<Count> {
    let sums = differences.iter().scan(0_i64, |sum, difference| {
        *sum = sum.wrapping_add(*difference);
        Some(*sum)
    });
    sums.map(|sum| Count::Integer(sum.cast_unsigned())).collect()
}

fn floats(counts: &[f64]) -> Vec<Count> {
    counts.iter().copied().map(Count::Float).collect()
}

/// Of the buckets of some spans.
fn indices(spans: &[Span]) -> impl Iterator<Item = i64> {
    let starts = spans.iter().scan(0_i64, |next, span| {
        let start = *next + i64::from(span.offset);
        *next = start + i64::from(span.length);
        Some(start..*next)
    });
    starts.flatten()
}

impl Layout {
    const fn zero_bucket(&self, count: Count) -> Bucket {
        let (lower, upper) = (-self.zero_threshold, self.zero_threshold);
        Bucket { lower, upper, is_lower_inclusive: true, is_upper_inclusive: true, count }
    }

    fn above(&self, index: i64, count: Count) -> Bucket {
        let (lower, upper) = (self.bound(index - 1), self.bound(index));
        let is_custom = self.schema == CUSTOM_BUCKETS;
        // The first custom bucket has no lower end.
        let is_lower_inclusive = if is_custom { index == 0 } else { lower < 0.0 };
        let is_upper_inclusive = is_custom || upper > 0.0;
        Bucket { lower, upper, is_lower_inclusive, is_upper_inclusive, count }
    }

    fn below(&self, index: i64, count: Count) -> Bucket {
        let (lower, upper) = (-self.bound(index), -self.bound(index - 1));
        let (is_lower_inclusive, is_upper_inclusive) = (lower < 0.0, upper > 0.0);
        Bucket { lower, upper, is_lower_inclusive, is_upper_inclusive, count }
    }

    /// The upper bound of a bucket.
    fn bound(&self, index: i64) -> f64 {
        if self.schema == CUSTOM_BUCKETS {
            return match usize::try_from(index) {
                Ok(index) => self.custom.get(index).copied().unwrap_or(f64::INFINITY),
                Err(_) => f64::NEG_INFINITY,
            };
        }
        exponential(index, self.schema)
    }
}

/// The last bucket of numbers ends at the largest number, and not at the power of two after it:
/// what is above are infinities.
fn exponential(index: i64, schema: i32) -> f64 {
    let (fraction, exponent) = if schema < 0 {
        (0.5, (index << schema.unsigned_abs().min(31)) + 1)
    } else {
        let per_power = 1_i64 << schema;
        let part = index.rem_euclid(per_power);
        (fraction(part, schema), index.div_euclid(per_power) + 1)
    };
    if fraction == 0.5 && exponent == 1025 {
        return f64::MAX;
    }
    scaled(fraction, exponent)
}

/// Schemas above 8 are not written by any Prometheus so far.
fn fraction(part: i64, schema: i32) -> f64 {
    match usize::try_from(part) {
        Ok(part) if schema <= 8 => FRACTIONS[part << (8 - schema)],
        #[expect(clippy::cast_precision_loss, reason = "52 bits at most")]
        Ok(_) | Err(_) => 0.5 * (part as f64 / (1_i64 << schema) as f64).exp2(),
    }
}

/// `fraction`, which is at least 0.5 and less than 1, times 2^`exponent`.
fn scaled(fraction: f64, exponent: i64) -> f64 {
    match exponent {
        ..=-1075 => 0.0,
        // Rounded once, into the numbers that have fewer bits.
        -1074..=-900 => fraction * power_of_two(exponent + 200) * power_of_two(-200),
        _ => 2.0 * fraction * power_of_two(exponent - 1),
    }
}

fn power_of_two(exponent: i64) -> f64 {
    match u64::try_from(exponent + 1023) {
        Ok(biased @ 1..2047) => f64::from_bits(biased << 52),
        Ok(0) | Err(_) => 0.0,
        Ok(_) => f64::INFINITY,
    }
}
