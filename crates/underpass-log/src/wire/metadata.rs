//! Brokers, topics and partitions, and who leads them.
//!
//! Source: Kafka's `MetadataRequest.json`, `MetadataResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for topics: null for all, and no names for none. In version 0 no names are all.
    struct MetadataRequest {
        topics: Option<Vec<MetadataRequestTopic>> [.., null 1..],
        allow_auto_topic_creation: bool [4..] = true,
        include_cluster_authorized_operations: bool [8..],
        include_topic_authorized_operations: bool [8..],
    }

    /// One topic.
    struct MetadataRequestTopic {
        name: String [..],
    }

    /// Brokers and topics.
    struct MetadataResponse {
        throttle_time_ms: i32 [3..],
        brokers: Vec<MetadataResponseBroker> [..],
        cluster_id: Option<String> [2..],
        controller_id: i32 [1..] = -1,
        topics: Vec<MetadataResponseTopic> [..],
        cluster_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// A broker, at the address that a client is to use.
    struct MetadataResponseBroker {
        node_id: i32 [..],
        host: String [..],
        port: i32 [..],
        rack: Option<String> [1..],
    }

    /// A topic.
    struct MetadataResponseTopic {
        error_code: ErrorCode [..],
        name: String [..],
        is_internal: bool [1..],
        partitions: Vec<MetadataResponsePartition> [..],
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// A partition, and who leads it.
    struct MetadataResponsePartition {
        error_code: ErrorCode [..],
        partition_index: i32 [..],
        leader_id: i32 [..],
        leader_epoch: i32 [7..] = -1,
        replica_nodes: Vec<i32> [..],
        isr_nodes: Vec<i32> [..],
        offline_replicas: Vec<i32> [5..],
    }
}
