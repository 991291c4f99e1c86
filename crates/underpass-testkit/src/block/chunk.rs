//! Chunks, encoded one bit at a time.
//!
//! Source: Prometheus, tsdb/docs/format/chunks.md, tsdb/chunkenc.

use super::bytes::{Bits, Bytes};

/// The encodings' bytes.
pub const XOR: u8 = 1;
/// Integer histograms.
pub const HISTOGRAM: u8 = 2;
/// The value that says that a series has ended.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// A chunk and what the index says of it.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The encoding's byte.
    pub encoding: u8,
    /// Time of its first sample, in milliseconds.
    pub min_time: i64,
    /// Time of its last.
    pub max_time: i64,
    /// Its samples.
    pub samples: usize,
    /// The encoded samples.
    pub data: Vec<u8>,
}

impl Chunk {
    /// An XOR chunk.
    ///
    /// # Panics
    ///
    /// If there are no samples, or more than a chunk can count.
    #[must_use]
    pub fn floats(samples: &[(i64, f64)]) -> Self {
        let (min_time, first) = samples[0];
        let count = u16::try_from(samples.len()).expect("a chunk counts with 16 bits");
        let mut head = Bytes::default();
        head.raw(&count.to_be_bytes()).varint(min_time).u64(first.to_bits());
        let mut bits = Bits::default();
        let mut deltas = Deltas { time: min_time, delta: 0, value: first.to_bits(), window: None };
        for (place, (time, value)) in samples.iter().enumerate().skip(1) {
            if place == 1 {
                head.uvarint((time - min_time).cast_unsigned());
                deltas.delta = time - min_time;
            } else {
                put_delta_of_delta(&mut bits, time - deltas.time - deltas.delta);
                deltas.delta = time - deltas.time;
            }
            deltas.time = *time;
            deltas.put_value(&mut bits, value.to_bits());
        }
        head.raw(&bits.into_bytes());
        let (encoding, max_time) = (XOR, deltas.time);
        Self { encoding, min_time, max_time, samples: samples.len(), data: head.0 }
    }

    /// A histogram chunk of one sample: schema 0, one positive span from bucket 1 on, whose counts
    /// are given as the differences from one bucket to the next.
    #[must_use]
    pub fn histogram(time: i64, sum: f64, buckets: &[i64]) -> Self {
        let counts = buckets.iter().scan(0, |count, delta| {
            *count += delta;
            Some(*count)
        });
        let count: i64 = counts.sum();
        let mut bits = Bits::default();
        // The flags' byte; 0x00 for a zero threshold of 0; schema 0; the spans.
        bits.put(1, 16).put(0, 8).put(0, 8).text("0");
        put_varbit_uint(&mut bits, 1);
        put_varbit_uint(&mut bits, buckets.len() as u64);
        put_varbit(&mut bits, 1);
        put_varbit_uint(&mut bits, 0);
        put_varbit(&mut bits, time);
        put_varbit_uint(&mut bits, count.cast_unsigned());
        put_varbit_uint(&mut bits, 0);
        bits.put(sum.to_bits(), 64);
        for bucket in buckets {
            put_varbit(&mut bits, *bucket);
        }
        let (encoding, data) = (HISTOGRAM, bits.into_bytes());
        Self { encoding, min_time: time, max_time: time, samples: 1, data }
    }
}

struct Deltas {
    time: i64,
    delta: i64,
    value: u64,
    /// Leading and trailing zeros that the last `11` set.
    window: Option<(u32, u32)>,
}

impl Deltas {
    fn put_value(&mut self, bits: &mut Bits, value: u64) {
        let xor = value ^ self.value;
        self.value = value;
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        match self.window {
            _ if xor == 0 => {
                bits.text("0");
            }
            Some((lead, trail)) if leading >= lead && trailing >= trail => {
                bits.text("10").put(xor >> trail, 64 - lead - trail);
            }
            Some(_) | None => {
                let significant = 64 - leading - trailing;
                // 64 does not fit in six bits and is written as 0.
                bits.text("11").put(leading.into(), 5).put(significant.into(), 6);
                bits.put(xor >> trailing, significant);
                self.window = Some((leading, trailing));
            }
        }
    }
}

/// Whether `value` fits in `count` bits: from -(2^(n-1) - 1) to 2^(n-1), which is not two's
/// complement.
fn fits(value: i64, count: u32) -> bool {
    let half = 1_i64 << (count - 1);
    (1 - half..=half).contains(&value)
}

fn put_delta_of_delta(bits: &mut Bits, dod: i64) {
    let prefixes = [("10", 14), ("110", 17), ("1110", 20)];
    match prefixes.into_iter().find(|(_, count)| fits(dod, *count)) {
        _ if dod == 0 => bits.text("0"),
        Some((prefix, count)) => bits.text(prefix).put(dod.cast_unsigned(), count),
        None => bits.text("1111").put(dod.cast_unsigned(), 64),
    };
}

const VARBITS: [(&str, u32); 7] = [
    ("10", 3),
    ("110", 6),
    ("1110", 9),
    ("11110", 12),
    ("111110", 18),
    ("1111110", 25),
    ("11111110", 56),
];

fn put_varbit(bits: &mut Bits, value: i64) {
    match VARBITS.into_iter().find(|(_, count)| fits(value, *count)) {
        _ if value == 0 => bits.text("0"),
        Some((prefix, count)) => bits.text(prefix).put(value.cast_unsigned(), count),
        None => bits.text("11111111").put(value.cast_unsigned(), 64),
    };
}

fn put_varbit_uint(bits: &mut Bits, value: u64) {
    match VARBITS.into_iter().find(|(_, count)| value < 1 << count) {
        _ if value == 0 => bits.text("0"),
        Some((prefix, count)) => bits.text(prefix).put(value, count),
        None => bits.text("11111111").put(value, 64),
    };
}
