//! Some offsets of a group are deleted.
//!
//! Source: Kafka's `OffsetDeleteRequest.json`, `OffsetDeleteResponse.json`.

use super::ErrorCode;

schema! {
    /// The offsets to delete.
    struct OffsetDeleteRequest {
        group_id: String [..],
        topics: Vec<OffsetDeleteRequestTopic> [..],
    }

    /// Those of a topic.
    struct OffsetDeleteRequestTopic {
        name: String [..],
        partitions: Vec<OffsetDeleteRequestPartition> [..],
    }

    /// That of a partition.
    struct OffsetDeleteRequestPartition {
        partition_index: i32 [..],
    }

    /// Whether they are deleted.
    struct OffsetDeleteResponse {
        error_code: ErrorCode [..],
        throttle_time_ms: i32 [..],
        topics: Vec<OffsetDeleteResponseTopic> [..],
    }

    /// The outcomes of a topic.
    struct OffsetDeleteResponseTopic {
        name: String [..],
        partitions: Vec<OffsetDeleteResponsePartition> [..],
    }

    /// The outcome of a partition.
    struct OffsetDeleteResponsePartition {
        partition_index: i32 [..],
        error_code: ErrorCode [..],
    }
}
