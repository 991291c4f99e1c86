//! Topics get more partitions.
//!
//! Source: Kafka's `CreatePartitionsRequest.json`, `CreatePartitionsResponse.json`.

use super::ErrorCode;

schema! {
    /// How many partitions topics are to have.
    struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic> [..],
        timeout_ms: i32 [..],
        validate_only: bool [..],
    }

    /// A topic, and the number of all its partitions.
    struct CreatePartitionsTopic {
        name: String [..],
        count: i32 [..],
        assignments: Option<Vec<CreatePartitionsAssignment>> [..],
    }

    /// The brokers that a new partition is to be on.
    struct CreatePartitionsAssignment {
        broker_ids: Vec<i32> [..],
    }

    /// The outcomes.
    struct CreatePartitionsResponse {
        throttle_time_ms: i32 [..],
        results: Vec<CreatePartitionsTopicResult> [..],
    }

    /// The outcome of a topic.
    struct CreatePartitionsTopicResult {
        name: String [..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
    }
}
