//! Partitions that are moving to other brokers: none, where there is one broker.
//!
//! Source: Kafka's `ListPartitionReassignmentsRequest.json`,
//! `ListPartitionReassignmentsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for partitions that are moving; null topics are all.
    struct ListPartitionReassignmentsRequest {
        timeout_ms: i32 [..] = 60000,
        topics: Option<Vec<ListPartitionReassignmentsTopics>> [..] = None,
    }

    /// Partitions of a topic.
    struct ListPartitionReassignmentsTopics {
        name: String [..],
        partition_indexes: Vec<i32> [..],
    }

    /// Those that are moving.
    struct ListPartitionReassignmentsResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        topics: Vec<OngoingTopicReassignment> [..],
    }

    /// Those of a topic.
    struct OngoingTopicReassignment {
        name: String [..],
        partitions: Vec<OngoingPartitionReassignment> [..],
    }

    /// The brokers that a partition is on, comes to and leaves.
    struct OngoingPartitionReassignment {
        partition_index: i32 [..],
        replicas: Vec<i32> [..],
        adding_replicas: Vec<i32> [..],
        removing_replicas: Vec<i32> [..],
    }
}
