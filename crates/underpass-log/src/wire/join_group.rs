//! Members join a group, and learn its generation.
//!
//! Source: Kafka's `JoinGroupRequest.json`, `JoinGroupResponse.json`.

use bytes::Bytes;

use super::ErrorCode;

schema! {
    /// A member joins, and says what it can.
    struct JoinGroupRequest {
        group_id: String [..],
        session_timeout_ms: i32 [..],
        rebalance_timeout_ms: i32 [1..] = -1,
        member_id: String [..],
        group_instance_id: Option<String> [5..],
        protocol_type: String [..],
        protocols: Vec<JoinGroupRequestProtocol> [..],
        reason: Option<String> [8..],
    }

    /// An assignor that the member has, and its subscription.
    struct JoinGroupRequestProtocol {
        name: String [..],
        metadata: Bytes [..],
    }

    /// The generation; and for its leader, the members.
    struct JoinGroupResponse {
        throttle_time_ms: i32 [2..],
        error_code: ErrorCode [..],
        generation_id: i32 [..] = -1,
        protocol_type: Option<String> [7..],
        protocol_name: Option<String> [.., null 7..],
        leader: String [..],
        skip_assignment: bool [9..],
        member_id: String [..],
        members: Vec<JoinGroupResponseMember> [..],
    }

    /// A member, and its subscription for the chosen assignor.
    struct JoinGroupResponseMember {
        member_id: String [..],
        group_instance_id: Option<String> [5..],
        metadata: Bytes [..],
    }
}
