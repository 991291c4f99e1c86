//! What a block holds, as figures that text, JSON and page show.

use serde::Serialize;

use super::activity::Activity;
use super::fill::Fill;
use super::load::Load;

/// How much of a block is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The postings offset table and the length of each postings list.
    Postings,
    /// Every series' entry in the index.
    Series,
    /// Every chunk as well.
    Chunks,
}

/// The figures of one block.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The block's name, which is its ULID.
    pub block: String,
    /// What was read.
    pub depth: Depth,
    /// The selectors that series had to match; none where all series count.
    pub selectors: Vec<String>,
    /// The first time of the block's range in ms, as its meta.json says or else its series.
    pub min_time: Option<i64>,
    /// The first time after the block's range, in ms.
    pub max_time: Option<i64>,
    /// What all series take; of [`Depth::Postings`] only their number is known.
    pub total: Load,
    /// Samples, where chunks were read or meta.json says so.
    pub samples: Option<u64>,
    /// Label names that occur.
    pub label_names: u64,
    /// Label pairs that occur.
    pub label_pairs: u64,
    /// Labels of all series together.
    pub label_entries: u64,
    /// What the files of the block take.
    pub files: Files,
    /// Chunks whose size could not be told from the index; see `sizes`.
    pub chunks_unmeasured: u64,
    /// The lists.
    pub top: Lists,
    /// Series over time.
    pub activity: Option<Activity>,
    /// How full chunks are.
    pub fill: Option<Fill>,
}

/// Bytes of a block's files, whole, whatever the selectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// All segments.
    pub chunks: u64,
    /// The index.
    pub index: u64,
    /// In the index: the symbol table.
    pub symbols: u64,
    /// In the index: the series' entries.
    pub series: u64,
    /// In the index: the postings lists.
    pub postings: u64,
    /// In the index: the postings offset table.
    pub postings_table: u64,
    /// The tombstones.
    pub tombstones: u64,
}

impl Files {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.chunks.saturating_add(self.index).saturating_add(self.tombstones)
    }

    /// In the index: headers, obsolete tables and padding.
    #[must_use]
    pub const fn index_rest(&self) -> u64 {
        let parts = [self.symbols, self.series, self.postings, self.postings_table];
        let [a, b, c, d] = parts;
        self.index.saturating_sub(a).saturating_sub(b).saturating_sub(c).saturating_sub(d)
    }
}

/// The greatest of each kind, greatest first, equals in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Lists {
    /// Metrics by their series.
    pub metrics_by_series: Vec<Metric>,
    /// Metrics by their bytes in chunks and index.
    pub metrics_by_bytes: Vec<Metric>,
    /// Series by their bytes in chunks and index.
    pub series_by_bytes: Vec<Series>,
    /// Label names by their number of values.
    pub label_names_by_values: Vec<LabelName>,
    /// Label names by the bytes of their values.
    pub label_names_by_value_bytes: Vec<LabelName>,
    /// Label names by churn.
    pub label_names_by_churn: Vec<LabelName>,
    /// Label pairs by their series.
    pub label_pairs_by_series: Vec<LabelPair>,
    /// Label pairs by churn.
    pub label_pairs_by_churn: Vec<LabelPair>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Its name; `None` for the series that have none.
    pub name: Option<String>,
    /// What it takes.
    #[serde(flatten)]
    pub load: Load,
}

/// A series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Series {
    /// As Prometheus writes it: `{__name__="up", job="node"}`.
    pub labels: String,
    /// What it takes.
    #[serde(flatten)]
    pub load: Load,
}

/// A label name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelName {
    /// The name.
    pub name: String,
    /// How many values it has.
    pub values: u64,
    /// Bytes of these values.
    pub value_bytes: u64,
    /// Series that have it.
    pub series: u64,
    /// The time these series had no samples, in series that had none at all.
    pub churn: Option<u64>,
}

/// A label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelPair {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Series that have it.
    pub series: u64,
    /// The time these series had no samples, in series that had none at all.
    pub churn: Option<u64>,
}
