//! Chunks that Prometheus' own library wrote decode to the samples that it reads, bit for bit.
//!
//! `vectors/chunks.txt` is what `vectors/main.go` prints: for each chunk its encoding, its bytes,
//! and a line a sample, whose floats are written as their bits.

use std::fmt::Display;

use underpass_tsdb::chunk::{decode, sample_count};
use underpass_tsdb::sample::{Counts, HistogramSample, Layout, Span};
use underpass_tsdb::{Encoding, Fault, Float, Malformed, Samples};

const VECTORS: &str = include_str!("../vectors/chunks.txt");

/// A chunk and the lines of its samples.
struct Vector {
    name: String,
    encoding: Encoding,
    bytes: Vec<u8>,
    samples: Vec<&'static str>,
}

fn vectors() -> impl Iterator<Item = Vector> {
    VECTORS.split("\n\n").filter(|part| part.starts_with("chunk ")).map(vector)
}

fn vector(part: &'static str) -> Vector {
    let mut lines = part.lines();
    let mut word = || lines.next().and_then(|line| line.split_once(' ')).expect("a word each").1;
    let (name, encoding, bytes) = (word(), word(), word());
    let encoding =
        Encoding::try_from(encoding.parse::<u8>().expect("a byte")).expect("a known one");
    let bytes = (0..bytes.len() / 2).map(|at| &bytes[2 * at..][..2]);
    let bytes = bytes.map(|digits| u8::from_str_radix(digits, 16).expect("two digits")).collect();
    Vector { name: format!("{name} in {encoding}"), encoding, bytes, samples: lines.collect() }
}

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn list<T: Copy, D: Display>(items: &[T], text: impl Fn(T) -> D) -> String {
    let items: Vec<_> = items.iter().map(|item| text(*item).to_string()).collect();
    format!("[{}]", items.join(" "))
}

fn lines(samples: &Samples) -> Vec<String> {
    let float = |Float { time, value }: &Float| format!("{time} {}", bits(*value));
    let histograms = samples.histograms.iter().map(histogram);
    samples.floats.iter().map(float).chain(histograms).collect()
}

fn histogram(sample: &HistogramSample) -> String {
    let HistogramSample { time, histogram } = sample;
    let Layout { schema, zero_threshold, positive, negative, custom } = &*histogram.layout;
    let (threshold, sum) = (bits(*zero_threshold), bits(histogram.sum));
    let spans =
        |spans: &[Span]| list(spans, |Span { offset, length }| format!("{offset}:{length}"));
    let (positive, negative) = (spans(positive), spans(negative));
    let (custom, reset) = (list(custom, bits), histogram.reset);
    let counts = match &histogram.counts {
        Counts::Integer { count, zero, positive, negative } => {
            let (positive, negative) = (list(positive, |n| n), list(negative, |n| n));
            format!("{count} {zero} {positive} {negative}")
        }
        Counts::Float { count, zero, positive, negative } => {
            let (positive, negative) = (list(positive, bits), list(negative, bits));
            format!("{} {} {positive} {negative}", bits(*count), bits(*zero))
        }
    };
    format!("{time} {reset:?} {schema} {threshold} {positive} {negative} {custom} {sum} {counts}")
}

#[test]
fn what_prometheus_writes_is_what_it_reads() {
    let mut count = 0;
    for Vector { name, encoding, bytes, samples } in vectors() {
        let mut decoded = Samples::default();
        assert_eq!(decode(encoding, &bytes, &mut decoded), Ok(()), "{name}");
        assert_eq!(lines(&decoded), samples, "{name}");
        assert_eq!(sample_count(encoding, &bytes).map(usize::from), Ok(samples.len()), "{name}");
        count += 1;
    }
    assert_eq!(count, VECTORS.matches("chunk ").count());
}

#[test]
fn what_is_cut_gives_the_samples_before_the_cut() {
    let vectors = vectors().filter(|vector| !vector.samples.is_empty());
    for Vector { name, encoding, bytes, samples } in vectors {
        let mut before = 0;
        for cut in 0..bytes.len() {
            let mut decoded = Samples::default();
            let result = decode(encoding, &bytes[..cut], &mut decoded);
            assert_eq!(result.is_ok(), decoded.len() == samples.len(), "{name} cut at {cut}");
            assert!(before <= decoded.len(), "{name} cut at {cut}");
            assert_eq!(lines(&decoded), samples[..decoded.len()], "{name} cut at {cut}");
            before = decoded.len();
        }
    }
}

#[test]
fn any_byte_may_be_anything() {
    for Vector { name, encoding, bytes, .. } in vectors() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                let mut decoded = Samples::default();
                let result = decode(encoding, &bytes, &mut decoded);
                let count = usize::from(sample_count(encoding, &bytes).unwrap());
                assert!(decoded.len() <= count, "{name} at {at}");
                assert!(result.is_err() || decoded.len() == count, "{name} at {at}");
            }
        }
    }
}

#[test]
fn other_encodings_are_named() {
    for byte in [0, 7, 0x81, 255] {
        assert_eq!(Encoding::try_from(byte), Err(Fault::Encoding(byte)));
    }
}

#[test]
fn what_no_writer_makes_is_named_with_its_byte() {
    use Encoding::{FloatHistogram, Histogram, Xor, Xor2};
    const ONES: [u8; 9] = [255; 9];
    let long_time = [&[0, 1][..], &ONES, &[2], &[0; 8]].concat();
    // 11, then 5 bits of 31 that lead, and 6 bits of 63 that follow.
    let wide = [&[0, 2, 0][..], &[0; 8], &[1, 0b1111_1111, 0b1111_1000]].concat();
    // A threshold of 0, then a schema as 1110 and 9 bits of 53.
    let schema = [0, 1, 0, 0, 0b1110_0001, 0b1010_1000, 0, 0];
    // A schema of 0, then 11111111 and 64 bits of how many spans there are.
    let spans = [&[0, 1, 0, 0, 0b0111_1111][..], &ONES].concat();
    // A schema of 0, one span as 10 and 3 bits, whose length is 11111110 and 56 bits.
    let span = [&[0, 1, 0, 0, 0b0100_0111, 0b1111_1010][..], &[0; 9]].concat();
    // A schema of 0, one span of three buckets as 10 and 3 bits, at 0, and none below zero.
    let buckets = [0, 1, 0, 0, 0b0100_0110, 0b0110_0000];
    let cases: [(Encoding, &[u8], &str); 10] = [
        (Xor, &[0], "byte 0: 2 bytes are needed and 1 are left"),
        (Xor, &[0, 1, 2], "byte 3: it ends after 0 of 1 samples"),
        (Xor, &long_time, "byte 2: an integer is longer than 64 bits"),
        (Xor, &wide, "byte 12: width of a difference in bits is 94, more than 64"),
        (Xor2, &[0, 1], "byte 2: 1 bytes are needed and 0 are left"),
        (Histogram, &[0, 1], "byte 0: 3 bytes are needed and 2 are left"),
        (
            Histogram,
            &schema,
            "byte 4: schema of a histogram is 53, neither -53 nor one of -9 to 52",
        ),
        (Histogram, &spans, "byte 4: 2305843009213693952 bytes are needed and 0 are left"),
        (FloatHistogram, &buckets, "byte 5: 24 bytes are needed and 0 are left"),
        (
            FloatHistogram,
            &span,
            "byte 4: length of a span is 36028797018963968, more than 32 bits hold",
        ),
    ];
    for (encoding, bytes, message) in cases {
        let error = decode(encoding, bytes, &mut Samples::default()).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_fault_keeps_what_was_there() {
    let before = Float { time: 1, value: 2.0 };
    let mut samples = Samples { floats: vec![before], histograms: Vec::new() };
    let chunk = [&[0, 9, 2][..], &[0; 8], &[2]].concat();
    let error = decode(Encoding::Xor, &chunk, &mut samples);
    assert_eq!(error, Err(Malformed { at: 12, fault: Fault::Samples { read: 1, count: 9 } }));
    assert_eq!(samples.floats, [before, Float { time: 1, value: 0.0 }]);
}
