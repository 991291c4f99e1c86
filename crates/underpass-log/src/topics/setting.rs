//! The settings of a topic that may be changed, one by one.
//!
//! Source: Kafka's `LogConfig.java`, for names, types and ranges; `ConfigDef.java`, for how a value
//! is written.

use std::ops::RangeInclusive;

use super::config::{ConfigFault, TopicConfig, Validation};

/// What may be set for a topic, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    MaxMessageBytes,
    TimestampAfterMaxMs,
    TimestampType,
    RetentionBytes,
    RetentionMs,
    SegmentBytes,
    SegmentMs,
    Validate,
}

/// What a value consists of, as the protocol numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Long = 5,
    List = 7,
}

impl Setting {
    pub(crate) const ALL: [Self; 8] = [
        Self::MaxMessageBytes,
        Self::TimestampAfterMaxMs,
        Self::TimestampType,
        Self::RetentionBytes,
        Self::RetentionMs,
        Self::SegmentBytes,
        Self::SegmentMs,
        Self::Validate,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MaxMessageBytes => "max.message.bytes",
            Self::TimestampAfterMaxMs => "message.timestamp.after.max.ms",
            Self::TimestampType => "message.timestamp.type",
            Self::RetentionBytes => "retention.bytes",
            Self::RetentionMs => "retention.ms",
            Self::SegmentBytes => "segment.bytes",
            Self::SegmentMs => "segment.ms",
            Self::Validate => "underpass.validate",
        }
    }

    /// All names, for a message.
    pub(super) fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// What a broker calls the default of all topics.
    pub(crate) const fn broker_name(self) -> &'static str {
        match self {
            Self::MaxMessageBytes => "message.max.bytes",
            Self::TimestampAfterMaxMs => "log.message.timestamp.after.max.ms",
            Self::TimestampType => "log.message.timestamp.type",
            Self::RetentionBytes => "log.retention.bytes",
            Self::RetentionMs => "log.retention.ms",
            Self::SegmentBytes => "log.segment.bytes",
            Self::SegmentMs => "log.roll.ms",
            Self::Validate => "underpass.validate",
        }
    }

    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::MaxMessageBytes | Self::SegmentBytes => Kind::Int,
            Self::TimestampType | Self::Validate => Kind::Text,
            Self::TimestampAfterMaxMs
            | Self::RetentionBytes
            | Self::RetentionMs
            | Self::SegmentMs => Kind::Long,
        }
    }

    /// What it does, in a line.
    pub(crate) const fn documentation(self) -> &'static str {
        match self {
            Self::MaxMessageBytes => "The largest record batch that is appended, as compressed.",
            Self::TimestampAfterMaxMs => {
                "How far in the future a record's time may be when it is produced."
            }
            Self::TimestampType => {
                "Whether records carry their producer's time or that of their appending."
            }
            Self::RetentionBytes => {
                "How many bytes of each partition are kept; whole segments are deleted."
            }
            Self::RetentionMs => {
                "For how long records are kept; a segment goes when its latest record is older."
            }
            Self::SegmentBytes => "How large a segment file gets before the next is begun.",
            Self::SegmentMs => "After how long a segment is followed by another, full or not.",
            Self::Validate => {
                "Whether a batch is appended by its header and checksum, or its records are read, \
                 too."
            }
        }
    }

    /// What it can be, for a message.
    pub(super) const fn values(self) -> &'static str {
        match self {
            Self::MaxMessageBytes => "a number of bytes up to 2147483647",
            Self::TimestampAfterMaxMs => "a number of ms",
            Self::TimestampType => "CreateTime or LogAppendTime",
            Self::RetentionBytes => "a number of bytes, or -1 for all",
            Self::RetentionMs => "a number of ms, or -1 for ever",
            Self::SegmentBytes => "a number of bytes from 14 to 2147483647",
            Self::SegmentMs => "a number of ms from 1 on",
            Self::Validate => "header or full",
        }
    }

    /// Sets it.
    pub(super) fn set(self, config: &mut TopicConfig, value: &str) -> Result<(), ConfigFault> {
        let fault = || ConfigFault::Value { setting: self, value: value.to_owned() };
        let int = |range| number(value, range).ok_or_else(fault);
        let long = |from: i64| number(value, from..=i64::MAX).ok_or_else(fault);
        match self {
            Self::MaxMessageBytes => config.max_message_bytes = int(0..=i32::MAX)?,
            Self::TimestampAfterMaxMs => config.timestamp_after_max_ms = long(0)?,
            Self::TimestampType => config.append_time = append_time(value).ok_or_else(fault)?,
            Self::RetentionBytes => config.retention_bytes = long(-1)?,
            Self::RetentionMs => config.retention_ms = long(-1)?,
            Self::SegmentBytes => config.segment_bytes = int(14..=i32::MAX)?,
            Self::SegmentMs => config.segment_ms = long(1)?,
            Self::Validate => config.validation = validation(value).ok_or_else(fault)?,
        }
        Ok(())
    }

    /// What it is, as it would be set.
    pub(crate) fn get(self, config: &TopicConfig) -> String {
        match self {
            Self::MaxMessageBytes => config.max_message_bytes.to_string(),
            Self::TimestampAfterMaxMs => config.timestamp_after_max_ms.to_string(),
            Self::TimestampType if config.append_time => "LogAppendTime".into(),
            Self::TimestampType => "CreateTime".into(),
            Self::RetentionBytes => config.retention_bytes.to_string(),
            Self::RetentionMs => config.retention_ms.to_string(),
            Self::SegmentBytes => config.segment_bytes.to_string(),
            Self::SegmentMs => config.segment_ms.to_string(),
            Self::Validate => match config.validation {
                Validation::Header => "header".into(),
                Validation::Full => "full".into(),
            },
        }
    }
}

/// Kafka trims what it reads as a number.
fn number<N: std::str::FromStr + PartialOrd>(text: &str, range: RangeInclusive<N>) -> Option<N> {
    text.trim().parse().ok().filter(|number| range.contains(number))
}

fn append_time(text: &str) -> Option<bool> {
    match text {
        "CreateTime" => Some(false),
        "LogAppendTime" => Some(true),
        _ => None,
    }
}

fn validation(text: &str) -> Option<Validation> {
    match text {
        "header" => Some(Validation::Header),
        "full" => Some(Validation::Full),
        _ => None,
    }
}
