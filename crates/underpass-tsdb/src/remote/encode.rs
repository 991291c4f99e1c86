//! Chunks of samples that cannot leave as they are in a file: chunks that overlap, from which a
//! tombstone takes samples, or whose encoding clients do not know.
//!
//! Floats become XOR chunks as Prometheus makes them. Each histogram becomes a chunk by itself:
//! such a chunk needs no differences to the sample before, and few are ever made. Of the first of a
//! chunk readers do not believe that no count was reset, and compare it with the one before.
//!
//! Source: prometheus/tsdb/chunkenc xor.go, histogram.go, float_histogram.go, histogram_meta.go,
//! varbit.go.

use super::bits::BitWriter;
use crate::chunk::Encoding;
use crate::sample::{Counts, Float, HistogramSample, Layout, Reset, Samples, Span};

/// Samples of a chunk, as Prometheus has it for its own.
const CHUNK_SAMPLES: usize = 120;

/// A chunk that was made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    pub(super) min_time: i64,
    pub(super) max_time: i64,
    pub(super) encoding: Encoding,
    pub(super) data: Vec<u8>,
}

/// Makes chunks of samples, in order of time.
pub(super) fn samples(samples: &Samples, mut give: impl FnMut(Encoded)) {
    let (mut left, mut later) = (&samples.floats[..], samples.histograms.iter());
    loop {
        let next = later.next();
        // A chunk of floats ends before a histogram.
        let count = next.map_or(left.len(), |next| left.partition_point(|it| it.time <= next.time));
        let (before, behind) = left.split_at(count);
        floats(before).for_each(&mut give);
        left = behind;
        match next {
            Some(next) => give(histogram(next)),
            None => return,
        }
    }
}

/// Chunks of floats in order of time.
fn floats(floats: &[Float]) -> impl Iterator<Item = Encoded> {
    floats.chunks(CHUNK_SAMPLES).filter_map(|some| {
        let (first, last) = (some.first()?, some.last()?);
        let (min_time, max_time) = (first.time, last.time);
        Some(Encoded { min_time, max_time, encoding: Encoding::Xor, data: xor(some) })
    })
}

fn xor(floats: &[Float]) -> Vec<u8> {
    let mut bits = BitWriter::new();
    put_num(floats.len(), &mut bits);
    // What is before the first does not matter.
    let (mut before, mut delta) = (Float { time: 0, value: 0.0 }, 0);
    let mut window = None;
    for (index, &float) in floats.iter().enumerate() {
        let now = float.time.wrapping_sub(before.time);
        match index {
            0 => {
                bits.varint(float.time);
                bits.bits(float.value.to_bits(), 64);
            }
            1 => {
                bits.uvarint(now.cast_unsigned());
                put_xor(float.value.to_bits() ^ before.value.to_bits(), &mut window, &mut bits);
            }
            _ => {
                put_difference(now.wrapping_sub(delta), &mut bits);
                put_xor(float.value.to_bits() ^ before.value.to_bits(), &mut window, &mut bits);
            }
        }
        (before, delta) = (float, now);
    }
    bits.into_bytes()
}

fn put_num(count: usize, bits: &mut BitWriter) {
    bits.bits(count as u64, 16);
}

/// Whether a number fits these bits. Their range is off centre: of its two ends the positive one
/// is larger.
const fn fits(value: i64, bits: u32) -> bool {
    let half = 1 << (bits - 1);
    -half < value && value <= half
}

/// The difference of two differences of time.
fn put_difference(value: i64, bits: &mut BitWriter) {
    let raw = value.cast_unsigned();
    if value == 0 {
        bits.bits(0, 1);
    } else if fits(value, 14) {
        bits.bits(0b10, 2);
        bits.bits(raw, 14);
    } else if fits(value, 17) {
        bits.bits(0b110, 3);
        bits.bits(raw, 17);
    } else if fits(value, 20) {
        bits.bits(0b1110, 4);
        bits.bits(raw, 20);
    } else {
        bits.bits(0b1111, 4);
        bits.bits(raw, 64);
    }
}

/// The bits in which two values differ. `window` is where those of the last value were: how many
/// zeros led them, and how many followed.
fn put_xor(differing: u64, window: &mut Option<(u32, u32)>, bits: &mut BitWriter) {
    if differing == 0 {
        bits.bits(0, 1);
        return;
    }
    bits.bits(1, 1);
    // Five bits have to hold it.
    let leading = differing.leading_zeros().min(31);
    let trailing = differing.trailing_zeros();
    match *window {
        Some((before, after)) if leading >= before && trailing >= after => {
            bits.bits(0, 1);
            bits.bits(differing >> after, 64 - before - after);
        }
        _ => {
            *window = Some((leading, trailing));
            let significant = 64 - leading - trailing;
            bits.bits(1, 1);
            bits.bits(leading.into(), 5);
            // 64 does not fit and is written as 0, which cannot occur otherwise.
            bits.bits(significant.into(), 6);
            bits.bits(differing >> trailing, significant);
        }
    }
}

/// A chunk of one histogram.
fn histogram(sample: &HistogramSample) -> Encoded {
    let HistogramSample { time, histogram } = sample;
    let mut bits = BitWriter::new();
    put_num(1, &mut bits);
    bits.bits(reset_bits(histogram.reset), 2);
    bits.bits(0, 6);
    put_layout(&histogram.layout, &mut bits);
    put_varbit_int(*time, &mut bits);
    let encoding = match &histogram.counts {
        Counts::Integer { count, zero, positive, negative } => {
            put_varbit_uint(*count, &mut bits);
            put_varbit_uint(*zero, &mut bits);
            bits.bits(histogram.sum.to_bits(), 64);
            positive.iter().chain(negative).for_each(|bucket| put_varbit_int(*bucket, &mut bits));
            Encoding::Histogram
        }
        Counts::Float { count, zero, positive, negative } => {
            for value in [count, zero, &histogram.sum].into_iter().chain(positive).chain(negative) {
                bits.bits(value.to_bits(), 64);
            }
            Encoding::FloatHistogram
        }
    };
    Encoded { min_time: *time, max_time: *time, encoding, data: bits.into_bytes() }
}

const fn reset_bits(reset: Reset) -> u64 {
    match reset {
        Reset::Unknown => 0b00,
        Reset::NoReset => 0b01,
        Reset::Reset => 0b10,
        Reset::Gauge => 0b11,
    }
}

/// Layouts whose schema is this have bounds of their buckets.
const CUSTOM: i32 = -53;

fn put_layout(layout: &Layout, bits: &mut BitWriter) {
    put_zero_threshold(layout.zero_threshold, bits);
    put_varbit_int(layout.schema.into(), bits);
    put_spans(&layout.positive, bits);
    put_spans(&layout.negative, bits);
    if layout.schema == CUSTOM {
        put_varbit_uint(layout.custom.len() as u64, bits);
        layout.custom.iter().for_each(|bound| put_bound(*bound, bits));
    }
}

fn put_spans(spans: &[Span], bits: &mut BitWriter) {
    put_varbit_uint(spans.len() as u64, bits);
    for span in spans {
        put_varbit_uint(span.length.into(), bits);
        put_varbit_int(span.offset.into(), bits);
    }
}

/// Powers of two from 2^-243 to 2^10 are one byte, from 1 on; 0 is 0; others follow a 255.
fn put_zero_threshold(threshold: f64, bits: &mut BitWriter) {
    let raw = threshold.to_bits();
    // A positive power of two has nothing but an exponent, whose bias is 1023.
    let byte = (raw >> 52).checked_sub(1023 - 244).filter(|byte| (1..=254).contains(byte));
    match byte.filter(|_| raw.trailing_zeros() >= 52) {
        Some(byte) => bits.bits(byte, 8),
        None if raw == 0 => bits.bits(0, 8),
        None => {
            bits.bits(255, 8);
            bits.bits(raw, 64);
        }
    }
}

/// Thousandths up to 33554.430 are an integer from 1 on; other bounds follow a 0.
fn put_bound(bound: f64, bits: &mut BitWriter) {
    let thousandths = (bound * 1000.0).round();
    let is_whole = (0.0..=33_554_430.0).contains(&(bound * 1000.0))
        && bound.is_sign_positive()
        && thousandths / 1000.0 == bound;
    if is_whole {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number in range"
        )]
        put_varbit_uint(thousandths as u64 + 1, bits);
    } else {
        bits.bits(0, 1);
        bits.bits(bound.to_bits(), 64);
    }
}

/// Prefixes of one to eight bits, and how many bits follow each.
const VARBIT: [(u64, u32, u32); 8] = [
    (0b10, 2, 3),
    (0b110, 3, 6),
    (0b1110, 4, 9),
    (0b1_1110, 5, 12),
    (0b11_1110, 6, 18),
    (0b111_1110, 7, 25),
    (0b1111_1110, 8, 56),
    (0b1111_1111, 8, 64),
];

fn put_varbit_int(value: i64, bits: &mut BitWriter) {
    put_varbit(value.cast_unsigned(), bits, |len| len == 64 || fits(value, len));
}

fn put_varbit_uint(value: u64, bits: &mut BitWriter) {
    put_varbit(value, bits, |len| len >= 64 - value.leading_zeros());
}

fn put_varbit(raw: u64, bits: &mut BitWriter, fits: impl Fn(u32) -> bool) {
    if raw == 0 {
        return bits.bits(0, 1);
    }
    let wide_enough = VARBIT.into_iter().find(|(_, _, len)| fits(*len));
    if let Some((prefix, prefix_len, len)) = wide_enough {
        bits.bits(prefix, prefix_len);
        bits.bits(raw, len);
    }
}

#[cfg(test)]
mod tests;
