//! What can be set of a log.

use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct LogConfig {
    /// A segment gets no larger, but for its first batch.
    pub segment_bytes: u64,
    /// A segment is closed when its first batch is this old.
    pub segment_age: Duration,
    /// Segments are deleted when their latest record is older.
    pub retention_age: Option<Duration>,
    /// The oldest segments are deleted while the others hold at least this much.
    pub retention_bytes: Option<u64>,
    /// Whether records carry the time of their appending, instead of what their producer says.
    pub append_time: bool,
}

impl Default for LogConfig {
    /// Kafka's: `log.segment.bytes`, `log.roll.hours`, `log.retention.hours`.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_age: 7 * DAY,
            retention_age: Some(7 * DAY),
            retention_bytes: None,
            append_time: false,
        }
    }
}
