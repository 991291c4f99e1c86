//! InitProducerId: an id for a producer that wants each batch appended once.
//!
//! One without a transactional id always gets a new one, whatever it had: it counts its epochs
//! itself (KIP-360). There are no transactions here, so one with a transactional id is told what
//! Kafka tells of requests that it does not know.
//!
//! Source: Kafka's TransactionCoordinator.handleInitProducerId.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::producers::ids::ProducerIds;
use crate::wire::ErrorCode;
use crate::wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

pub(super) async fn handle(
    ids: &Arc<ProducerIds>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match request.transactional_id.as_deref() {
        None => give(ids).await.map_or_else(refused, |producer_id| InitProducerIdResponse {
            producer_id,
            ..InitProducerIdResponse::default()
        }),
        Some("") => refused(ErrorCode::InvalidRequest),
        Some(_) => refused(ErrorCode::UnsupportedVersion),
    }
}

/// An id; for one in a thousand the disk is waited for.
async fn give(ids: &Arc<ProducerIds>) -> Result<i64, ErrorCode> {
    if let Some(id) = ids.reserved() {
        return Ok(id);
    }
    let ids = Arc::clone(ids);
    match spawn_blocking(move || ids.reserve()).await {
        Ok(Ok(id)) => Ok(id),
        Ok(Err(error)) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no producer id was given");
            // Clients ask again after it.
            Err(ErrorCode::CoordinatorNotAvailable)
        }
        Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
    }
}

fn refused(error_code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code, producer_epoch: -1, ..InitProducerIdResponse::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(ids: &Arc<ProducerIds>, id: Option<&str>) -> (ErrorCode, i64, i16) {
        let transactional_id = id.map(str::to_owned);
        // What a producer had before does not count.
        let request =
            InitProducerIdRequest { transactional_id, producer_id: 7, ..Default::default() };
        let answer = handle(ids, request).await;
        (answer.error_code, answer.producer_id, answer.producer_epoch)
    }

    #[tokio::test]
    async fn each_producer_gets_an_id_of_its_own_and_epoch_0() {
        let dir = tempfile::tempdir().unwrap();
        let ids = Arc::new(ProducerIds::open(&dir.path().join("producer-ids"), 40).unwrap());
        assert_eq!(ask(&ids, None).await, (ErrorCode::None, 40, 0));
        assert_eq!(ask(&ids, None).await, (ErrorCode::None, 41, 0));
    }

    #[tokio::test]
    async fn transactions_are_refused_and_a_disk_that_fails_gives_no_id() {
        let dir = tempfile::tempdir().unwrap();
        let ids = Arc::new(ProducerIds::open(&dir.path().join("gone/producer-ids"), 40).unwrap());
        assert_eq!(ask(&ids, Some("t")).await, (ErrorCode::UnsupportedVersion, -1, -1));
        assert_eq!(ask(&ids, Some("")).await, (ErrorCode::InvalidRequest, -1, -1));
        assert_eq!(ask(&ids, None).await, (ErrorCode::CoordinatorNotAvailable, -1, -1));
    }
}
