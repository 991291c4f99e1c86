//! Members leave their group.
//!
//! Source: Kafka's `LeaveGroupRequest.json`, `LeaveGroupResponse.json`.

use super::ErrorCode;

schema! {
    /// One member leaves, and several from version 3 on.
    struct LeaveGroupRequest {
        group_id: String [..],
        member_id: String [..=2],
        members: Vec<MemberIdentity> [3..],
    }

    /// A member, by its id or by that of its instance.
    struct MemberIdentity {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        reason: Option<String> [5..],
    }

    /// Whether they left.
    struct LeaveGroupResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..],
        members: Vec<MemberResponse> [3..],
    }

    /// Whether a member left.
    struct MemberResponse {
        member_id: String [3..],
        group_instance_id: Option<String> [3..],
        error_code: ErrorCode [3..],
    }
}
