//! Rows of the table of floats.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, TimestampMillisecondArray,
};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::{DataType, Field, Schema, TimeUnit};

use crate::sample::{Float, is_stale};

use super::encoder::{Rows, batch};

/// Rows of a batch: some 1.5 MB.
const BATCH_ROWS: usize = 1 << 16;

/// The zone that timestamps are in.
pub(super) const ZONE: &str = "UTC";

/// Floats that were not encoded yet.
#[derive(Debug)]
pub(super) struct FloatRows {
    series: Vec<i64>,
    timestamp: Vec<i64>,
    value: Vec<f64>,
    stale: BooleanBufferBuilder,
}

impl FloatRows {
    pub(super) fn new() -> Self {
        let stale = BooleanBufferBuilder::new(0);
        Self { series: Vec::new(), timestamp: Vec::new(), value: Vec::new(), stale }
    }

    /// Takes the first of `floats`, as many as a batch still has room for, and returns the others.
    pub(super) fn fill<'f>(&mut self, series: u32, floats: &'f [Float]) -> &'f [Float] {
        let (taken, rest) = floats.split_at(floats.len().min(BATCH_ROWS - self.len()));
        self.series.resize(self.series.len() + taken.len(), i64::from(series));
        self.timestamp.extend(taken.iter().map(|float| float.time));
        self.value.extend(taken.iter().map(|float| float.value));
        taken.iter().for_each(|float| self.stale.append(is_stale(float.value)));
        rest
    }
}

impl Rows for FloatRows {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn is_full(&self) -> bool {
        self.len() >= BATCH_ROWS
    }

    fn take(&mut self, schema: &Arc<Schema>) -> RecordBatch {
        let timestamp = TimestampMillisecondArray::from(emptied(&mut self.timestamp));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(emptied(&mut self.series))),
            Arc::new(timestamp.with_timezone(ZONE)),
            Arc::new(Float64Array::from(emptied(&mut self.value))),
            Arc::new(BooleanArray::new(self.stale.finish(), None)),
        ];
        batch(schema, columns)
    }
}

pub(super) fn schema() -> Schema {
    Schema::new(vec![
        Field::new("series", DataType::Int64, false),
        Field::new("timestamp", timestamp_type(), false),
        Field::new("value", DataType::Float64, false),
        Field::new("stale", DataType::Boolean, false),
    ])
}

/// The type of all columns of times.
pub(super) fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(ZONE.into()))
}

/// What the vector had; it stays as large as it was.
pub(super) fn emptied<T>(values: &mut Vec<T>) -> Vec<T> {
    let capacity = values.len();
    std::mem::replace(values, Vec::with_capacity(capacity))
}
