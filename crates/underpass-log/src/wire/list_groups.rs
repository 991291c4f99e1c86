//! Which groups there are.
//!
//! Source: Kafka's `ListGroupsRequest.json`, `ListGroupsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for all groups, or those in some states.
    struct ListGroupsRequest {
        states_filter: Vec<String> [4..],
    }

    /// The groups.
    struct ListGroupsResponse {
        throttle_time_ms: i32 [1..],
        error_code: ErrorCode [..],
        groups: Vec<ListedGroup> [..],
    }

    /// A group.
    struct ListedGroup {
        group_id: String [..],
        protocol_type: String [..],
        group_state: String [4..],
    }
}
