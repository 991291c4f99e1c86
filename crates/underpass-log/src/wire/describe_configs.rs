//! Settings of topics and brokers, and where they come from.
//!
//! Source: Kafka's `DescribeConfigsRequest.json`, `DescribeConfigsResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for settings.
    struct DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource> [..],
        include_synonyms: bool [..],
        include_documentation: bool [3..],
    }

    /// A topic or broker; null settings are all.
    struct DescribeConfigsResource {
        resource_type: i8 [..],
        resource_name: String [..],
        configuration_keys: Option<Vec<String>> [..],
    }

    /// The settings.
    struct DescribeConfigsResponse {
        throttle_time_ms: i32 [..],
        results: Vec<DescribeConfigsResult> [..],
    }

    /// Those of a topic or broker.
    struct DescribeConfigsResult {
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        resource_type: i8 [..],
        resource_name: String [..],
        configs: Vec<DescribeConfigsResourceResult> [..],
    }

    /// A setting, and where it comes from.
    struct DescribeConfigsResourceResult {
        name: String [..],
        value: Option<String> [..],
        read_only: bool [..],
        config_source: i8 [..] = -1,
        is_sensitive: bool [..],
        synonyms: Vec<DescribeConfigsSynonym> [..],
        config_type: i8 [3..],
        documentation: Option<String> [3..],
    }

    /// The same setting elsewhere, by which it is overridden or which it overrides.
    struct DescribeConfigsSynonym {
        name: String [..],
        value: Option<String> [..],
        source: i8 [..],
    }
}
