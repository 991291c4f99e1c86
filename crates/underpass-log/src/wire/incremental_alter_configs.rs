//! Settings of topics and brokers, changed one by one.
//!
//! Source: Kafka's `IncrementalAlterConfigsRequest.json`,
//! `IncrementalAlterConfigsResponse.json`; KIP-339.

use super::ErrorCode;

schema! {
    /// Settings to change.
    struct IncrementalAlterConfigsRequest {
        resources: Vec<AlterConfigsResource> [..],
        validate_only: bool [..],
    }

    /// A topic or broker.
    struct AlterConfigsResource {
        resource_type: i8 [..],
        resource_name: String [..],
        configs: Vec<AlterableConfig> [..],
    }

    /// A setting.
    struct AlterableConfig {
        name: String [..],
        config_operation: i8 [..],
        value: Option<String> [..],
    }

    /// The outcomes.
    struct IncrementalAlterConfigsResponse {
        throttle_time_ms: i32 [..],
        responses: Vec<AlterConfigsResourceResponse> [..],
    }

    /// The outcome of a topic or broker.
    struct AlterConfigsResourceResponse {
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        resource_type: i8 [..],
        resource_name: String [..],
    }
}
