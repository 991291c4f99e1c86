//! ListOffsets: the first and last offset of a partition, and offsets by time.

use std::sync::Arc;

use super::fetch::compare_epochs;
use crate::connection::Connection;
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
