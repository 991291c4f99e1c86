//! Settings of topics and brokers, replaced as a whole.
//!
//! Source: Kafka's `AlterConfigsRequest.json`, `AlterConfigsResponse.json`.

use super::ErrorCode;

schema! {
    /// Settings that replace all that were there.
    struct AlterConfigsRequest {
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
        value: Option<String> [..],
    }

    /// The outcomes.
    struct AlterConfigsResponse {
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
