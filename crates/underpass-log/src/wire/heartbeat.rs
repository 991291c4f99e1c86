//! A member is alive, and learns of a rebalance.
//!
//! Source: Kafka's `HeartbeatRequest.json`, `HeartbeatResponse.json`.

use super::ErrorCode;

schema! {
    /// A member is alive.
    struct HeartbeatRequest {
        group_id: String [..],
        generation_id: i32 [..],
        member_id: String [..],
        group_instance_id: Option<String> [3..],
    }

    /// Whether it is still one.
    struct HeartbeatResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..],
    }
}
