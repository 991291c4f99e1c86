//! DeleteRecords: the log starts later.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::chain::Chain;
use crate::partition::Partition;
use crate::server::Shared;
use crate::wire::ErrorCode;
use crate::wire::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};

/// Asks for all that consumers can see to be deleted.
const HIGH_WATERMARK: i64 = -1;

/// Deletes records. What is deleted stays so when it is answered, so this waits for the disk.
pub(super) fn handle(shared: &Shared, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let end = Instant::now() + Duration::from_millis(request.timeout_ms.try_into().unwrap_or(0));
    let topics = request.topics.into_iter().map(|asked| {
        let known = shared.topics.get(&asked.name);
        let partitions = asked.partitions.iter().map(|wanted| {
            let partition =
                known.as_ref().and_then(|topic| topic.partition(wanted.partition_index));
            answer(partition, wanted, end)
        });
        DeleteRecordsTopicResult { partitions: partitions.collect(), name: asked.name }
    });
    DeleteRecordsResponse { topics: topics.collect(), ..DeleteRecordsResponse::default() }
}

fn answer(
    partition: Option<&Arc<Partition>>,
    wanted: &DeleteRecordsPartition,
    end: Instant,
) -> DeleteRecordsPartitionResult {
    let deleted = match partition {
        Some(partition) => delete(partition, wanted.offset, end),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    };
    let partition_index = wanted.partition_index;
    match deleted {
        Ok(low_watermark) => DeleteRecordsPartitionResult {
            partition_index,
            low_watermark,
            error_code: ErrorCode::None,
        },
        Err(error_code) => {
            DeleteRecordsPartitionResult { partition_index, low_watermark: -1, error_code }
        }
    }
}

/// Deletes what is before an offset; answers with the first offset that is left. What is written
/// and not yet visible is waited for: to a producer with `acks=1` it is there.
fn delete(partition: &Partition, offset: i64, end: Instant) -> Result<i64, ErrorCode> {
    if (partition.high_watermark()..=partition.reader().end_offset()).contains(&offset) {
        let visible = timeout_at(end, partition.until_visible(offset));
        Handle::current().block_on(visible).map_err(|_| ErrorCode::RequestTimedOut)?;
    }
    if let Some(refusal) = partition.refusal() {
        return Err(refusal);
    }
    let high_watermark = partition.high_watermark();
    let before = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if !(0..=high_watermark).contains(&before) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    partition.reader().delete_records(before).map_err(|error| {
        tracing::error!("{partition}: records before {before} stay: {}", Chain(&error));
        ErrorCode::KafkaStorageError
    })
}
