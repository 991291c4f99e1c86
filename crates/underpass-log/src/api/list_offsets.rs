//! ListOffsets: the first and last offset of a partition, and offsets by time.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::fetch::compare_epochs;
use crate::chain::Chain;
use crate::connection::Connection;
use crate::log::ReadError;
use crate::partition::Partition;
use crate::wire::ErrorCode;
use crate::wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

/// Asks for the end that consumers see. With no transactions it is the last stable offset, too.
const LATEST: i64 = -1;

/// Asks for the start.
const EARLIEST: i64 = -2;

/// Asks for the record with the latest time (KIP-734).
const MAX_TIMESTAMP: i64 = -3;

/// What is not known, or not there.
const NONE: i64 = -1;

pub(super) async fn handle(
    connection: &Connection,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let snapshot = connection.worker.shared.topics.snapshot();
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics {
        let known = snapshot.get(asked.name.as_str());
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for wanted in &asked.partitions {
            let partition = known.and_then(|topic| topic.partition(wanted.partition_index));
            partitions.push(answer(partition, wanted).await);
        }
        topics.push(ListOffsetsTopicResponse { name: asked.name, partitions });
    }
    ListOffsetsResponse { topics, ..ListOffsetsResponse::default() }
}

async fn answer(
    partition: Option<&Arc<Partition>>,
    wanted: &ListOffsetsPartition,
) -> ListOffsetsPartitionResponse {
    let found = match partition {
        Some(partition) => find(partition, wanted).await,
        None => Err(ErrorCode::UnknownTopicOrPartition),
    };
    let answer = found.unwrap_or_else(|error_code| ListOffsetsPartitionResponse {
        error_code,
        ..ListOffsetsPartitionResponse::default()
    });
    ListOffsetsPartitionResponse { partition_index: wanted.partition_index, ..answer }
}

async fn find(
    partition: &Arc<Partition>,
    wanted: &ListOffsetsPartition,
) -> Result<ListOffsetsPartitionResponse, ErrorCode> {
    if let Some(refusal) = partition.refusal() {
        return Err(refusal);
    }
    compare_epochs(partition, wanted.current_leader_epoch)?;
    let reader = partition.reader();
    let (offset, timestamp) = match wanted.timestamp {
        LATEST => (partition.high_watermark(), NONE),
        EARLIEST => (reader.start_offset(), NONE),
        time if time >= MAX_TIMESTAMP => by_time(partition, time).await?,
        // What later versions ask for: the log's local and tiered ends.
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let leader_epoch = if offset < 0 { -1 } else { reader.epoch_at(offset) };
    Ok(ListOffsetsPartitionResponse {
        offset,
        timestamp,
        leader_epoch,
        ..ListOffsetsPartitionResponse::default()
    })
}

/// Looks for a time. Batches are read for that, and one of them is decompressed.
async fn by_time(partition: &Arc<Partition>, time: i64) -> Result<(i64, i64), ErrorCode> {
    let (reader, visible) = (partition.reader().clone(), partition.high_watermark());
    let found = spawn_blocking(move || match time {
        MAX_TIMESTAMP => reader.max_time(visible),
        _ => reader.find_time(time, visible),
    });
    match found.await {
        Ok(Ok(found)) => Ok(found.unwrap_or((NONE, NONE))),
        Ok(Err(error)) => Err(unreadable(partition, &error)),
        // The runtime is shutting down, or a bug has said so.
        Err(_) => Err(ErrorCode::UnknownServerError),
    }
}

fn unreadable(partition: &Partition, error: &ReadError) -> ErrorCode {
    tracing::error!("{partition}: no look-up by time: {}", Chain(error));
    ErrorCode::KafkaStorageError
}
