//! Samples of blocks as text: promtool's, OpenMetrics, CSV, JSON lines.

mod clock;
mod number;
mod page;
mod pipeline;
mod printable;
pub(crate) mod quote;

/// A form of text for samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As `promtool tsdb dump`.
    Text,
    /// As `promtool tsdb dump-openmetrics`: what Prometheus makes blocks of again.
    OpenMetrics,
    /// A table of comma-separated values.
    Csv,
    /// A JSON object a line.
    JsonLines,
}
