//! Topics are created.
//!
//! Source: Kafka's `CreateTopicsRequest.json`, `CreateTopicsResponse.json`.

use super::ErrorCode;
use crate::uuid::Uuid;

schema! {
    /// The topics to create.
    struct CreateTopicsRequest {
        topics: Vec<CreatableTopic> [..],
        timeout_ms: i32 [..] = 60000,
        validate_only: bool [..],
    }

    /// A topic.
    struct CreatableTopic {
        name: String [..],
        num_partitions: i32 [..],
        replication_factor: i16 [..],
        assignments: Vec<CreatableReplicaAssignment> [..],
        configs: Vec<CreatableTopicConfig> [..],
    }

    /// The brokers that a partition is to be on.
    struct CreatableReplicaAssignment {
        partition_index: i32 [..],
        broker_ids: Vec<i32> [..],
    }

    /// A setting.
    struct CreatableTopicConfig {
        name: String [..],
        value: Option<String> [..],
    }

    /// The outcomes.
    struct CreateTopicsResponse {
        throttle_time_ms: i32 [..],
        topics: Vec<CreatableTopicResult> [..],
    }

    /// The outcome of a topic, and what it is.
    struct CreatableTopicResult {
        name: String [..],
        topic_id: Uuid [7..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        num_partitions: i32 [5..] = -1,
        replication_factor: i16 [5..] = -1,
        configs: Option<Vec<CreatableTopicConfigs>> [5..],
    } tagged {
        0: topic_config_error_code: ErrorCode [5..],
    }

    /// A setting as it is now.
    struct CreatableTopicConfigs {
        name: String [5..],
        value: Option<String> [5..],
        read_only: bool [5..],
        config_source: i8 [5..] = -1,
        is_sensitive: bool [5..],
    }
}
