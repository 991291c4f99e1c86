//! What a block holds and what it costs: cardinality, bytes on disk, churn, how full chunks are.
//!
//! promtool says which labels have many values and not what they take on disk. Here the bytes of
//! chunks and index are told by metric and by series, from the index alone: see `sizes`. Churn is
//! promtool's, so that the two can be compared: the part of the block's time range that series do
//! not cover, added up, in series.
//!
//! Source: Prometheus cmd/promtool/tsdb.go, `analyzeBlock`.

mod activity;
mod fill;
mod instant;
mod load;
mod ranking;
pub mod report;
mod sizes;
mod tally;
pub mod text;
mod top;
mod words;

pub use activity::Activity;
pub use fill::{EncodingLoad, Fill};
pub use load::Load;
