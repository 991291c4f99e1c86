//! Rows of the table of series.

use std::sync::Arc;

use arrow_array::builder::{
    Int64Builder, MapBuilder, MapFieldNames, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Fields, Schema};

use crate::labels::Labels;
use crate::sample::Samples;

use super::encoder::{Rows, batch};
use super::float_rows::{ZONE, timestamp_type};

/// The label whose value has a column.
const METRIC: &[u8] = b"__name__";

/// Rows of a batch: some MB of labels.
const BATCH_ROWS: usize = 1 << 13;

/// What was written of a series' samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    floats: i64,
    histograms: i64,
    times: Option<(i64, i64)>,
}

impl Written {
    pub(super) const fn samples(&self) -> u64 {
        self.floats.saturating_add(self.histograms).unsigned_abs()
    }

    pub(super) fn add(&mut self, samples: &Samples) {
        self.floats += i64::try_from(samples.floats.len()).unwrap_or(i64::MAX);
        self.histograms += i64::try_from(samples.histograms.len()).unwrap_or(i64::MAX);
        let floats = samples.floats.iter().map(|float| float.time);
        let histograms = samples.histograms.iter().map(|histogram| histogram.time);
        for time in floats.chain(histograms) {
            let (min, max) = self.times.unwrap_or((time, time));
            self.times = Some((min.min(time), max.max(time)));
        }
    }
}

/// Series that were not encoded yet.
#[derive(Debug)]
pub(super) struct SeriesRows {
    series: Int64Builder,
    metric: StringBuilder,
    labels: MapBuilder<StringBuilder, StringBuilder>,
    samples: Int64Builder,
    histograms: Int64Builder,
    min_time: TimestampMillisecondBuilder,
    max_time: TimestampMillisecondBuilder,
}

impl SeriesRows {
    pub(super) fn new() -> Self {
        let (text, names) = (StringBuilder::new, names_of_a_map());
        let time = || TimestampMillisecondBuilder::new().with_timezone(ZONE);
        Self {
            series: Int64Builder::new(),
            metric: text(),
            labels: MapBuilder::new(Some(names), text(), text()).with_values_field(Field::new(
                "value",
                DataType::Utf8,
                false,
            )),
            samples: Int64Builder::new(),
            histograms: Int64Builder::new(),
            min_time: time(),
            max_time: time(),
        }
    }

    /// Adds a series. Bytes of labels that are not UTF-8 become U+FFFD: no text column of Arrow or
    /// Parquet can hold them.
    pub(super) fn push(&mut self, series: u32, labels: &Labels, written: &Written) {
        self.series.append_value(i64::from(series));
        self.metric.append_option(labels.get(METRIC).map(String::from_utf8_lossy));
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC) {
            self.labels.keys().append_value(String::from_utf8_lossy(name));
            self.labels.values().append_value(String::from_utf8_lossy(value));
        }
        self.labels.append(true).expect("each label added a key and a value");
        self.samples.append_value(written.floats);
        self.histograms.append_value(written.histograms);
        self.min_time.append_option(written.times.map(|(min, _)| min));
        self.max_time.append_option(written.times.map(|(_, max)| max));
    }
}

impl Rows for SeriesRows {
    fn is_full(&self) -> bool {
        self.len() >= BATCH_ROWS
    }

    fn len(&self) -> usize {
        arrow_array::builder::ArrayBuilder::len(&self.series)
    }

    fn take(&mut self, schema: &Arc<Schema>) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.series.finish()),
            Arc::new(self.metric.finish()),
            Arc::new(self.labels.finish()),
            Arc::new(self.samples.finish()),
            Arc::new(self.histograms.finish()),
            Arc::new(self.min_time.finish()),
            Arc::new(self.max_time.finish()),
        ];
        batch(schema, columns)
    }
}

pub(super) fn schema() -> Schema {
    let names = names_of_a_map();
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let entry = Fields::from(vec![text(&names.key), text(&names.value)]);
    let entries = Field::new(names.entry, DataType::Struct(entry), false);
    Schema::new(vec![
        Field::new("series", DataType::Int64, false),
        Field::new("metric", DataType::Utf8, true),
        Field::new("labels", DataType::Map(Arc::new(entries), false), false),
        Field::new("samples", DataType::Int64, false),
        Field::new("histograms", DataType::Int64, false),
        Field::new("min_time", timestamp_type(), true),
        Field::new("max_time", timestamp_type(), true),
    ])
}

/// Arrow leaves them open; these are the ones that Parquet prescribes (LogicalTypes.md, "Maps").
fn names_of_a_map() -> MapFieldNames {
    MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() }
}
