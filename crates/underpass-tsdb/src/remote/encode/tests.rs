use std::sync::Arc;

use super::*;
use crate::sample::{Histogram, STALE};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
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
    let times: Vec<_> = floats(&samples).map(|chunk| (chunk.min_time, chunk.max_time)).collect();
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
        let layout = Layout { schema: 8, zero_threshold: 2_f64.powi(power), ..Layout::default() };
        let (positive, negative) = Default::default();
        let counts = Counts::Float { count: 0.0, zero: 0.0, positive, negative };
        check(9, layout, reset, 0.0, counts, &format!("{head}{nothing}"));
    }
}

#[test]
fn floats_and_histograms_of_a_series_are_in_chunks_by_time() {
    let float = |time| Float { time, value: 1.0 };
    let histogram = |time| {
        let (layout, positive, negative) = Default::default();
        let counts = Counts::Integer { count: 0, zero: 0, positive, negative };
        HistogramSample {
            time,
            histogram: Histogram { layout, reset: Reset::Unknown, sum: 0.0, counts },
        }
    };
    let mixed = Samples {
        floats: [1, 2, 5, 9].map(float).to_vec(),
        histograms: [3, 4, 6].map(histogram).to_vec(),
    };
    let mut times = Vec::new();
    samples(&mixed, |chunk| times.push((chunk.min_time, chunk.max_time, chunk.encoding.byte())));
    assert_eq!(times, [(1, 2, 1), (3, 3, 2), (4, 4, 2), (5, 5, 1), (6, 6, 2), (9, 9, 1)]);
    samples(&Samples::default(), |_| panic!("a chunk of nothing"));
}

/// Prometheus makes 0 of it; nothing is lost here.
#[test]
fn a_bound_or_threshold_of_minus_zero_keeps_its_sign() {
    let mut bits = BitWriter::new();
    put_bound(-0.0, &mut bits);
    bits.bits(0, 7);
    put_zero_threshold(-0.0, &mut bits);
    // A 0 and the float in 64 bits; 255 and the float.
    let wanted = "4000000000000000".to_owned() + "00" + "ff" + "8000000000000000";
    assert_eq!(bits.into_bytes(), bytes(&wanted));
}
