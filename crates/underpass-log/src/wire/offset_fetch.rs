//! Where a group stopped reading. Version 8 asks for many groups at once, in separate fields.
//!
//! Source: Kafka's `OffsetFetchRequest.json`, `OffsetFetchResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for offsets; null topics are all that the group has.
    struct OffsetFetchRequest {
        group_id: String [..=7],
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7, null 2..=7],
        groups: Vec<OffsetFetchRequestGroup> [8..],
        require_stable: bool [7..],
    }

    /// Partitions of a topic.
    struct OffsetFetchRequestTopic {
        name: String [..],
        partition_indexes: Vec<i32> [..],
    }

    /// Topics of a group.
    struct OffsetFetchRequestGroup {
        group_id: String [8..],
        topics: Option<Vec<OffsetFetchRequestTopic>> [8..],
    }

    /// The offsets.
    struct OffsetFetchResponse {
        throttle_time_ms: i32 [3..],
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        error_code: ErrorCode [2..=7],
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    /// Those of a topic.
    struct OffsetFetchResponseTopic {
        name: String [..],
        partitions: Vec<OffsetFetchResponsePartition> [..],
    }

    /// That of a partition, or -1.
    struct OffsetFetchResponsePartition {
        partition_index: i32 [..],
        committed_offset: i64 [..],
        committed_leader_epoch: i32 [5..] = -1,
        metadata: Option<String> [..],
        error_code: ErrorCode [..],
    }

    /// Those of a group.
    struct OffsetFetchResponseGroup {
        group_id: String [8..],
        topics: Vec<OffsetFetchResponseTopic> [8..],
        error_code: ErrorCode [8..],
    }
}
