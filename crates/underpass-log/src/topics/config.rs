//! The configuration of a topic: what may be set, and what it is until somebody sets it.
//!
//! Names, values and defaults are those of Kafka. What it can set and what would do nothing here is
//! refused rather than stored; a setting that has one value here is shown, and accepted with it.
//!
//! Source: Kafka's `TopicConfig.java` and `LogConfig.java`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::setting::{Kind, Setting};
use crate::log::LogConfig;

/// What was set for one topic, as it was written.
pub(crate) type Overrides = BTreeMap<Setting, String>;

/// How closely a batch is looked at before it is appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Validation {
    /// Its header and its checksum.
    Header,
    /// Also its records, which are decompressed for that.
    Full,
}

/// What holds for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicConfig {
    /// For how long records are kept, in ms; -1 for ever.
    pub(crate) retention_ms: i64,
    /// How many bytes of each partition are kept; -1 for all.
    pub(crate) retention_bytes: i64,
    /// After how long a segment is followed by another, in ms.
    pub(crate) segment_ms: i64,
    /// How large a segment gets.
    pub(crate) segment_bytes: i32,
    /// The largest batch.
    pub(crate) max_message_bytes: i32,
    /// Whether records carry the time of their appending rather than the producer's.
    pub(crate) append_time: bool,
    /// How far in the future a record's time may be, in ms.
    pub(crate) timestamp_after_max_ms: i64,
    /// How closely a batch is looked at.
    pub(crate) validation: Validation,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            retention_ms: 7 * 24 * 3_600_000,
            retention_bytes: -1,
            segment_ms: 7 * 24 * 3_600_000,
            segment_bytes: 1 << 30,
            // One MiB and what encloses a batch in a message set of old.
            max_message_bytes: (1 << 20) + 12,
            append_time: false,
            timestamp_after_max_ms: 3_600_000,
            validation: Validation::Header,
        }
    }
}

/// Why a topic cannot be configured so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigFault {
    #[error("a topic has no setting '{name}'; there are {}", Setting::names())]
    Unknown { name: String },
    #[error("'{value}' is not a value of {}: it is {}", setting.name(), setting.values())]
    Value { setting: Setting, value: String },
    #[error("{name} can only be '{only}' here, not '{value}': {why}")]
    Fixed { name: &'static str, only: &'static str, value: String, why: &'static str },
    #[error("'{name}' is not a list, so it cannot be added to or subtracted from")]
    NotAList { name: String },
}

impl TopicConfig {
    /// This, with what was set for one topic.
    pub(crate) fn with(&self, overrides: &Overrides) -> Result<Self, ConfigFault> {
        let mut config = self.clone();
        for (setting, value) in overrides {
            setting.set(&mut config, value)?;
        }
        Ok(config)
    }

    /// What holds for topics until something is set for them.
    pub(crate) fn of_server(settings: &[(String, String)]) -> Result<Self, ConfigFault> {
        let mut overrides = Overrides::new();
        for (name, value) in settings {
            overrides.extend(read(name, value)?);
        }
        Self::default().with(&overrides)
    }

    /// What of it is for logs.
    pub(crate) fn log(&self) -> LogConfig {
        LogConfig {
            segment_bytes: u64::from(self.segment_bytes.unsigned_abs()),
            segment_age: Duration::from_millis(self.segment_ms.unsigned_abs()),
            retention_age: u64::try_from(self.retention_ms).ok().map(Duration::from_millis),
            retention_bytes: u64::try_from(self.retention_bytes).ok(),
            append_time: self.append_time,
        }
    }
}

/// Something that has one value here, whatever the topic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    pub(crate) name: &'static str,
    pub(crate) value: &'static str,
    pub(crate) kind: Kind,
    /// Why it cannot be anything else.
    pub(crate) why: &'static str,
}

/// What clients ask for by name, and tools write down with the rest.
pub(crate) const FIXED: [Fixed; 5] = [
    Fixed {
        name: "cleanup.policy",
        value: "delete",
        kind: Kind::List,
        why: "logs are not compacted",
    },
    Fixed {
        name: "compression.type",
        value: "producer",
        kind: Kind::Text,
        why: "batches are kept as their producer compressed them",
    },
    Fixed {
        name: "index.interval.bytes",
        value: "4096",
        kind: Kind::Int,
        why: "fetches rely on it",
    },
    Fixed { name: "min.insync.replicas", value: "1", kind: Kind::Int, why: "there is one broker" },
    Fixed {
        name: "unclean.leader.election.enable",
        value: "false",
        kind: Kind::Boolean,
        why: "there is one replica, which leads",
    },
];

/// Reads one setting as a client gives it. `None` if it cannot be anything else here.
pub(crate) fn read(name: &str, value: &str) -> Result<Option<(Setting, String)>, ConfigFault> {
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.name == name) {
        if fixed.value == value {
            return Ok(None);
        }
        let Fixed { name, value: only, why, .. } = *fixed;
        return Err(ConfigFault::Fixed { name, only, value: value.to_owned(), why });
    }
    let setting = changeable(name)?;
    setting.set(&mut TopicConfig::default(), value)?;
    Ok(Some((setting, value.to_owned())))
}

/// Finds a setting by its name. `None` if it cannot be changed here.
pub(crate) fn find(name: &str) -> Result<Option<Setting>, ConfigFault> {
    if FIXED.iter().any(|fixed| fixed.name == name) {
        return Ok(None);
    }
    changeable(name).map(Some)
}

fn changeable(name: &str) -> Result<Setting, ConfigFault> {
    let found = Setting::ALL.into_iter().find(|setting| setting.name() == name);
    found.ok_or_else(|| ConfigFault::Unknown { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overrides(pairs: &[(&str, &str)]) -> Overrides {
        pairs.iter().filter_map(|(name, value)| read(name, value).unwrap()).collect()
    }

    #[test]
    fn what_is_set_takes_the_place_of_the_default() {
        let default = TopicConfig::default();
        let set = overrides(&[
            ("retention.ms", "-1"),
            ("retention.bytes", "1000"),
            ("segment.ms", "1"),
            ("segment.bytes", "2147483647"),
            ("max.message.bytes", "0"),
            ("message.timestamp.type", "LogAppendTime"),
            ("message.timestamp.after.max.ms", "9223372036854775807"),
            ("underpass.validate", "full"),
        ]);
        let wanted = TopicConfig {
            retention_ms: -1,
            retention_bytes: 1000,
            segment_ms: 1,
            segment_bytes: i32::MAX,
            max_message_bytes: 0,
            append_time: true,
            timestamp_after_max_ms: i64::MAX,
            validation: Validation::Full,
        };
        assert_eq!(default.with(&set), Ok(wanted));
        assert_eq!(default.with(&overrides(&[("cleanup.policy", "delete")])), Ok(default));
    }

    #[test]
    fn values_are_read_back_as_kafka_prints_them() {
        let config = TopicConfig::default();
        // `kafka-configs --describe --all` of a topic of Kafka 4.1.
        let wanted = [
            ("max.message.bytes", "1048588"),
            ("message.timestamp.after.max.ms", "3600000"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.bytes", "-1"),
            ("retention.ms", "604800000"),
            ("segment.bytes", "1073741824"),
            ("segment.ms", "604800000"),
            ("underpass.validate", "header"),
        ];
        assert_eq!(Setting::ALL.map(|setting| setting.name()), wanted.map(|(name, _)| name));
        assert_eq!(Setting::ALL.map(|setting| setting.get(&config)), wanted.map(|(_, v)| v));
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_could() {
        let said = |name, value| read(name, value).unwrap_err().to_string();
        assert_eq!(
            said("retention.ms", "7d"),
            "'7d' is not a value of retention.ms: it is a number of ms, or -1 for ever"
        );
        assert_eq!(
            said("cleanup.policy", "compact"),
            "cleanup.policy can only be 'delete' here, not 'compact': logs are not compacted"
        );
        assert!(said("flush.ms", "1").starts_with("a topic has no setting 'flush.ms'; there are "));
        let wrong = [
            ("retention.ms", "-2"),
            ("retention.bytes", "-2"),
            ("segment.ms", "0"),
            ("segment.bytes", "13"),
            ("segment.bytes", "2147483648"),
            ("max.message.bytes", "-1"),
            ("message.timestamp.type", "logappendtime"),
            ("message.timestamp.after.max.ms", "-1"),
            ("underpass.validate", "Full"),
            ("retention.ms", ""),
            ("retention.ms", "9223372036854775808"),
        ];
        for (name, value) in wrong {
            assert!(said(name, value).contains(" is not a value of "), "{name}={value}");
        }
    }
}
