//! Who coordinates a group: here, always this broker.
//!
//! Source: Kafka's `FindCoordinatorRequest.json`, `FindCoordinatorResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for the coordinators of one key, and of several from version 4 on.
    struct FindCoordinatorRequest {
        key: String [..=3],
        key_type: i8 [1..],
        coordinator_keys: Vec<String> [4..],
    }

    /// The coordinators.
    struct FindCoordinatorResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..=3],
        error_message: Option<String> [1..=3],
        node_id: i32 [..=3],
        host: String [..=3],
        port: i32 [..=3],
        coordinators: Vec<Coordinator> [4..],
    }

    /// That of one key.
    struct Coordinator {
        key: String [4..],
        node_id: i32 [4..],
        host: String [4..],
        port: i32 [4..],
        error_code: ErrorCode [4..],
        error_message: Option<String> [4..],
    }
}
