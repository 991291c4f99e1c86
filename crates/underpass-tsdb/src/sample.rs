//! Samples: a time in milliseconds and a float or a histogram.

mod bounds;
mod fractions;

use std::sync::Arc;

pub use bounds::{Bucket, Count};

/// The bits of the float that marks the end of a series. It is a signalling NaN, told from others
/// by its bits alone: arithmetic would change them.
///
/// Source: Prometheus, model/value/value.go, `StaleNaN`.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The schema of histograms whose bounds are a list.
///
/// Source: Prometheus, model/histogram/generic.go, `CustomBucketsSchema`.
pub const CUSTOM_BUCKETS: i32 = -53;

/// Whether a value marks that its series ended.
#[must_use]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// The samples of a series, or of some of its chunks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// The floats.
    pub floats: Vec<Float>,
    /// The histograms.
    pub histograms: Vec<HistogramSample>,
}

impl Samples {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
    }
}

/// A float at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Float {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The value; its bits are those in the file.
    pub value: f64,
}

/// A histogram at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSample {
    /// Milliseconds since 1970.
    pub time: i64,
    /// The value.
    pub histogram: Histogram,
}

/// A native histogram. One that marks the end of its series has a stale sum and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// What its buckets stand for; those of a chunk share it.
    pub layout: Arc<Layout>,
    /// Whether the counts began anew.
    pub reset: Reset,
    /// The sum of what was observed.
    pub sum: f64,
    /// How many observations there were.
    pub counts: Counts,
}

/// Where the buckets of a histogram are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// -4 to 8: a bucket's bounds are 2^(2^-schema) apart. -53: they are in `custom`.
    pub schema: i32,
    /// The width of the zero bucket, to either side.
    pub zero_threshold: f64,
    /// Which buckets there are above zero.
    pub positive: Vec<Span>,
    /// Which buckets there are below zero.
    pub negative: Vec<Span>,
    /// The upper bounds of custom buckets.
    pub custom: Vec<f64>,
}

/// Some buckets next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Of the first span: the index of its first bucket. Of others: buckets left out before it.
    pub offset: i32,
    /// Its buckets.
    pub length: u32,
}

/// What is known about whether counts began anew between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// It takes a comparison to find out.
    Unknown,
    /// They did.
    Reset,
    /// They did not.
    NoReset,
    /// It does not matter: the histogram is a gauge.
    Gauge,
}

/// The counts of a histogram.
#[derive(Debug, Clone, PartialEq)]
pub enum Counts {
    /// As integers.
    Integer {
        /// Of all observations.
        count: u64,
        /// Of those in the zero bucket.
        zero: u64,
        /// Buckets above zero, each as the difference to the one before.
        positive: Vec<i64>,
        /// Buckets below zero, from zero on, each as the difference to the one before.
        negative: Vec<i64>,
    },
    /// As floats.
    Float {
        /// Of all observations.
        count: f64,
        /// Of those in the zero bucket.
        zero: f64,
        /// Buckets above zero.
        positive: Vec<f64>,
        /// Buckets below zero, from zero on.
        negative: Vec<f64>,
    },
}
