//! The messages of the Kafka protocol: what a frame says, and how it is said.
//!
//! One definition a message both reads and writes it, in every version that is accepted. What is
//! read comes from anyone: a count is compared with what is left of the frame, and what it makes
//! necessary with the frame's budget, before anything is allocated.
//!
//! Source: Kafka's protocol guide; its message definitions, in `common/message/*.json`.

#[macro_use]
mod schema;

mod api_key;
mod error_code;
mod field;
mod reader;
mod records;
mod writer;

pub(crate) mod alter_configs;
pub(crate) mod api_versions;
pub(crate) mod consumer_protocol;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
pub(crate) mod describe_acls;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_groups;
pub(crate) mod describe_log_dirs;
pub(crate) mod describe_producers;
pub(crate) mod fetch;
pub(crate) mod find_coordinator;
pub(crate) mod header;
pub(crate) mod heartbeat;
pub(crate) mod incremental_alter_configs;
pub(crate) mod init_producer_id;
pub(crate) mod join_group;
pub(crate) mod leave_group;
pub(crate) mod list_groups;
pub(crate) mod list_offsets;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
pub(crate) mod offset_commit;
pub(crate) mod offset_delete;
pub(crate) mod offset_fetch;
pub(crate) mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod sync_group;

pub(crate) use api_key::{ApiKey, Request};
pub(crate) use error_code::ErrorCode;
pub(crate) use reader::{Malformed, Reader};
pub(crate) use records::Records;
pub(crate) use schema::Message;
pub(crate) use writer::{FileRange, Piece, Writer};

#[cfg(test)]
pub(crate) mod filled;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
