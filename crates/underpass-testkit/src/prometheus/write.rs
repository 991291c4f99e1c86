//! Remote write: the one way to give a server samples of any kind at any time.
//!
//! A message of protobuf, written by hand, in a snappy block of nothing but literals.
//!
//! Source: the Prometheus Remote-Write 1.0 specification; `prompb/types.proto`; snappy's
//! `format_description.txt` 2.1.

/// The value of a sample that ends a series: `model/value`, `StaleNaN`.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

/// Samples of one series.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// Names and values, sorted by name; `__name__` is one of them.
    pub labels: Vec<(String, String)>,
    /// Times in milliseconds, and values.
    pub floats: Vec<(i64, f64)>,
    /// Times in milliseconds, and values.
    pub histograms: Vec<(i64, Histogram)>,
}

/// A native histogram.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// -4 to 8, or -53 for buckets with custom bounds.
    pub schema: i32,
    /// The width of the bucket around zero.
    pub zero_threshold: f64,
    /// The sum of all observations.
    pub sum: f64,
    /// Where the buckets of positive observations are.
    pub positive: Vec<Span>,
    /// Where those of negative ones are.
    pub negative: Vec<Span>,
    /// How many observations there are.
    pub counts: Counts,
    /// The upper bounds, of schema -53.
    pub bounds: Vec<f64>,
    /// 0 not known, 1 reset, 2 no reset, 3 a gauge.
    pub reset_hint: u64,
}

/// A run of buckets.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// How many empty buckets are before it; of the first one, the index.
    pub offset: i32,
    /// How many buckets it has.
    pub length: u32,
}

/// Observations in all, in the bucket around zero, and bucket by bucket.
#[derive(Debug, Clone)]
pub enum Counts {
    /// Whole numbers; buckets are sent as differences to the one before.
    Whole {
        /// All observations.
        count: u64,
        /// Those around zero.
        zero: u64,
        /// Absolute counts.
        positive: Vec<i64>,
        /// Absolute counts.
        negative: Vec<i64>,
    },
    /// Fractions.
    Float {
        /// All observations.
        count: f64,
        /// Those around zero.
        zero: f64,
        /// Absolute counts.
        positive: Vec<f64>,
        /// Absolute counts.
        negative: Vec<f64>,
    },
}

impl Default for Counts {
    fn default() -> Self {
        Self::Whole { count: 0, zero: 0, positive: Vec::new(), negative: Vec::new() }
    }
}

impl Series {
    /// Without samples; a series of this metric and these labels, which are in order.
    #[must_use]
    pub fn new(metric: &str, labels: &[(&str, &str)]) -> Self {
        let all = [("__name__", metric)].into_iter().chain(labels.iter().copied());
        let labels = all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { labels, ..Self::default() }
    }
}

/// The body of a request that writes these.
pub(super) fn request(series: &[Series]) -> Vec<u8> {
    let mut message = Message::default();
    for one in series {
        message.message(1, &time_series(one));
    }
    snappy(&message.0)
}

fn time_series(series: &Series) -> Message {
    let mut message = Message::default();
    for (name, value) in &series.labels {
        let mut label = Message::default();
        label.bytes(1, name.as_bytes());
        label.bytes(2, value.as_bytes());
        message.message(1, &label);
    }
    for (time, value) in &series.floats {
        let mut sample = Message::default();
        sample.double(1, *value);
        sample.varint(2, time.cast_unsigned());
        message.message(2, &sample);
    }
    for (time, value) in &series.histograms {
        message.message(4, &histogram(*time, value));
    }
    message
}

fn histogram(time: i64, from: &Histogram) -> Message {
    let mut message = Message::default();
    message.double(3, from.sum);
    message.varint(4, zigzag(from.schema.into()));
    message.double(5, from.zero_threshold);
    spans(&mut message, 8, &from.negative);
    spans(&mut message, 11, &from.positive);
    match &from.counts {
        Counts::Whole { count, zero, positive, negative } => {
            message.varint(1, *count);
            message.varint(6, *zero);
            message.packed(9, &deltas(negative));
            message.packed(12, &deltas(positive));
        }
        Counts::Float { count, zero, positive, negative } => {
            message.double(2, *count);
            message.double(7, *zero);
            message.doubles(10, negative);
            message.doubles(13, positive);
        }
    }
    message.varint(14, from.reset_hint);
    message.varint(15, time.cast_unsigned());
    message.doubles(16, &from.bounds);
    message
}

fn spans(message: &mut Message, field: u64, spans: &[Span]) {
    for span in spans {
        let mut one = Message::default();
        one.varint(1, zigzag(span.offset.into()));
        one.varint(2, span.length.into());
        message.message(field, &one);
    }
}

fn deltas(counts: &[i64]) -> Vec<i64> {
    let before = std::iter::once(&0).chain(counts);
    counts.iter().zip(before).map(|(count, before)| count - before).collect()
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// Fields in the order they were added.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn raw_varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(low_byte(number) | 0x80);
            number >>= 7;
        }
        self.0.push(low_byte(number));
    }

    fn varint(&mut self, field: u64, number: u64) {
        self.raw_varint(field << 3);
        self.raw_varint(number);
    }

    fn double(&mut self, field: u64, number: f64) {
        self.raw_varint(field << 3 | 1);
        self.0.extend(number.to_bits().to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn message(&mut self, field: u64, message: &Self) {
        self.bytes(field, &message.0);
    }

    fn packed(&mut self, field: u64, numbers: &[i64]) {
        let mut all = Self::default();
        numbers.iter().for_each(|number| all.raw_varint(zigzag(*number)));
        self.bytes(field, &all.0);
    }

    fn doubles(&mut self, field: u64, numbers: &[f64]) {
        let all: Vec<u8> =
            numbers.iter().flat_map(|number| number.to_bits().to_le_bytes()).collect();
        self.bytes(field, &all);
    }
}

const fn low_byte(number: u64) -> u8 {
    number.to_le_bytes()[0]
}

/// A block of literals of 60 bytes and fewer, whose length fits into their tag.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut block = Message::default();
    block.raw_varint(bytes.len() as u64);
    for literal in bytes.chunks(60) {
        block.0.push(low_byte(literal.len() as u64 - 1) << 2);
        block.0.extend(literal);
    }
    block.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_written_as_the_specification_has_it() {
        let series = Series { floats: vec![(300, 1.0)], ..Series::new("m", &[]) };
        let label = [b"\x0a\x08__name__".as_slice(), b"\x12\x01m"].concat();
        let sample = b"\x09\0\0\0\0\0\0\xf0\x3f\x10\xac\x02";
        let time_series = [b"\x0a\x0d", &label[..], b"\x12\x0c", sample].concat();
        let message = [b"\x0a\x1d", &time_series[..]].concat();
        assert_eq!(request(&[series]), [b"\x1f\x78", &message[..]].concat());
    }

    #[test]
    fn buckets_are_differences_and_numbers_with_a_sign_alternate() {
        assert_eq!(deltas(&[3, 1, 4]), [3, -2, 3]);
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
    }
}
