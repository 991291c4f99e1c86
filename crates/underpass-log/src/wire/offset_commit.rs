//! Offsets that a group has come to.
//!
//! Source: Kafka's `OffsetCommitRequest.json`, `OffsetCommitResponse.json`.

use super::ErrorCode;

schema! {
    /// Offsets to keep.
    struct OffsetCommitRequest {
        group_id: String [..],
        generation_id_or_member_epoch: i32 [..] = -1,
        member_id: String [..],
        group_instance_id: Option<String> [7..],
        retention_time_ms: i64 [..=4] = -1,
        topics: Vec<OffsetCommitRequestTopic> [..],
    }

    /// Those of a topic.
    struct OffsetCommitRequestTopic {
        name: String [..],
        partitions: Vec<OffsetCommitRequestPartition> [..],
    }

    /// That of a partition, with a note of the member.
    struct OffsetCommitRequestPartition {
        partition_index: i32 [..],
        committed_offset: i64 [..],
        committed_leader_epoch: i32 [6..] = -1,
        committed_metadata: Option<String> [..],
    }

    /// Whether they are kept.
    struct OffsetCommitResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetCommitResponseTopic> [..],
    }

    /// The outcomes of a topic.
    struct OffsetCommitResponseTopic {
        name: String [..],
        partitions: Vec<OffsetCommitResponsePartition> [..],
    }

    /// The outcome of a partition.
    struct OffsetCommitResponsePartition {
        partition_index: i32 [..],
        error_code: ErrorCode [..],
    }
}
