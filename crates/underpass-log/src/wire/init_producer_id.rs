//! An id for an idempotent producer.
//!
//! Source: Kafka's `InitProducerIdRequest.json`, `InitProducerIdResponse.json`.

use super::ErrorCode;

schema! {
    /// Asks for an id.
    struct InitProducerIdRequest {
        transactional_id: Option<String> [..],
        transaction_timeout_ms: i32 [..],
        producer_id: i64 [3..] = -1,
        producer_epoch: i16 [3..] = -1,
    }

    /// The id, and its epoch.
    struct InitProducerIdResponse {
        throttle_time_ms: i32 [..],
        error_code: ErrorCode [..],
        producer_id: i64 [..] = -1,
        producer_epoch: i16 [..],
    }
}
