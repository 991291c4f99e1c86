//! Which producers wrote to a partition.
//!
//! Source: Kafka's `DescribeProducersRequest.json`, `DescribeProducersResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for producers.
    struct DescribeProducersRequest {
        topics: Vec<DescribeProducersTopic> [..],
    }

    /// Partitions of a topic.
    struct DescribeProducersTopic {
        name: String [..],
        partition_indexes: Vec<i32> [..],
    }

    /// The producers.
    struct DescribeProducersResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<DescribeProducersTopicResponse> [..],
    }

    /// Those of a topic.
    struct DescribeProducersTopicResponse {
        name: String [..],
        partitions: Vec<DescribeProducersPartitionResponse> [..],
    }

    /// Those of a partition.
    struct DescribeProducersPartitionResponse {
        partition_index: i32 [..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        active_producers: Vec<ProducerState> [..],
    }

    /// A producer, and what it wrote last.
    struct ProducerState {
        producer_id: i64 [..],
        producer_epoch: i32 [..],
        last_sequence: i32 [..] = -1,
        last_timestamp: i64 [..] = -1,
        coordinator_epoch: i32 [..],
        current_txn_start_offset: i64 [..] = -1,
    }
}
