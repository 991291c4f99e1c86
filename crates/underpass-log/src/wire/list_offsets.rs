//! Offsets by time, and the first and last of a partition.
//!
//! Source: Kafka's `ListOffsetsRequest.json`, `ListOffsetsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for offsets.
    struct ListOffsetsRequest {
        replica_id: i32 [..],
        isolation_level: i8 [2..],
        topics: Vec<ListOffsetsTopic> [..],
    }

    /// Partitions of a topic.
    struct ListOffsetsTopic {
        name: String [..],
        partitions: Vec<ListOffsetsPartition> [..],
    }

    /// A time; or -1 for the end, -2 for the start, -3 for the record with the latest time.
    struct ListOffsetsPartition {
        partition_index: i32 [..],
        current_leader_epoch: i32 [4..] = -1,
        timestamp: i64 [..],
    }

    /// Offsets.
    struct ListOffsetsResponse {
        throttle_time_ms: i32 [2..],
        topics: Vec<ListOffsetsTopicResponse> [..],
    }

    /// Those of a topic.
    struct ListOffsetsTopicResponse {
        name: String [..],
        partitions: Vec<ListOffsetsPartitionResponse> [..],
    }

    /// That of a partition, or -1.
    struct ListOffsetsPartitionResponse {
        partition_index: i32 [..],
        error_code: ErrorCode [..],
        timestamp: i64 [..] = -1,
        offset: i64 [..] = -1,
        leader_epoch: i32 [4..] = -1,
    }
}
