//! Which series and times are read: the flags that commands for samples have.

use clap::Args;
use underpass_tsdb::Block;
use underpass_tsdb::query::Selection;
use underpass_tsdb::selector::Selector;
use underpass_tsdb::time::{TimeRange, parse_time};

/// Which samples are read.
#[derive(Debug, Args)]
pub(crate) struct Selecting {
    /// Read only series that match, such as 'up{job="node",instance!~"test.*"}'.
    ///
    /// As Prometheus selects them: = and !=, =~ and !~ with a regular expression that must match
    /// the whole value; '{"a.b","c.d"="v"}' for names with other characters. Given several times, a
    /// series is read if one of them matches it.
    #[arg(long = "match", value_name = "SELECTOR")]
    matching: Vec<Selector>,

    /// Read no sample before this time.
    ///
    /// In milliseconds since 1970 (1700000000000), in seconds (1700000000s or 1700000000.5), or as
    /// a date (2023-11-14T22:13:20Z).
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value_t = i64::MIN)]
    #[arg(allow_hyphen_values = true, hide_default_value = true)]
    min_time: i64,

    /// Read no sample after this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time, default_value_t = i64::MAX)]
    #[arg(allow_hyphen_values = true, hide_default_value = true)]
    max_time: i64,
}

impl Selecting {
    pub(crate) const fn range(&self) -> TimeRange {
        TimeRange { min: self.min_time, max: self.max_time }
    }

    /// Whether every sample is read.
    pub(crate) fn is_all(&self) -> bool {
        self.matching.is_empty() && self.range() == TimeRange::ALL
    }

    pub(crate) fn of<'b>(&self, blocks: &'b [Block]) -> Selection<'b> {
        Selection::new(blocks, self.matching.clone(), self.range())
    }
}
