//! Record batches to read, at once or when there are some.
//!
//! `FetchablePartitionResponse` is `PartitionData` in Kafka.
//!
//! Source: Kafka's `FetchRequest.json`, `FetchResponse.json`.

use super::{ErrorCode, Records};

schema! {
    /// Asks for record batches of some partitions.
    struct FetchRequest {
        replica_id: i32 [..] = -1,
        max_wait_ms: i32 [..],
        min_bytes: i32 [..],
        max_bytes: i32 [..] = i32::MAX,
        isolation_level: i8 [..],
        session_id: i32 [7..],
        session_epoch: i32 [7..] = -1,
        topics: Vec<FetchTopic> [..],
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        rack_id: String [11..],
    }

    /// Partitions of a topic.
    struct FetchTopic {
        topic: String [..],
        partitions: Vec<FetchPartition> [..],
    }

    /// From where on, and how much at most.
    struct FetchPartition {
        partition: i32 [..],
        current_leader_epoch: i32 [9..] = -1,
        fetch_offset: i64 [..],
        last_fetched_epoch: i32 [12..] = -1,
        log_start_offset: i64 [5..] = -1,
        partition_max_bytes: i32 [..],
    }

    /// Partitions that leave a session.
    struct ForgottenTopic {
        topic: String [7..],
        partitions: Vec<i32> [7..],
    }

    /// Record batches.
    struct FetchResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [7..],
        session_id: i32 [7..],
        responses: Vec<FetchableTopicResponse> [..],
    }

    /// Those of a topic.
    struct FetchableTopicResponse {
        topic: String [..],
        partitions: Vec<FetchablePartitionResponse> [..],
    }

    /// Those of a partition, and how far it reaches.
    struct FetchablePartitionResponse {
        partition_index: i32 [..],
        error_code: ErrorCode [..],
        high_watermark: i64 [..],
        last_stable_offset: i64 [..] = -1,
        log_start_offset: i64 [5..] = -1,
        aborted_transactions: Option<Vec<AbortedTransaction>> [..],
        preferred_read_replica: i32 [11..] = -1,
        records: Records [..],
    } tagged {
        0: diverging_epoch: EpochEndOffset [12..],
        1: current_leader: LeaderIdAndEpoch [12..],
    }

    /// Where an epoch ends.
    struct EpochEndOffset {
        epoch: i32 [12..] = -1,
        end_offset: i64 [12..] = -1,
    }

    /// Who leads a partition.
    struct LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1,
        leader_epoch: i32 [12..] = -1,
    }

    /// A transaction whose records are to be left out.
    struct AbortedTransaction {
        producer_id: i64 [..],
        first_offset: i64 [..],
    }
}
