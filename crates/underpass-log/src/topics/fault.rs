//! Why a topic cannot be made, changed or deleted, and what the protocol calls it.

use std::io;
use std::path::PathBuf;

use super::catalog::{ALL_PARTITIONS_MAX, PARTITIONS_MAX};
use super::config::ConfigFault;
use super::directory::DirectoryError;
use super::name::NameFault;
use crate::log::StorageError;
use crate::wire::ErrorCode;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopicFault {
    #[error(transparent)]
    Name(#[from] NameFault),
    #[error("topic '{0}' exists")]
    Exists(String),
    #[error(
        "topic '{name}' would be taken for '{other}' where metrics replace dots by underscores"
    )]
    Collides { name: String, other: String },
    #[error("there is no topic '{0}'")]
    Unknown(String),
    #[error("a topic has 1 to {PARTITIONS_MAX} partitions, not {0}")]
    Partitions(i64),
    #[error("topic '{name}' has {had} partitions, and {wanted} are not more")]
    NotMore { name: String, had: u32, wanted: i64 },
    #[error(
        "with {wanted} more there would be {all} partitions, and at most {ALL_PARTITIONS_MAX} are \
         kept"
    )]
    TooMany { wanted: u32, all: u32 },
    #[error(transparent)]
    Config(#[from] ConfigFault),
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(
        "{} is there, and no topic that topics.json has is in it: move it away", .0.display()
    )]
    InTheWay(PathBuf),
    #[error("no identifier for topic '{0}'")]
    Identifier(String, #[source] io::Error),
}

impl TopicFault {
    /// What the protocol calls it.
    pub(crate) const fn code(&self) -> ErrorCode {
        match self {
            Self::Name(_) | Self::Collides { .. } => ErrorCode::InvalidTopicException,
            Self::Exists(_) => ErrorCode::TopicAlreadyExists,
            Self::Unknown(_) => ErrorCode::UnknownTopicOrPartition,
            Self::Partitions(_) | Self::NotMore { .. } => ErrorCode::InvalidPartitions,
            Self::TooMany { .. } => ErrorCode::PolicyViolation,
            Self::Config(_) => ErrorCode::InvalidConfig,
            Self::Directory(_) | Self::Storage(_) | Self::InTheWay(_) | Self::Identifier(..) => {
                ErrorCode::KafkaStorageError
            }
        }
    }
}
