//! Topics are deleted, by name or by id.
//!
//! Source: Kafka's `DeleteTopicsRequest.json`, `DeleteTopicsResponse.json`.

use super::ErrorCode;
use crate::uuid::Uuid;

schema! {
    /// The topics to delete: by name up to version 5, from then on by name or id.
    struct DeleteTopicsRequest {
        topics: Vec<DeleteTopicState> [6..],
        topic_names: Vec<String> [..=5],
        timeout_ms: i32 [..],
    }

    /// A topic.
    struct DeleteTopicState {
        name: Option<String> [6..],
        topic_id: Uuid [6..],
    }

    /// The outcomes.
    struct DeleteTopicsResponse {
        throttle_time_ms: i32 [..],
        responses: Vec<DeletableTopicResult> [..],
    }

    /// The outcome of a topic.
    struct DeletableTopicResult {
        name: Option<String> [.., null 6..],
        topic_id: Uuid [6..],
        error_code: ErrorCode [..],
        error_message: Option<String> [5..],
    }
}
