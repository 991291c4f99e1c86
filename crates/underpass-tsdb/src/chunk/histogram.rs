//! Chunks of histograms, with counts that are integers or floats.
//!
//! Integers: the first histogram has them as they are, the next ones have how the difference to the
//! one before changed; each bucket is also a difference to its neighbour. Floats: each is the xor
//! with the one before. The sum is a float in both. A histogram that is a stale marker, which its
//! sum tells, has no buckets, unless it is the first.
//!
//! Source: tsdb/chunkenc/histogram.go, float_histogram.go, `Next` of the iterators.

use std::sync::Arc;

use super::bits::Bits;
use super::layout::{self, Header};
use super::value::Value;
use super::{Encoding, varbit, within};
use crate::damage::Malformed;
use crate::sample::{Counts, Histogram, HistogramSample, Layout, Reset, STALE};

/// Appends the samples of a chunk; those before a fault stay.
pub(super) fn decode<F: Field>(
    encoding: Encoding,
    data: &[u8],
    count: u16,
    into: &mut Vec<HistogramSample>,
) -> Result<(), Malformed> {
    let header = Header::read(encoding, data)?;
    if count == 0 {
        return Ok(());
    }
    let mut bits = Header::bits(data);
    let mut series = Series::<F>::first(&mut bits)?;
    for read in 0..count {
        if read > 0 {
            series.next(&mut bits)?;
        }
        header.starts.skip(&mut bits, read)?;
        within(&bits, read, count)?;
        let histogram = series.histogram(header.reset_of(read));
        into.push(HistogramSample { time: series.time.value, histogram });
    }
    Ok(())
}

/// A count of a histogram, as it changes from one to the next.
pub(super) trait Field: Copy {
    const ZERO: Self;
    /// Bits that the first one of a bucket takes at least.
    const FIRST_BITS: u64;

    fn first_count(bits: &mut Bits<'_>) -> Self;
    fn first_bucket(bits: &mut Bits<'_>) -> Self;
    fn next(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed>;
    fn counts(count: Self, zero: Self, positive: &[Self], negative: &[Self]) -> Counts;
}

/// An integer and its last difference.
#[derive(Debug, Clone, Copy)]
pub(super) struct Integer {
    value: i64,
    difference: i64,
}

impl Integer {
    const fn first(value: i64) -> Self {
        Self { value, difference: 0 }
    }

    fn advance(&mut self, bits: &mut Bits<'_>) {
        self.difference = self.difference.wrapping_add(varbit::signed(bits));
        self.value = self.value.wrapping_add(self.difference);
    }
}

impl Field for Integer {
    const ZERO: Self = Self::first(0);
    const FIRST_BITS: u64 = 1;

    fn first_count(bits: &mut Bits<'_>) -> Self {
        Self::first(varbit::unsigned(bits).cast_signed())
    }

    fn first_bucket(bits: &mut Bits<'_>) -> Self {
        Self::first(varbit::signed(bits))
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        self.advance(bits);
        Ok(())
    }

    fn counts(count: Self, zero: Self, positive: &[Self], negative: &[Self]) -> Counts {
        let values = |buckets: &[Self]| buckets.iter().map(|bucket| bucket.value).collect();
        Counts::Integer {
            count: count.value.cast_unsigned(),
            zero: zero.value.cast_unsigned(),
            positive: values(positive),
            negative: values(negative),
        }
    }
}

impl Field for Value {
    const ZERO: Self = Self::new(0);
    const FIRST_BITS: u64 = 64;

    fn first_count(bits: &mut Bits<'_>) -> Self {
        Self::first(bits)
    }

    fn first_bucket(bits: &mut Bits<'_>) -> Self {
        Self::first(bits)
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        self.advance(bits)
    }

    fn counts(count: Self, zero: Self, positive: &[Self], negative: &[Self]) -> Counts {
        let values = |buckets: &[Self]| buckets.iter().map(Self::get).collect();
        Counts::Float {
            count: count.get(),
            zero: zero.get(),
            positive: values(positive),
            negative: values(negative),
        }
    }
}

/// The histogram that was read last.
struct Series<F> {
    layout: Arc<Layout>,
    time: Integer,
    count: F,
    zero: F,
    sum: Value,
    positive: Vec<F>,
    negative: Vec<F>,
}

impl<F: Field> Series<F> {
    fn first(bits: &mut Bits<'_>) -> Result<Self, Malformed> {
        let layout = Arc::new(layout::read(bits)?);
        let positive = layout::bucket_count(bits, &layout.positive, F::FIRST_BITS)?;
        let negative = layout::bucket_count(bits, &layout.negative, F::FIRST_BITS)?;
        Ok(Self {
            layout,
            time: Integer::first(varbit::signed(bits)),
            count: F::first_count(bits),
            zero: F::first_count(bits),
            sum: Value::first(bits),
            positive: (0..positive).map(|_| F::first_bucket(bits)).collect(),
            negative: (0..negative).map(|_| F::first_bucket(bits)).collect(),
        })
    }

    fn next(&mut self, bits: &mut Bits<'_>) -> Result<(), Malformed> {
        self.time.advance(bits);
        self.count.next(bits)?;
        self.zero.next(bits)?;
        self.sum.advance(bits)?;
        if self.sum.bits == STALE {
            return Ok(());
        }
        self.positive.iter_mut().chain(&mut self.negative).try_for_each(|bucket| bucket.next(bits))
    }

    fn histogram(&self, reset: Reset) -> Histogram {
        let sum = self.sum.get();
        if self.sum.bits == STALE {
            // As the iterators of Prometheus give it: a sum and nothing else.
            let counts = F::counts(F::ZERO, F::ZERO, &[], &[]);
            return Histogram { layout: Arc::default(), reset: Reset::Unknown, sum, counts };
        }
        let counts = F::counts(self.count, self.zero, &self.positive, &self.negative);
        Histogram { layout: Arc::clone(&self.layout), reset, sum, counts }
    }
}
