//! The answer with samples: a `ReadResponse` in one snappy block.
//!
//! Its messages are within each other and begin with their lengths, so it is made from within: the
//! series of a query are packed as they come, and the length of the query's result is put in front
//! of them when it is known.
//!
//! Source: prometheus/prompb/remote.proto, types.proto; prompb/codec.go `FromIntHistogram`,
//! `FromFloatHistogram`.

use bytes::Bytes;

use super::frames::put_label;
use super::protobuf::{
    put_bytes, put_double, put_head, put_int64, put_message, put_some_double, put_uint64,
    put_varint, zig_zag,
};
use super::snappy::{Packed, Packer};
use crate::sample::{Counts, Float, Histogram, HistogramSample, Layout, Reset, Samples, Span};

/// A `ReadResponse` that is being made.
pub(super) struct Answer {
    whole: Packed,
    result: Packer,
}

impl Answer {
    pub(super) fn new() -> Self {
        Self { whole: Packed::default(), result: Packer::new() }
    }

    /// Adds a series to the query's result.
    pub(super) fn add<'a>(
        &mut self,
        labels: impl Iterator<Item = (&'a [u8], &'a [u8])>,
        samples: &Samples,
    ) -> Result<(), snap::Error> {
        self.result.add(|into| {
            put_message(1, into, |series| {
                labels.for_each(|label| put_label(label, series));
                samples.floats.iter().for_each(|float| put_float(float, series));
                samples.histograms.iter().for_each(|sample| put_histogram(sample, series));
            });
        })
    }

    /// Ends the result of a query.
    pub(super) fn end_query(&mut self) -> Result<(), snap::Error> {
        let result = std::mem::replace(&mut self.result, Packer::new()).end()?;
        let mut head = Vec::new();
        put_head(1, usize::try_from(result.len()).unwrap_or(usize::MAX), &mut head);
        self.whole.append(&head, result);
        Ok(())
    }

    /// The block, in pieces.
    pub(super) fn into_block(self) -> Vec<Bytes> {
        self.whole.into_block()
    }
}

fn put_float(float: &Float, series: &mut Vec<u8>) {
    put_message(2, series, |message| {
        put_double(1, float.value, message);
        put_int64(2, float.time, message);
    });
}

fn put_histogram(sample: &HistogramSample, series: &mut Vec<u8>) {
    let histogram = &sample.histogram;
    put_message(4, series, |message| {
        put_counts(histogram, message);
        put_int64(14, reset_hint(histogram.reset), message);
        put_int64(15, sample.time, message);
        put_doubles(16, &histogram.layout.custom, message);
    });
}

/// Counts and their layout, whose fields are between each other.
fn put_counts(histogram: &Histogram, message: &mut Vec<u8>) {
    match &histogram.counts {
        Counts::Integer { count, zero, positive, negative } => {
            put_uint64(1, *count, message);
            put_sum(histogram, message);
            put_uint64(6, *zero, message);
            put_spans(8, &histogram.layout.negative, message);
            put_deltas(9, negative, message);
            put_spans(11, &histogram.layout.positive, message);
            put_deltas(12, positive, message);
        }
        Counts::Float { count, zero, positive, negative } => {
            put_some_double(2, *count, message);
            put_sum(histogram, message);
            put_some_double(7, *zero, message);
            put_spans(8, &histogram.layout.negative, message);
            put_doubles(10, negative, message);
            put_spans(11, &histogram.layout.positive, message);
            put_doubles(13, positive, message);
        }
    }
}

fn put_sum(histogram: &Histogram, message: &mut Vec<u8>) {
    put_double(3, histogram.sum, message);
    let Layout { schema, zero_threshold, .. } = &*histogram.layout;
    if *schema != 0 {
        put_uint64(4, zig_zag((*schema).into()), message);
    }
    put_double(5, *zero_threshold, message);
}

fn put_spans(number: u8, spans: &[Span], message: &mut Vec<u8>) {
    spans.iter().for_each(|span| put_span(number, *span, message));
}

fn put_span(number: u8, span: Span, message: &mut Vec<u8>) {
    put_message(number, message, |message| {
        if span.offset != 0 {
            put_uint64(1, zig_zag(span.offset.into()), message);
        }
        put_int64(2, span.length.into(), message);
    });
}

fn put_deltas(number: u8, deltas: &[i64], message: &mut Vec<u8>) {
    if !deltas.is_empty() {
        put_message(number, message, |packed| {
            deltas.iter().for_each(|delta| put_varint(zig_zag(*delta), packed));
        });
    }
}

fn put_doubles(number: u8, values: &[f64], message: &mut Vec<u8>) {
    if !values.is_empty() {
        let bytes: Vec<u8> =
            values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        put_bytes(number, &bytes, message);
    }
}

const fn reset_hint(reset: Reset) -> i64 {
    match reset {
        Reset::Unknown => 0,
        Reset::Reset => 1,
        Reset::NoReset => 2,
        Reset::Gauge => 3,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use snap::raw::Decoder;

    use super::*;

    fn unpacked(answer: Answer) -> Vec<u8> {
        Decoder::new().decompress_vec(&answer.into_block().concat()).unwrap()
    }

    /// The message is that of Prometheus 3.5's `prompb`.
    #[test]
    fn floats_are_in_time_series_in_the_result_of_their_query() {
        let mut answer = Answer::new();
        answer.end_query().unwrap();
        let floats = [(1000, 1.0), (-1, 0.0), (0, f64::from_bits(0x7ff0_0000_0000_0002))];
        let floats = floats.map(|(time, value)| Float { time, value }).to_vec();
        let samples = Samples { floats, histograms: Vec::new() };
        answer.add([(&b"a"[..], &b"b"[..])].into_iter(), &samples).unwrap();
        answer.end_query().unwrap();
        let message = b"\x0a\x00\x0a\x30\x0a\x2e\x0a\x06\x0a\x01a\x12\x01b\
            \x12\x0c\x09\0\0\0\0\0\0\xf0\x3f\x10\xe8\x07\
            \x12\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\
            \x12\x09\x09\x02\0\0\0\0\0\xf0\x7f";
        assert_eq!(unpacked(answer), message);
    }

    /// The message is that of Prometheus 3.5's `prompb`, which only leaves custom values out.
    #[test]
    fn histograms_have_their_fields() {
        let layout = Layout {
            schema: -53,
            zero_threshold: 0.5,
            positive: vec![Span { offset: -3, length: 2 }],
            negative: vec![Span { offset: 0, length: 1 }],
            custom: vec![2.0],
        };
        let integer =
            Counts::Integer { count: 0, zero: 300, positive: vec![5, -4], negative: vec![1] };
        let float =
            Counts::Float { count: 2.0, zero: 0.0, positive: vec![3.0], negative: vec![2.0, -0.0] };
        let sample = |counts, reset, sum, layout: &Layout| HistogramSample {
            time: 7,
            histogram: Histogram { layout: Arc::new(layout.clone()), reset, sum, counts },
        };
        let histograms = vec![
            sample(integer, Reset::Gauge, 1.0, &layout),
            sample(float, Reset::Unknown, 0.0, &Layout::default()),
        ];
        let mut answer = Answer::new();
        let samples = Samples { floats: Vec::new(), histograms };
        answer.add(std::iter::empty(), &samples).unwrap();
        answer.end_query().unwrap();
        let message = b"\x0a\x6f\x0a\x6d\
            \x22\x39\x08\0\x19\0\0\0\0\0\0\xf0\x3f\x20\x69\x29\0\0\0\0\0\0\xe0\x3f\
            \x30\xac\x02\x42\x02\x10\x01\x4a\x01\x02\x5a\x04\x08\x05\x10\x02\x62\x02\x0a\x07\
            \x70\x03\x78\x07\x82\x01\x08\0\0\0\0\0\0\0\x40\
            \x22\x30\x11\0\0\0\0\0\0\0\x40\x39\0\0\0\0\0\0\0\0\
            \x52\x10\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x80\
            \x6a\x08\0\0\0\0\0\0\x08\x40\x78\x07";
        assert_eq!(unpacked(answer), message);
    }
}
