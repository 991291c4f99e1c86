//! Record batches to append.
//!
//! `ProduceTopic` and `ProducePartition` are `TopicProduceData` and
//! `PartitionProduceData` in Kafka.
//!
//! Source: Kafka's `ProduceRequest.json`, `ProduceResponse.json`.

use super::{ErrorCode, Records};

schema! {
    /// Record batches for some partitions. With `acks` of 0 there is no response.
    struct ProduceRequest {
        transactional_id: Option<String> [..],
        acks: i16 [..],
        timeout_ms: i32 [..],
        topic_data: Vec<ProduceTopic> [..],
    }

    /// Those of a topic.
    struct ProduceTopic {
        name: String [..],
        partition_data: Vec<ProducePartition> [..],
    }

    /// Those of a partition: one batch, in versions from 3 on.
    struct ProducePartition {
        index: i32 [..],
        records: Records [..],
    }

    /// Where they were appended.
    struct ProduceResponse {
        responses: Vec<TopicProduceResponse> [..],
        throttle_time_ms: i32 [..],
    }

    /// The outcomes of a topic.
    struct TopicProduceResponse {
        name: String [..],
        partition_responses: Vec<PartitionProduceResponse> [..],
    }

    /// The outcome of a partition.
    struct PartitionProduceResponse {
        index: i32 [..],
        error_code: ErrorCode [..],
        base_offset: i64 [..],
        log_append_time_ms: i64 [..] = -1,
        log_start_offset: i64 [5..] = -1,
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        error_message: Option<String> [8..],
    }

    /// A record that is the reason why its batch was refused.
    struct BatchIndexAndErrorMessage {
        batch_index: i32 [8..],
        batch_index_error_message: Option<String> [8..],
    }
}
