//! Brokers, without topics.
//!
//! Source: Kafka's `DescribeClusterRequest.json`, `DescribeClusterResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for the brokers.
    struct DescribeClusterRequest {
        include_cluster_authorized_operations: bool [..],
        endpoint_type: i8 [1..] = 1,
    }

    /// The brokers.
    struct DescribeClusterResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [..],
        error_message: Option<String> [..],
        endpoint_type: i8 [1..] = 1,
        cluster_id: String [..],
        controller_id: i32 [..] = -1,
        brokers: Vec<DescribeClusterBroker> [..],
        cluster_authorized_operations: i32 [..] = i32::MIN,
    }

    /// A broker, at the address that a client is to use.
    struct DescribeClusterBroker {
        broker_id: i32 [..],
        host: String [..],
        port: i32 [..],
        rack: Option<String> [..],
    }
}
