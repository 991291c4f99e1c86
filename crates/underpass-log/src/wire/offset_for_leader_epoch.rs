//! Where the log of a leader epoch ends.
//!
//! Source: Kafka's `OffsetForLeaderEpochRequest.json`, `OffsetForLeaderEpochResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for the ends of leader epochs.
    struct OffsetForLeaderEpochRequest {
        replica_id: i32 [3..] = -2,
        topics: Vec<OffsetForLeaderTopic> [..],
    }

    /// Partitions of a topic.
    struct OffsetForLeaderTopic {
        topic: String [..],
        partitions: Vec<OffsetForLeaderPartition> [..],
    }

    /// A partition, and the epoch.
    struct OffsetForLeaderPartition {
        partition: i32 [..],
        current_leader_epoch: i32 [..] = -1,
        leader_epoch: i32 [..],
    }

    /// The ends.
    struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<OffsetForLeaderTopicResult> [..],
    }

    /// Those of a topic.
    struct OffsetForLeaderTopicResult {
        topic: String [..],
        partitions: Vec<EpochEndOffset> [..],
    }

    /// Where an epoch ends.
    struct EpochEndOffset {
        error_code: ErrorCode [..],
        partition: i32 [..],
        leader_epoch: i32 [..] = -1,
        end_offset: i64 [..] = -1,
    }
}
