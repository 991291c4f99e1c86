//! Which requests a broker answers, in which versions: the first request of most clients.
//!
//! A section of tagged fields that is not empty is misread by librdkafka before 2.2, as in Debian's
//! kcat: none is written here.
//!
//! Source: Kafka's `ApiVersionsRequest.json`, `ApiVersionsResponse.json`; KIP-511.

use super::ErrorCode;

schema! {
    /// Asks for the versions.
    struct ApiVersionsRequest {
        client_software_name: String [3..],
        client_software_version: String [3..],
    }

    /// The versions.
    struct ApiVersionsResponse {
        error_code: ErrorCode [..],
        api_keys: Vec<ApiVersion> [..],
        throttle_time_ms: i32 [1..],
    }

    /// Those of one kind of request.
    struct ApiVersion {
        api_key: i16 [..],
        min_version: i16 [..],
        max_version: i16 [..],
    }
}
