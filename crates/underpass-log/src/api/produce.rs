//! Produce: batches are checked by their headers and appended as they came.
//!
//! Each partition has its own outcome. What is right in a request is appended whatever is
//! wrong with the rest.

use std::time::Duration;

use bytes::Bytes;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::batch::{self, BatchFault, BatchHeader};
use crate::connection::Connection;
use crate::partition::{Acks, Answer, Appended};
use crate::records;
use crate::time;
use crate::topics::config::{TopicConfig, Validation};
use crate::topics::{Topic, TopicMap};
use crate::wire::produce::{
    PartitionProduceResponse, ProducePartition, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use crate::wire::{ErrorCode, Records};

/// The codec that clients of older versions cannot read.
const ZSTD: i16 = 4;
const ZSTD_FROM: i16 = 7;

/// A partition's number, and what comes of its batch, or why nothing does.
type Queued = (i32, Result<Answer, ErrorCode>);

/// Appends what a request brings. `None` if no answer is wanted, and an error if the client can be
/// told of it only by the end of its connection.
pub(super) async fn handle(
    connection: &Connection,
    request: ProduceRequest,
    version: i16,
) -> Result<Option<ProduceResponse>, ErrorCode> {
    let acks = match request.acks {
        0 | 1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let wait = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let end = (acks == Some(Acks::All)).then(|| Instant::now() + wait);
    let is_answered = request.acks != 0;
    let topics = connection.worker.shared.topics.snapshot();
    let mut asked = Vec::new();
    for topic in request.topic_data {
        let known = topics.get(topic.name.as_str());
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in topic.partition_data {
            let index = data.index;
            let queued = match (acks, known) {
                (None, _) => Err(ErrorCode::InvalidRequiredAcks),
                (_, None) => Err(ErrorCode::UnknownTopicOrPartition),
                (Some(acks), Some(topic)) => queue(connection, topic, data, acks, version).await,
            };
            partitions.push((index, queued));
        }
        asked.push((topic.name, partitions));
    }
    let response = answers(&topics, asked, end).await;
    if is_answered {
        return Ok(Some(response));
    }
    match first_error(&response) {
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// Checks a batch and queues it.
async fn queue(
    connection: &Connection,
    topic: &Topic,
    data: ProducePartition,
    acks: Acks,
    version: i16,
) -> Result<Answer, ErrorCode> {
    let partition = topic.partition(data.index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if let Some(refusal) = partition.refusal() {
        return Err(refusal);
    }
    let Records::Memory(bytes) = data.records else { return Err(ErrorCode::InvalidRecord) };
    let header = check(&bytes, topic.config().max_message_bytes, version)?;
    check_time(topic.config(), header.max_timestamp, time::now())?;
    if topic.config().validation == Validation::Full {
        validate(bytes.clone(), header).await?;
    }
    connection.worker.shared.counts.add_received(bytes.len());
    let answer = partition.enqueue(bytes, header, acks);
    connection.worker.write_soon(partition);
    Ok(answer)
}

/// Refuses records from the future, for whose sake a segment would be kept for too long (KIP-937).
fn check_time(config: &TopicConfig, latest: i64, now: i64) -> Result<(), ErrorCode> {
    let is_ahead = latest.saturating_sub(now) > config.timestamp_after_max_ms;
    if is_ahead && !config.append_time { Err(ErrorCode::InvalidTimestamp) } else { Ok(()) }
}

/// Checks what the header says, and the checksum.
fn check(bytes: &Bytes, bytes_max: i32, version: i16) -> Result<BatchHeader, ErrorCode> {
    if i32::try_from(bytes.len()).is_ok_and(|len| len > bytes_max) {
        return Err(ErrorCode::MessageTooLarge);
    }
    let header = batch::check(bytes).map_err(|fault| match fault {
        BatchFault::Crc { .. } | BatchFault::Short { .. } | BatchFault::Length(_) => {
            ErrorCode::CorruptMessage
        }
        BatchFault::Magic(_) | BatchFault::Count { .. } | BatchFault::Trailing(_) => {
            ErrorCode::InvalidRecord
        }
    })?;
    let is_contiguous = header.count > 0 && header.last_offset_delta == header.count - 1;
    let is_numbered = header.producer_id < 0 || header.base_sequence >= 0;
    if header.base_offset != 0
        || header.is_control()
        || header.has_append_time()
        || !is_contiguous
        || !is_numbered
    {
        return Err(ErrorCode::InvalidRecord);
    }
    if header.is_transactional() {
        return Err(ErrorCode::InvalidTxnState);
    }
    if header.codec() > ZSTD || (header.codec() == ZSTD && version < ZSTD_FROM) {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    Ok(header)
}

/// Looks at every record, away from the other connections: what is compressed takes its time.
async fn validate(bytes: Bytes, header: BatchHeader) -> Result<(), ErrorCode> {
    let validated = spawn_blocking(move || records::validate(&header, &bytes));
    match validated.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => {
            tracing::debug!("a batch is refused: {fault}");
            Err(ErrorCode::InvalidRecord)
        }
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

/// Waits for the outcomes.
async fn answers(
    topics: &TopicMap,
    asked: Vec<(String, Vec<Queued>)>,
    end: Option<Instant>,
) -> ProduceResponse {
    let mut responses = Vec::with_capacity(asked.len());
    for (name, partitions) in asked {
        let known = topics.get(name.as_str());
        let mut outcomes = Vec::with_capacity(partitions.len());
        for (index, queued) in partitions {
            let outcome = match queued {
                Ok(answer) => outcome(answer, end).await,
                Err(error) => Err(error),
            };
            let log_start = known.and_then(|topic| topic.partition(index));
            let log_start = log_start.map_or(-1, |partition| partition.reader().start_offset());
            outcomes.push(told(index, outcome, log_start));
        }
        responses.push(TopicProduceResponse { name, partition_responses: outcomes });
    }
    ProduceResponse { responses, ..ProduceResponse::default() }
}

/// What became of a batch: what is appended may still become durable after the time is over.
async fn outcome(answer: Answer, end: Option<Instant>) -> Result<Appended, ErrorCode> {
    let told = match end {
        Some(end) => timeout_at(end, answer).await.map_err(|_| ErrorCode::RequestTimedOut)?,
        None => answer.await,
    };
    told.unwrap_or(Err(ErrorCode::KafkaStorageError))
}

fn told(
    index: i32,
    outcome: Result<Appended, ErrorCode>,
    log_start_offset: i64,
) -> PartitionProduceResponse {
    match outcome {
        Ok(Appended { base_offset, append_time }) => PartitionProduceResponse {
            index,
            base_offset,
            log_append_time_ms: append_time,
            log_start_offset,
            ..PartitionProduceResponse::default()
        },
        Err(error_code) => PartitionProduceResponse {
            index,
            error_code,
            base_offset: -1,
            log_start_offset: -1,
            ..PartitionProduceResponse::default()
        },
    }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    partitions.map(|partition| partition.error_code).find(|&error| error != ErrorCode::None)
}
