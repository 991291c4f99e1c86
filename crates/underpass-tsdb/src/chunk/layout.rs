//! What the histograms of a chunk have in common: which buckets there are, and whether the counts
//! began anew before it.
//!
//! Source: tsdb/chunkenc/histogram_meta.go, `readHistogramChunkLayout`, `readZeroThreshold`,
//! `readCustomBound`; model/histogram/generic.go, `IsKnownSchema`.

use super::Encoding;
use super::bits::Bits;
use super::start_time::StartTimes;
use super::varbit;
use crate::damage::{Fault, Malformed};
use crate::sample::{CUSTOM_BUCKETS, Layout, Reset, Span};

/// The three bytes before the bits of a chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Of the first sample. The others follow it in one chunk.
    reset: Reset,
    pub(super) starts: StartTimes,
}

impl Header {
    /// The count comes first. Where there are start timestamps, the third byte is about them, and
    /// the flags of resets are in the upper bits of the count.
    pub(super) fn read(encoding: Encoding, data: &[u8]) -> Result<Self, Malformed> {
        let Some(&[first, _, third]) = data.first_chunk() else {
            let fault = Fault::Short { wanted: 3, left: data.len() as u64 };
            return Err(Malformed { at: 0, fault });
        };
        Ok(match encoding {
            Encoding::HistogramSt | Encoding::FloatHistogramSt => {
                Self { reset: reset(first), starts: StartTimes::from_byte(third) }
            }
            Encoding::Xor | Encoding::Xor2 | Encoding::Histogram | Encoding::FloatHistogram => {
                Self { reset: reset(third), starts: StartTimes::NONE }
            }
        })
    }

    /// The bits after it.
    pub(super) const fn bits(data: &[u8]) -> Bits<'_> {
        Bits::new(data, 3)
    }

    /// What is known of the counts of a sample next to the one before. The header is about the
    /// chunk before, and that may be another one than when it was written.
    ///
    /// Source: tsdb/chunkenc/histogram_meta.go, `counterResetHint`.
    pub(super) fn reset_of(self, index: u16) -> Reset {
        match (self.reset, index) {
            (Reset::Gauge, _) => Reset::Gauge,
            (Reset::Unknown | Reset::Reset | Reset::NoReset, 0) => Reset::Unknown,
            (Reset::Unknown | Reset::Reset | Reset::NoReset, _) => Reset::NoReset,
        }
    }
}

const fn reset(byte: u8) -> Reset {
    match byte >> 6 {
        0 => Reset::Unknown,
        1 => Reset::NoReset,
        2 => Reset::Reset,
        _ => Reset::Gauge,
    }
}

/// Reads what comes before the first histogram of a chunk.
pub(super) fn read(bits: &mut Bits<'_>) -> Result<Layout, Malformed> {
    let zero_threshold = zero_threshold(bits);
    let schema = schema(bits)?;
    let positive = spans(bits)?;
    let negative = spans(bits)?;
    let custom = if schema == CUSTOM_BUCKETS { custom_bounds(bits)? } else { Vec::new() };
    Ok(Layout { schema, zero_threshold, positive, negative, custom })
}

/// One byte for zero and for the powers of two between 2^-243 and 2^10.
fn zero_threshold(bits: &mut Bits<'_>) -> f64 {
    match bits.read(8) {
        0 => 0.0,
        255 => f64::from_bits(bits.read(64)),
        power => f64::from_bits((power + 1023 - 244) << 52),
    }
}

/// Schemas that Prometheus reads. It makes buckets of those above 8 coarser; here they stay.
fn schema(bits: &mut Bits<'_>) -> Result<i32, Malformed> {
    let before = *bits;
    let schema = varbit::signed(bits);
    match i32::try_from(schema) {
        Ok(known @ (CUSTOM_BUCKETS | -9..=52)) => Ok(known),
        Ok(_) | Err(_) => {
            let (what, wanted) = ("schema of a histogram", "neither -53 nor one of -9 to 52");
            Err(before.malformed(Fault::Value { what, found: schema.into(), wanted }))
        }
    }
}

fn spans(bits: &mut Bits<'_>) -> Result<Vec<Span>, Malformed> {
    // A length and an offset are a bit each at least.
    let count = counted(bits, 2)?;
    (0..count).map(|_| span(bits)).collect()
}

fn span(bits: &mut Bits<'_>) -> Result<Span, Malformed> {
    let before = *bits;
    let (length, offset) = (varbit::unsigned(bits), varbit::signed(bits));
    match (u32::try_from(length), i32::try_from(offset)) {
        (Ok(length), Ok(offset)) => Ok(Span { offset, length }),
        (Err(_), _) => Err(before.malformed(too_large("length of a span", length.into()))),
        (_, Err(_)) => Err(before.malformed(too_large("offset of a span", offset.into()))),
    }
}

const fn too_large(what: &'static str, found: i128) -> Fault {
    Fault::Value { what, found, wanted: "more than 32 bits hold" }
}

/// A whole number of thousandths, or after a 0 the bound as it is.
fn custom_bounds(bits: &mut Bits<'_>) -> Result<Vec<f64>, Malformed> {
    // Three bits and their prefix hold up to 0.006.
    let count = counted(bits, 5)?;
    let bounds = (0..count).map(|_| match varbit::unsigned(bits) {
        0 => f64::from_bits(bits.read(64)),
        #[expect(clippy::cast_precision_loss, reason = "Prometheus reads it so")]
        thousandths => (thousandths - 1) as f64 / 1000.0,
    });
    Ok(bounds.collect())
}

/// A count of things of at least `bits_each` bits, which must be there.
fn counted(bits: &mut Bits<'_>, bits_each: u64) -> Result<u64, Malformed> {
    let before = *bits;
    let count = varbit::unsigned(bits);
    room(bits, count, bits_each).map_err(|fault| before.malformed(fault))?;
    Ok(count)
}

/// How many buckets some spans have, each of at least `bits_each` bits in the first sample.
pub(super) fn bucket_count(
    bits: &Bits<'_>,
    spans: &[Span],
    bits_each: u64,
) -> Result<usize, Malformed> {
    let count = spans.iter().fold(0, |sum: u64, span| sum.saturating_add(span.length.into()));
    room(bits, count, bits_each).map_err(|fault| bits.malformed(fault))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn room(bits: &Bits<'_>, count: u64, bits_each: u64) -> Result<(), Fault> {
    let (wanted, left) = (count.saturating_mul(bits_each).div_ceil(8), bits.left() / 8);
    if wanted > left + 1 {
        return Err(Fault::Short { wanted, left });
    }
    Ok(())
}
