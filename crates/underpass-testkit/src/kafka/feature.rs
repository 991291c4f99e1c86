//! What is asked of every client, and what comes of it.

use std::fmt;

/// Something that a client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Writes with the client's own defaults, and reads from an offset.
    Produce,
    /// Writes as an idempotent producer.
    Idempotent,
    /// Writes batches of this codec.
    Codec(&'static str),
    /// Reads what another client wrote, with every codec.
    Consume,
    /// Asks for offsets by time.
    Times,
    /// Reads in a group, commits, and continues from there.
    Group,
    /// The same as a static member.
    StaticMember,
    /// Shares partitions with another member.
    TwoMembers,
    /// Creates a topic with partitions and a configuration.
    CreateTopic,
    /// Gives a topic more partitions.
    AddPartitions,
    /// Reads and changes a topic's configuration.
    Configs,
    /// Deletes records before an offset.
    DeleteRecords,
    /// Lists, describes and deletes groups.
    AdminGroups,
    /// Deletes a topic.
    DeleteTopic,
}

impl Feature {
    /// Every one, in the order in which they are tried.
    pub const ALL: [Self; 17] = [
        Self::Produce,
        Self::Idempotent,
        Self::Codec("gzip"),
        Self::Codec("snappy"),
        Self::Codec("lz4"),
        Self::Codec("zstd"),
        Self::Consume,
        Self::Times,
        Self::Group,
        Self::StaticMember,
        Self::TwoMembers,
        Self::CreateTopic,
        Self::AddPartitions,
        Self::Configs,
        Self::DeleteRecords,
        Self::AdminGroups,
        Self::DeleteTopic,
    ];

    /// The word that programs know it by.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::Idempotent => "idempotent",
            Self::Codec(codec) => codec,
            Self::Consume => "consume",
            Self::Times => "times",
            Self::Group => "group",
            Self::StaticMember => "static-member",
            Self::TwoMembers => "two-members",
            Self::CreateTopic => "create-topic",
            Self::AddPartitions => "add-partitions",
            Self::Configs => "configs",
            Self::DeleteRecords => "delete-records",
            Self::AdminGroups => "admin-groups",
            Self::DeleteTopic => "delete-topic",
        }
    }

    /// How the page says it.
    #[must_use]
    pub fn title(self) -> String {
        match self {
            Self::Produce => "produce with default settings, read from an offset".to_owned(),
            Self::Idempotent => "idempotent producer".to_owned(),
            Self::Codec(codec) => format!("{codec} arrives compressed"),
            Self::Consume => "read all codecs, written by kcat".to_owned(),
            Self::Times => "offsets by time".to_owned(),
            Self::Group => "group: read, commit, continue".to_owned(),
            Self::StaticMember => "static member".to_owned(),
            Self::TwoMembers => "two members share partitions".to_owned(),
            Self::CreateTopic => "create a topic".to_owned(),
            Self::AddPartitions => "add partitions".to_owned(),
            Self::Configs => "describe and alter configuration".to_owned(),
            Self::DeleteRecords => "delete records".to_owned(),
            Self::AdminGroups => "list, describe, delete groups".to_owned(),
            Self::DeleteTopic => "delete a topic".to_owned(),
        }
    }
}

/// What came of a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It does what it should.
    Yes,
    /// It does not, and why.
    No(String),
    /// The client has no such call.
    Cannot,
}

impl Answer {
    /// Reads `yes`, `cannot`, or `no WHY`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.trim() {
            "yes" => Self::Yes,
            "cannot" => Self::Cannot,
            other => Self::No(other.strip_prefix("no ").unwrap_or(other).to_owned()),
        }
    }
}

/// A cell of the page.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yes => "yes",
            Self::No(_) => "no",
            Self::Cannot => "–",
        })
    }
}
