//! The leader hands out its assignment, and each member gets its part.
//!
//! Source: Kafka's `SyncGroupRequest.json`, `SyncGroupResponse.json`.

use bytes::Bytes;

use super::ErrorCode;

schema! {
    /// A member asks for its assignment; the leader brings all of them.
    struct SyncGroupRequest {
        group_id: String [..],
        generation_id: i32 [..],
        member_id: String [..],
        group_instance_id: Option<String> [3..],
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignments: Vec<SyncGroupRequestAssignment> [..],
    }

    /// The assignment of a member.
    struct SyncGroupRequestAssignment {
        member_id: String [..],
        assignment: Bytes [..],
    }

    /// The member's own assignment.
    struct SyncGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..],
        protocol_type: Option<String> [5..],
        protocol_name: Option<String> [5..],
        assignment: Bytes [..],
    }
}
