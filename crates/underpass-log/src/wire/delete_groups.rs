//! Groups without members are deleted, with their offsets.
//!
//! Source: Kafka's `DeleteGroupsRequest.json`, `DeleteGroupsResponse.json`.

use super::ErrorCode;

schema! {
    /// The groups to delete.
    struct DeleteGroupsRequest {
        groups_names: Vec<String> [..],
    }

    /// Whether they are deleted.
    struct DeleteGroupsResponse {
        throttle_time_ms: i32 [..],
        results: Vec<DeletableGroupResult> [..],
    }

    /// Whether a group is deleted.
    struct DeletableGroupResult {
        group_id: String [..],
        error_code: ErrorCode [..],
    }
}
