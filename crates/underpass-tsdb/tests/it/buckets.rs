//! The bounds of buckets are those of Prometheus' own library, and their order is that of its query
//! API.
//!
//! `vectors/buckets.txt` is what `vectors/main.go` prints: a schema, the index of a bucket above
//! zero, and the bits of its bounds.

use std::sync::Arc;

use underpass_tsdb::Histogram;
use underpass_tsdb::sample::{Bucket, Count, Counts, Layout, Reset, Span};

const VECTORS: &str = include_str!("../vectors/buckets.txt");

fn histogram(layout: Layout, counts: Counts) -> Histogram {
    Histogram { layout: Arc::new(layout), reset: Reset::Unknown, sum: 0.0, counts }
}

/// As Prometheus writes a bucket: inclusive bounds in brackets, others in parentheses.
fn text(bucket: &Bucket) -> String {
    let Bucket { lower, upper, is_lower_inclusive, is_upper_inclusive, count } = *bucket;
    let (open, close) =
        (if is_lower_inclusive { '[' } else { '(' }, if is_upper_inclusive { ']' } else { ')' });
    format!("{open}{lower},{upper}{close}:{count:?}")
}

#[test]
fn bounds_are_those_of_prometheus() {
    for line in VECTORS.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let schema = words[0].parse().unwrap();
        let offset = words[1].parse().unwrap();
        let positive = vec![Span { offset, length: 1 }];
        let layout =
            Layout { schema, positive: positive.clone(), negative: positive, ..Layout::default() };
        let one = vec![1.0];
        let counts = Counts::Float { count: 2.0, zero: 0.0, positive: one.clone(), negative: one };
        let buckets = histogram(layout, counts).buckets();
        let [below, above] = buckets[..] else { panic!("{line}: {buckets:?}") };
        let bits = |value: f64| format!("{:016x}", value.to_bits());
        assert_eq!([bits(above.lower), bits(above.upper)], words[2..], "{line}");
        assert_eq!([-below.upper, -below.lower], [above.lower, above.upper], "{line}");
    }
    assert_eq!(VECTORS.lines().count(), 13 * 11 * 6);
}

#[test]
fn buckets_go_from_the_lowest_to_the_highest() {
    let span = |offset, length| Span { offset, length };
    let positive = vec![span(0, 2), span(1, 0), span(0, 1)];
    let negative = vec![span(1, 2)];
    let layout = Layout { schema: 0, zero_threshold: 0.25, positive, negative, custom: Vec::new() };
    let counts =
        Counts::Integer { count: 15, zero: 1, positive: vec![3, -3, 5], negative: vec![4, -2] };
    let texts: Vec<_> = histogram(layout, counts).buckets().iter().map(text).collect();
    let expected = [
        "[-4,-2):Integer(2)",
        "[-2,-1):Integer(4)",
        "[-0.25,0.25]:Integer(1)",
        "(0.5,1]:Integer(3)",
        "(1,2]:Integer(0)",
        "(4,8]:Integer(5)",
    ];
    assert_eq!(texts, expected);
}

#[test]
fn custom_buckets_begin_and_end_at_infinity() {
    let positive = vec![Span { offset: 0, length: 3 }];
    let layout = Layout { schema: -53, positive, custom: vec![-1.0, 2.5], ..Layout::default() };
    let positive = vec![1.5, 0.0, 2.0];
    let counts = Counts::Float { count: 3.5, zero: 0.0, positive, negative: Vec::new() };
    let texts: Vec<_> = histogram(layout, counts).buckets().iter().map(text).collect();
    assert_eq!(texts, ["[-inf,-1]:Float(1.5)", "(-1,2.5]:Float(0.0)", "(2.5,inf]:Float(2.0)"]);
}

#[test]
fn a_wide_zero_bucket_cuts_its_neighbours() {
    let bucket = |lower, upper| {
        let count = Count::Integer(1);
        Bucket { lower, upper, is_lower_inclusive: false, is_upper_inclusive: false, count }
    };
    let bounds = |bucket: Bucket| (bucket.lower, bucket.upper);
    assert_eq!(bounds(bucket(1.0, 2.0).beyond(1.5)), (1.5, 2.0));
    assert_eq!(bounds(bucket(-2.0, -1.0).beyond(1.5)), (-2.0, -1.5));
    assert_eq!(bounds(bucket(1.0, 2.0).beyond(0.5)), (1.0, 2.0));
    assert_eq!(bounds(bucket(-1.5, 1.5).beyond(1.5)), (-1.5, 1.5));
}
