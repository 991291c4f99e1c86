//! The records before an offset are deleted.
//!
//! Source: Kafka's `DeleteRecordsRequest.json`, `DeleteRecordsResponse.json`.

use super::ErrorCode;

schema! {
    /// The offsets before which records are deleted.
    struct DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic> [..],
        timeout_ms: i32 [..],
    }

    /// Those of a topic.
    struct DeleteRecordsTopic {
        name: String [..],
        partitions: Vec<DeleteRecordsPartition> [..],
    }

    /// That of a partition; -1 is its high watermark.
    struct DeleteRecordsPartition {
        partition_index: i32 [..],
        offset: i64 [..],
    }

    /// The outcomes.
    struct DeleteRecordsResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<DeleteRecordsTopicResult> [..],
    }

    /// The outcomes of a topic.
    struct DeleteRecordsTopicResult {
        name: String [..],
        partitions: Vec<DeleteRecordsPartitionResult> [..],
    }

    /// The first offset of a partition.
    struct DeleteRecordsPartitionResult {
        partition_index: i32 [..],
        low_watermark: i64 [..],
        error_code: ErrorCode [..],
    }
}
