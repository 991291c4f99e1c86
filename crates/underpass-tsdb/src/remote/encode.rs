//! Chunks of samples that cannot leave as they are in a file: chunks that overlap, from which a
//! tombstone takes samples, or whose encoding clients do not know.
//!
//! Floats become XOR chunks as Prometheus makes them. Each histogram becomes a chunk by itself:
//! such a chunk needs no differences to the sample before, and few are ever made.
//!
//! Source: prometheus/tsdb/chunkenc xor.go, histogram.go, float_histogram.go, histogram_meta.go,
//! varbit.go.

use super::bits::BitWriter;
use crate::chunk::Encoding;
use crate::sample::{Counts, Float, HistogramSample, Layout, Reset, Span};

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

/// Chunks of floats in order of time.
pub(super) fn floats(floats: &[Float]) -> impl Iterator<Item = Encoded> {
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
pub(super) fn histogram(sample: &HistogramSample) -> Encoded {
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
        None if threshold == 0.0 => bits.bits(0, 8),
        None => {
            bits.bits(255, 8);
            bits.bits(raw, 64);
        }
    }
}

/// Thousandths up to 33554.430 are an integer from 1 on; other bounds follow a 0.
fn put_bound(bound: f64, bits: &mut BitWriter) {
    let thousandths = (bound * 1000.0).round();
    let is_whole =
        (0.0..=33_554_430.0).contains(&(bound * 1000.0)) && thousandths / 1000.0 == bound;
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sample::{Histogram, STALE};

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// Second differences at the borders of each prefix, and values that differ everywhere,
    /// nowhere, and within the window of the last. Made by Prometheus 3.5's `XORChunk`.
    #[test]
    fn floats_are_encoded_as_prometheus_does() {
        let wanted = [
            (1_700_000_000_000, 0x3ff0_0000_0000_0000),
            (1_700_000_015_000, 0x3ff0_0000_0000_0000),
            (1_700_000_030_000, 0x4000_0000_0000_0000),
            (1_700_000_053_192, 0x4008_0000_0000_0000),
            (1_700_000_068_193, 0x4000_0000_0000_0000),
            (1_700_000_075_002, 0x7ff8_0000_0000_0001),
            (1_700_000_147_347, STALE),
            (1_700_000_285_229, 0),
            (1_700_000_357_575, 0x8000_0000_0000_0000),
            (1_700_000_954_209, 1),
            (1_700_002_075_132, 0x7ff0_0000_0000_0000),
            (1_700_002_671_767, 0x8000_0000_0000_0001),
        ];
        let samples = wanted.map(|(time, bits)| Float { time, value: f64::from_bits(bits) });
        let encoded: Vec<Encoded> = floats(&samples).collect();
        let data = "000c80a0abfef9623ff000000000000098753097ffe8003603a001bbc0018beffe0000000000\
            00740002002000000000000f8400070fdffc000000000000f780006007d00001800800000000\
            0000001f00000000000800019ffc0000000000007fffffffffffe00002fff0000000000001";
        let (min_time, max_time) = (1_700_000_000_000, 1_700_002_671_767);
        let wanted = Encoded { min_time, max_time, encoding: Encoding::Xor, data: bytes(data) };
        assert_eq!(encoded, [wanted]);
        // More than 31 zeros lead.
        let samples = [0, 0x18].map(|bits| Float { time: 0, value: f64::from_bits(bits) });
        let encoded: Vec<_> = floats(&samples).map(|chunk| chunk.data).collect();
        assert_eq!(encoded, [bytes("000200000000000000000000fef000000060")]);
    }

    #[test]
    fn many_floats_are_several_chunks() {
        let samples: Vec<_> = (0..241).map(|time| Float { time, value: 1.0 }).collect();
        let times: Vec<_> =
            floats(&samples).map(|chunk| (chunk.min_time, chunk.max_time)).collect();
        assert_eq!(times, [(0, 119), (120, 239), (240, 240)]);
        assert_eq!(floats(&[]).count(), 0);
    }

    fn spans(spans: &[(i32, u32)]) -> Vec<Span> {
        spans.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    fn check(time: i64, layout: Layout, reset: Reset, sum: f64, counts: Counts, data: &str) {
        let value = Histogram { layout: Arc::new(layout), reset, sum, counts };
        let encoded = histogram(&HistogramSample { time, histogram: value });
        assert_eq!((encoded.min_time, encoded.max_time), (time, time));
        assert_eq!(encoded.data, bytes(data));
    }

    /// Made by Prometheus 3.5's `HistogramChunk`.
    #[test]
    fn integer_histograms_are_encoded_as_prometheus_does() {
        let layout = Layout {
            schema: 3,
            zero_threshold: 2_f64.powi(-128),
            positive: spans(&[(-300, 2), (4000, 1)]),
            negative: spans(&[(0, 1)]),
            custom: Vec::new(),
        };
        let positive = vec![4, -3, 1 << 20];
        let counts =
            Counts::Integer { count: 1 << 40, zero: 300, positive, negative: vec![-40_000_000] };
        let data = "000100749ca5eed48fc07d0462fe00018bcfe56800fe00010000000000e9660020000000000005\
            2bf8200001fdfffffffb3b4c00";
        check(1_700_000_000_000, layout, Reset::Unknown, -2.5, counts, data);

        let layout = Layout {
            schema: -53,
            positive: spans(&[(0, 4)]),
            custom: vec![0.0, 0.005, 33554.43, -1.0, 33554.431, 1.0 / 3.0],
            ..Layout::default()
        };
        let positive = vec![32, 256, 2048, 131_072];
        let counts = Counts::Integer { count: 8, zero: 0, positive, negative: Vec::new() };
        let data = "0001c000ee5c685a36fdffffff5ff80000000000001038189372b020c487faaaaaaaaaaaaabbbc\
            41f8df90f22001d67341d00f4007d00000";
        check(-5, layout, Reset::Gauge, 1e300, counts, data);

        let (positive, negative) = Default::default();
        let counts = Counts::Integer { count: 0, zero: 0, positive, negative };
        let stale = f64::from_bits(STALE);
        let data = "0001800001ffc0000000000008";
        check(0, Layout::default(), Reset::Reset, stale, counts, data);
    }

    /// Made by Prometheus 3.5's `FloatHistogramChunk`.
    #[test]
    fn float_histograms_are_encoded_as_prometheus_does() {
        let layout = Layout {
            schema: -4,
            zero_threshold: 0.3,
            positive: spans(&[(1, 1)]),
            negative: spans(&[(-1, 1)]),
            custom: Vec::new(),
        };
        let counts =
            Counts::Float { count: 7.25, zero: 0.5, positive: vec![3.5], negative: vec![0.125] };
        let data = "000180ff3fd3333333333333de46318c6f1401d0000000000003fe0000000000000fff00000000\
            00000400c0000000000003fc00000000000000";
        check(1, layout, Reset::Reset, f64::NEG_INFINITY, counts, data);
    }

    /// Made by Prometheus 3.5's `FloatHistogramChunk`.
    #[test]
    fn zero_thresholds_are_one_byte_within_their_borders() {
        let nothing = "c41890000000000000000000000000000000000000000000000000";
        for (power, reset, head) in [
            (-243, Reset::NoReset, "00014001"),
            (10, Reset::Unknown, "000100fe"),
            (-244, Reset::Unknown, "000100ff30b0000000000000"),
            (11, Reset::Unknown, "000100ff40a0000000000000"),
        ] {
            let layout =
                Layout { schema: 8, zero_threshold: 2_f64.powi(power), ..Layout::default() };
            let (positive, negative) = Default::default();
            let counts = Counts::Float { count: 0.0, zero: 0.0, positive, negative };
            check(9, layout, reset, 0.0, counts, &format!("{head}{nothing}"));
        }
    }
}
