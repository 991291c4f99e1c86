//! Rows of the table of native histograms.
//!
//! Buckets are written with their bounds, as the query API gives them, so that a reader needs to
//! know nothing of schemas and spans. Counts are floats, as in PromQL; those of integer histograms
//! are exact up to 2^53.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMillisecondArray,
};
use arrow_buffer::{BooleanBufferBuilder, OffsetBuffer};
use arrow_schema::{DataType, Field, Fields, Schema};

use crate::sample::{Bucket, Count, Counts, HistogramSample, Reset, is_stale};

use super::encoder::{Rows, batch};
use super::float_rows::{ZONE, emptied, timestamp_type};

/// Rows of a batch, and buckets, whichever comes first: some 3 MB.
const BATCH_ROWS: usize = 1 << 14;
const BATCH_BUCKETS: usize = 1 << 17;

/// Histograms that were not encoded yet.
#[derive(Debug)]
pub(super) struct HistogramRows {
    series: Vec<i64>,
    timestamp: Vec<i64>,
    count: Vec<f64>,
    sum: Vec<f64>,
    stale: BooleanBufferBuilder,
    counter_reset: Vec<&'static str>,
    scale: Vec<i32>,
    zero_threshold: Vec<f64>,
    buckets: Buckets,
}

/// The buckets of all rows.
#[derive(Debug, Default)]
struct Buckets {
    /// How many each row has.
    lengths: Vec<usize>,
    lower: Vec<f64>,
    upper: Vec<f64>,
    count: Vec<f64>,
}

impl HistogramRows {
    pub(super) fn new() -> Self {
        Self {
            series: Vec::new(),
            timestamp: Vec::new(),
            count: Vec::new(),
            sum: Vec::new(),
            stale: BooleanBufferBuilder::new(0),
            counter_reset: Vec::new(),
            scale: Vec::new(),
            zero_threshold: Vec::new(),
            buckets: Buckets::default(),
        }
    }

    pub(super) fn push(&mut self, series: u32, sample: &HistogramSample) {
        let histogram = &sample.histogram;
        self.series.push(i64::from(series));
        self.timestamp.push(sample.time);
        self.count.push(count(&histogram.counts));
        self.sum.push(histogram.sum);
        self.stale.append(is_stale(histogram.sum));
        self.counter_reset.push(reset(histogram.reset));
        self.scale.push(histogram.layout.schema);
        self.zero_threshold.push(histogram.layout.zero_threshold);
        let before = self.buckets.count.len();
        for bucket in histogram.buckets() {
            self.buckets.push(bucket.beyond(histogram.layout.zero_threshold));
        }
        self.buckets.lengths.push(self.buckets.count.len() - before);
    }
}

impl Rows for HistogramRows {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= BATCH_ROWS || self.buckets.count.len() >= BATCH_BUCKETS
    }

    fn take(&mut self, schema: &Arc<Schema>) -> RecordBatch {
        let timestamp = TimestampMillisecondArray::from(emptied(&mut self.timestamp));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(emptied(&mut self.series))),
            Arc::new(timestamp.with_timezone(ZONE)),
            Arc::new(Float64Array::from(emptied(&mut self.count))),
            Arc::new(Float64Array::from(emptied(&mut self.sum))),
            Arc::new(BooleanArray::new(self.stale.finish(), None)),
            Arc::new(StringArray::from(emptied(&mut self.counter_reset))),
            Arc::new(Int32Array::from(emptied(&mut self.scale))),
            Arc::new(Float64Array::from(emptied(&mut self.zero_threshold))),
            Arc::new(self.buckets.take()),
        ];
        batch(schema, columns)
    }
}

impl Buckets {
    /// Empty ones are left out: each of the others has its own bounds.
    fn push(&mut self, bucket: Bucket) {
        let count = match bucket.count {
            Count::Integer(count) => approximate(count),
            Count::Float(count) => count,
        };
        if count != 0.0 {
            self.lower.push(bucket.lower);
            self.upper.push(bucket.upper);
            self.count.push(count);
        }
    }

    fn take(&mut self) -> ListArray {
        let columns = [&mut self.lower, &mut self.upper, &mut self.count];
        let columns =
            columns.map(|column| Arc::new(Float64Array::from(emptied(column))) as ArrayRef);
        let buckets = StructArray::new(fields_of_a_bucket(), columns.to_vec(), None);
        let offsets = OffsetBuffer::from_lengths(emptied(&mut self.lengths));
        ListArray::new(Arc::new(bucket()), offsets, Arc::new(buckets), None)
    }
}

const fn count(counts: &Counts) -> f64 {
    match counts {
        Counts::Integer { count, .. } => approximate(*count),
        Counts::Float { count, .. } => *count,
    }
}

/// Exact up to 2^53.
const fn approximate(count: u64) -> f64 {
    count as f64
}

const fn reset(reset: Reset) -> &'static str {
    match reset {
        Reset::Unknown => "unknown",
        Reset::Reset => "reset",
        Reset::NoReset => "no reset",
        Reset::Gauge => "gauge",
    }
}

pub(super) fn schema() -> Schema {
    let float = |name: &str| Field::new(name, DataType::Float64, false);
    Schema::new(vec![
        Field::new("series", DataType::Int64, false),
        Field::new("timestamp", timestamp_type(), false),
        float("count"),
        float("sum"),
        Field::new("stale", DataType::Boolean, false),
        Field::new("counter_reset", DataType::Utf8, false),
        Field::new("schema", DataType::Int32, false),
        float("zero_threshold"),
        Field::new("buckets", DataType::List(Arc::new(bucket())), false),
    ])
}

/// The element of the list; Parquet prescribes its name (LogicalTypes.md, "Lists").
fn bucket() -> Field {
    Field::new("element", DataType::Struct(fields_of_a_bucket()), false)
}

fn fields_of_a_bucket() -> Fields {
    ["lower", "upper", "count"]
        .map(|name| Field::new(name, DataType::Float64, false))
        .to_vec()
        .into()
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Float64Type;

    use super::*;
    use crate::sample::{Histogram, Layout, Span};

    #[test]
    fn buckets_end_where_the_zero_bucket_begins_and_empty_ones_are_left_out() {
        // Powers of two from (0.25, 0.5] on: empty, 3, empty, 2; and 4 in [-2, -1).
        let layout = Layout {
            schema: 0,
            zero_threshold: 0.75,
            positive: vec![Span { offset: -1, length: 4 }],
            negative: vec![Span { offset: 1, length: 1 }],
            custom: Vec::new(),
        };
        let (positive, negative) = (vec![0, 3, -3, 2], vec![4]);
        let counts = Counts::Integer { count: 10, zero: 1, positive, negative };
        let (reset, sum) = (Reset::Gauge, 5.0);
        let histogram = Histogram { layout: Arc::new(layout), reset, sum, counts };
        let mut rows = HistogramRows::new();
        rows.push(7, &HistogramSample { time: 1_000, histogram: histogram.clone() });
        rows.push(7, &HistogramSample { time: 2_000, histogram });
        let batch = rows.take(&Arc::new(schema()));
        let buckets = batch.column(8).as_list::<i32>();
        assert_eq!(buckets.value_offsets(), [0, 4, 8]);
        let first = buckets.value(1);
        let columns = first.as_struct().columns().iter();
        let columns: Vec<_> = columns.map(|column| column.as_primitive::<Float64Type>()).collect();
        assert_eq!(columns[0].values()[..], [-2.0, -0.75, 0.75, 2.0]);
        assert_eq!(columns[1].values()[..], [-1.0, 0.75, 1.0, 4.0]);
        assert_eq!(columns[2].values()[..], [4.0, 1.0, 3.0, 2.0]);
        assert_eq!(batch.column(5).as_string::<i32>().value(0), "gauge");
        assert_eq!(rows.len(), 0);
    }
}
