//! Who may do what: not answered with rules, as there are none.
//!
//! Source: Kafka's `DescribeAclsRequest.json`, `DescribeAclsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for rules.
    struct DescribeAclsRequest {
        resource_type_filter: i8 [..],
        resource_name_filter: Option<String> [..],
        pattern_type_filter: i8 [..] = 3,
        principal_filter: Option<String> [..],
        host_filter: Option<String> [..],
        operation: i8 [..],
        permission_type: i8 [..],
    }

    /// The rules, or why there are none.
    struct DescribeAclsResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        resources: Vec<DescribeAclsResource> [..],
    }

    /// The rules of a resource.
    struct DescribeAclsResource {
        resource_type: i8 [..],
        resource_name: String [..],
        pattern_type: i8 [..] = 3,
        acls: Vec<AclDescription> [..],
    }

    /// A rule.
    struct AclDescription {
        principal: String [..],
        host: String [..],
        operation: i8 [..],
        permission_type: i8 [..],
    }
}
