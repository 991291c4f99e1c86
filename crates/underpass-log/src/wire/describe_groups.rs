//! Groups and their members.
//!
//! Source: Kafka's `DescribeGroupsRequest.json`, `DescribeGroupsResponse.json`.

use bytes::Bytes;

use super::ErrorCode;

schema! {
    /// Asks for groups.
    struct DescribeGroupsRequest {
        groups: Vec<String> [..],
        include_authorized_operations: bool [3..],
    }

    /// The groups.
    struct DescribeGroupsResponse {
        throttle_time_ms: i32 [1..],
        groups: Vec<DescribedGroup> [..],
    }

    /// A group.
    struct DescribedGroup {
        error_code: ErrorCode [..],
        group_id: String [..],
        group_state: String [..],
        protocol_type: String [..],
        protocol_data: String [..],
        members: Vec<DescribedGroupMember> [..],
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// A member, what it subscribed to and what it was assigned.
    struct DescribedGroupMember {
        member_id: String [..],
        group_instance_id: Option<String> [4..],
        client_id: String [..],
        client_host: String [..],
        member_metadata: Bytes [..],
        member_assignment: Bytes [..],
    }
}
