//! How many bytes partitions have on disk.
//!
//! Source: Kafka's `DescribeLogDirsRequest.json`, `DescribeLogDirsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for partitions' directories; null topics are all.
    struct DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>> [..],
    }

    /// Partitions of a topic.
    struct DescribableLogDirTopic {
        topic: String [..],
        partitions: Vec<i32> [..],
    }

    /// The directories.
    struct DescribeLogDirsResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [3..],
        results: Vec<DescribeLogDirsResult> [..],
    }

    /// A directory.
    struct DescribeLogDirsResult {
        error_code: ErrorCode [..],
        log_dir: String [..],
        topics: Vec<DescribeLogDirsTopic> [..],
        total_bytes: i64 [4..] = -1,
        usable_bytes: i64 [4..] = -1,
    }

    /// What a topic has in it.
    struct DescribeLogDirsTopic {
        name: String [..],
        partitions: Vec<DescribeLogDirsPartition> [..],
    }

    /// What a partition has in it.
    struct DescribeLogDirsPartition {
        partition_index: i32 [..],
        partition_size: i64 [..],
        offset_lag: i64 [..],
        is_future_key: bool [..],
    }
}
