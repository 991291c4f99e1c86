//! Histograms as text.

use super::number::{Notation, Number};
use crate::sample::{Bucket, Count, Counts, Histogram};

/// As promtool prints it: `{count:12, sum:18.4, [-0.001,0.001]:2, (0.001,1]:10}`.
///
/// Source: Prometheus, model/histogram, `Histogram.String` and `FloatHistogram.String`.
pub(super) fn go(histogram: &Histogram, into: &mut Vec<u8>) {
    let mut number = Number::new(Notation::Go);
    into.extend(b"{count:");
    push_count(count(histogram), &mut number, into);
    into.extend(b", sum:");
    push(histogram.sum, &mut number, into);
    for bucket in histogram.buckets().into_iter().filter(has_observations) {
        into.extend(b", ");
        into.push(if bucket.is_lower_inclusive { b'[' } else { b'(' });
        push(bucket.lower, &mut number, into);
        into.push(b',');
        push(bucket.upper, &mut number, into);
        into.push(if bucket.is_upper_inclusive { b']' } else { b')' });
        into.push(b':');
        push_count(bucket.count, &mut number, into);
    }
    into.push(b'}');
}

/// As Prometheus' query API has it:
/// `{"count":"12","sum":"18.4","buckets":[[3,"-0.001","0.001","2"],[0,"0.001","1","10"]]}`.
///
/// Source: Prometheus, util/jsonutil/marshal.go, `MarshalHistogram`.
pub(super) fn json(histogram: &Histogram, into: &mut Vec<u8>) {
    let mut number = Number::new(Notation::Api);
    let mut text = |value: f64, into: &mut Vec<u8>| {
        into.push(b'"');
        push(value, &mut number, into);
        into.push(b'"');
    };
    into.extend(b"{\"count\":");
    text(as_float(count(histogram)), into);
    into.extend(b",\"sum\":");
    text(histogram.sum, into);
    let zero_threshold = histogram.layout.zero_threshold;
    let mut before: &[u8] = b",\"buckets\":[";
    for bucket in histogram.buckets().into_iter().filter(has_observations) {
        into.extend(before);
        before = b",";
        let bucket = bucket.beyond(zero_threshold);
        into.extend([b'[', boundaries(&bucket), b',']);
        text(bucket.lower, into);
        into.push(b',');
        text(bucket.upper, into);
        into.push(b',');
        text(as_float(bucket.count), into);
        into.push(b']');
    }
    into.extend(if before == b"," { b"]}".as_slice() } else { b"}" });
}

const fn count(histogram: &Histogram) -> Count {
    match &histogram.counts {
        Counts::Integer { count, .. } => Count::Integer(*count),
        Counts::Float { count, .. } => Count::Float(*count),
    }
}

fn push(value: f64, number: &mut Number, into: &mut Vec<u8>) {
    number.set(value);
    into.extend(number.text());
}

fn push_count(count: Count, number: &mut Number, into: &mut Vec<u8>) {
    match count {
        Count::Integer(count) => into.extend(count.to_string().bytes()),
        Count::Float(count) => push(count, number, into),
    }
}

fn has_observations(bucket: &Bucket) -> bool {
    match bucket.count {
        Count::Integer(count) => count > 0,
        Count::Float(count) => count != 0.0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as the API, which knows float histograms only")]
const fn as_float(count: Count) -> f64 {
    match count {
        Count::Integer(count) => count as f64,
        Count::Float(count) => count,
    }
}

const fn boundaries(bucket: &Bucket) -> u8 {
    match (bucket.is_lower_inclusive, bucket.is_upper_inclusive) {
        (false, true) => b'0',
        (true, false) => b'1',
        (false, false) => b'2',
        (true, true) => b'3',
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::sample::{CUSTOM_BUCKETS, Layout, Reset, STALE, Span};

    fn histogram(layout: Layout, sum: f64, counts: Counts) -> Histogram {
        Histogram { layout: Arc::new(layout), reset: Reset::Unknown, sum, counts }
    }

    fn integers() -> Histogram {
        let positive = vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }];
        let negative = vec![Span { offset: 1, length: 2 }];
        let layout = Layout { zero_threshold: 0.75, positive, negative, ..Layout::default() };
        let (positive, negative) = (vec![3, -3, 3_000_000], vec![4, -1]);
        histogram(layout, -18.5, Counts::Integer { count: 3_000_012, zero: 2, positive, negative })
    }

    fn floats() -> Histogram {
        let positive = vec![Span { offset: 11, length: 1 }];
        let negative = vec![Span { offset: -2, length: 1 }];
        let layout = Layout { schema: -1, positive, negative, ..Layout::default() };
        let (positive, negative) = (vec![3e6], vec![0.5]);
        let counts = Counts::Float { count: 3_000_000.5, zero: 0.0, positive, negative };
        histogram(layout, f64::INFINITY, counts)
    }

    fn custom() -> Histogram {
        let positive = vec![Span { offset: 0, length: 3 }];
        let custom = vec![0.1, 1e7];
        let layout = Layout { schema: CUSTOM_BUCKETS, positive, custom, ..Layout::default() };
        let (positive, negative) = (vec![1, 1, 1], Vec::new());
        histogram(layout, 1e6, Counts::Integer { count: 6, zero: 0, positive, negative })
    }

    fn stale() -> Histogram {
        let counts =
            Counts::Integer { count: 0, zero: 0, positive: Vec::new(), negative: Vec::new() };
        histogram(Layout::default(), f64::from_bits(STALE), counts)
    }

    fn written(by: fn(&Histogram, &mut Vec<u8>), histogram: &Histogram) -> String {
        let mut into = Vec::new();
        by(histogram, &mut into);
        String::from_utf8(into).unwrap()
    }

    /// Printed by `String` of Prometheus 3.14's model/histogram.
    #[test]
    fn histograms_are_printed_as_promtool_prints_them() {
        let cases = [
            (
                integers(),
                "{count:3000012, sum:-18.5, [-4,-2):3, [-2,-1):4, [-0.75,0.75]:2, (0.5,1]:3, \
                 (4,8]:3000000}",
            ),
            (
                floats(),
                "{count:3.0000005e+06, sum:+Inf, [-0.0625,-0.015625):0.5, \
                 (1.048576e+06,4.194304e+06]:3e+06}",
            ),
            (custom(), "{count:6, sum:1e+06, [-Inf,0.1]:1, (0.1,1e+07]:2, (1e+07,+Inf]:3}"),
            (stale(), "{count:0, sum:NaN}"),
        ];
        for (histogram, expected) in cases {
            assert_eq!(written(go, &histogram), expected);
        }
    }

    /// Printed by `MarshalHistogram` of Prometheus 3.14's util/jsonutil.
    #[test]
    fn histograms_are_json_as_the_query_api_has_it() {
        let cases = [
            (
                integers(),
                concat!(
                    r#"{"count":"3000012","sum":"-18.5","buckets":[[1,"-4","-2","3"],"#,
                    r#"[1,"-2","-1","4"],[3,"-0.75","0.75","2"],[0,"0.75","1","3"],"#,
                    r#"[0,"4","8","3000000"]]}"#,
                ),
            ),
            (
                floats(),
                concat!(
                    r#"{"count":"3000000.5","sum":"+Inf","buckets":[[1,"-0.0625","-0.015625","#,
                    r#""0.5"],[0,"1048576","4194304","3000000"]]}"#,
                ),
            ),
            (
                custom(),
                concat!(
                    r#"{"count":"6","sum":"1000000","buckets":[[3,"-Inf","0.1","1"],"#,
                    r#"[0,"0.1","10000000","2"],[0,"10000000","+Inf","3"]]}"#,
                ),
            ),
            (stale(), r#"{"count":"0","sum":"NaN"}"#),
        ];
        for (histogram, expected) in cases {
            assert_eq!(written(json, &histogram), expected);
        }
    }
}
