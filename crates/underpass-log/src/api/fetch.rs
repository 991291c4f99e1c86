//! Fetch: what there is from an offset on, by reference; and the wait for more.
//!
//! Each partition gives whole batches of one segment, up to its own limit and to what is left of
//! the request's. The first batch of the first partition that has one comes whatever its size
//! (KIP-74). Each fetch of a connection begins with another partition, so that none starves behind
//! the others.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, timeout_at};

use crate::chain::Chain;
use crate::connection::Connection;
use crate::log::{Patience, Plan, ReadError};
use crate::partition::Partition;
use crate::partition::waiters::{Bell, Registered};
use crate::topics::TopicMap;
use crate::wire::fetch::{
    EpochEndOffset, FetchPartition, FetchRequest, FetchResponse, FetchablePartitionResponse,
    FetchableTopicResponse,
};
use crate::wire::{ErrorCode, Records};

/// The most bytes of records in a response: its length is an i32, and so is one batch's.
const BYTES_MAX: u64 = 1 << 30;

/// The isolation level of a consumer that wants to see what is committed alone.
const READ_COMMITTED: i8 = 1;

/// After how many partitions other connections get their turn.
const TURN_PARTITIONS: usize = 1_000;

/// What a consumer does not know, or does not tell.
const UNKNOWN: i32 = -1;

/// Answers a fetch, at once or when there is enough.
pub(super) async fn handle(connection: &Connection, request: FetchRequest) -> FetchResponse {
    // Sessions are not kept: a client that is given none asks in full each time (KIP-227).
    if request.session_epoch > 0 {
        let error_code = ErrorCode::FetchSessionIdNotFound;
        return FetchResponse { error_code, ..FetchResponse::default() };
    }
    let topics = connection.worker.shared.topics.snapshot();
    let mut looked = look(connection, &topics, &request).await;
    if !looked.is_enough(&request) && request.max_wait_ms > 0 {
        looked = wait(connection, &topics, &request).await;
    }
    connection.fetches.set(connection.fetches.get().wrapping_add(1));
    FetchResponse { responses: looked.topics, ..FetchResponse::default() }
}

/// What a look at all partitions has found.
#[derive(Debug, Default)]
struct Looked {
    topics: Vec<FetchableTopicResponse>,
    bytes: u64,
    /// What makes an answer due however little there is.
    has_error: bool,
    /// Waiting would not add to it: it ends at a limit, or with a segment.
    is_cut: bool,
}

impl Looked {
    fn is_enough(&self, request: &FetchRequest) -> bool {
        let least = u64::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0);
        self.has_error || self.is_cut || self.bytes >= least || request.topics.is_empty()
    }
}

/// Waits until there is enough, or the time is over, or the server stops.
async fn wait(connection: &Connection, topics: &TopicMap, request: &FetchRequest) -> Looked {
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let end = Instant::now() + wait;
    let bell = Arc::<Bell>::default();
    let _stop = connection.worker.ring_at_stop(&bell);
    let _registered = register(&bell, topics, request);
    loop {
        let looked = look(connection, topics, request).await;
        if looked.is_enough(request) || connection.worker.is_stopping() {
            return looked;
        }
        if timeout_at(end, poll_fn(|cx| bell.poll_rung(cx))).await.is_err() {
            return looked;
        }
    }
}

/// Has `bell` rung by all partitions of a request.
fn register<'t>(
    bell: &'t Arc<Bell>,
    topics: &'t TopicMap,
    request: &FetchRequest,
) -> Vec<Registered<'t>> {
    let mut registered = Vec::new();
    for topic in &request.topics {
        let Some(known) = topics.get(topic.topic.as_str()) else { continue };
        let wanted = topic.partitions.iter().filter_map(|one| known.partition(one.partition));
        registered.extend(wanted.map(|partition| partition.waiters().register(bell)));
    }
    registered
}

/// Looks at all partitions once.
async fn look(connection: &Connection, topics: &TopicMap, request: &FetchRequest) -> Looked {
    let count: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    let first = connection.fetches.get() % count.max(1);
    let left = u64::try_from(request.max_bytes).unwrap_or(0).min(BYTES_MAX);
    let is_committed = request.isolation_level == READ_COMMITTED;
    let mut round = Round { left, is_committed, looked: Looked::default() };
    round.looked.topics = request.topics.iter().map(empty).collect();
    // Twice over the partitions: the first time from `first` on, the second time up to it.
    for half in [first..count, 0..first] {
        let mut nth = 0;
        for (topic, asked) in request.topics.iter().enumerate() {
            let known = topics.get(asked.topic.as_str());
            for (slot, wanted) in asked.partitions.iter().enumerate() {
                if half.contains(&nth) {
                    let partition =
                        known.as_ref().and_then(|topic| topic.partition(wanted.partition));
                    let data = round.data(partition, wanted).await;
                    round.looked.topics[topic].partitions[slot] = data;
                }
                nth += 1;
                if nth.is_multiple_of(TURN_PARTITIONS) {
                    yield_now().await;
                }
            }
        }
    }
    round.looked
}

/// The response for a topic, before its partitions are looked at.
fn empty(asked: &crate::wire::fetch::FetchTopic) -> FetchableTopicResponse {
    FetchableTopicResponse {
        topic: asked.topic.clone(),
        partitions: vec![FetchablePartitionResponse::default(); asked.partitions.len()],
    }
}

/// One look, on its way from partition to partition.
struct Round {
    /// Bytes of records that there is room for.
    left: u64,
    /// Whether the consumer wants to know of aborted transactions. There are none.
    is_committed: bool,
    looked: Looked,
}

impl Round {
    async fn data(
        &mut self,
        partition: Option<&Arc<Partition>>,
        wanted: &FetchPartition,
    ) -> FetchablePartitionResponse {
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let found = match partition {
            Some(partition) => self.read(partition, wanted).await,
            None => Err(unknown),
        };
        let data = found.unwrap_or_else(|error_code| FetchablePartitionResponse {
            error_code,
            high_watermark: -1,
            ..FetchablePartitionResponse::default()
        });
        self.looked.has_error |=
            data.error_code != ErrorCode::None || data.diverging_epoch != EpochEndOffset::default();
        FetchablePartitionResponse { partition_index: wanted.partition, ..data }
    }

    async fn read(
        &mut self,
        partition: &Arc<Partition>,
        wanted: &FetchPartition,
    ) -> Result<FetchablePartitionResponse, ErrorCode> {
        if let Some(refusal) = partition.refusal() {
            return Err(refusal);
        }
        compare_epochs(partition, wanted.current_leader_epoch)?;
        let reader = partition.reader();
        let high_watermark = partition.high_watermark();
        let data = FetchablePartitionResponse {
            high_watermark,
            last_stable_offset: high_watermark,
            log_start_offset: reader.start_offset(),
            aborted_transactions: self.is_committed.then(Vec::new),
            ..FetchablePartitionResponse::default()
        };
        if let Some(diverging_epoch) = diverging(partition, wanted) {
            return Ok(FetchablePartitionResponse { diverging_epoch, ..data });
        }
        let max = u64::try_from(wanted.partition_max_bytes).unwrap_or(0).min(self.left);
        let plan =
            plan(partition, wanted.fetch_offset, high_watermark, max, self.looked.bytes == 0);
        let Plan { records, is_cut } = plan.await.map_err(|error| refusal(&error))?;
        let bytes = records.len();
        self.looked.is_cut |= is_cut && bytes > 0;
        self.looked.bytes += bytes;
        self.left = self.left.saturating_sub(bytes);
        Ok(FetchablePartitionResponse { records, ..data })
    }
}

/// Refuses a consumer whose leader is another than this one (KIP-320).
pub(super) fn compare_epochs(partition: &Partition, theirs: i32) -> Result<(), ErrorCode> {
    let ours = partition.reader().epoch();
    if theirs == UNKNOWN || theirs == ours {
        Ok(())
    } else if theirs < ours {
        Err(ErrorCode::FencedLeaderEpoch)
    } else {
        Err(ErrorCode::UnknownLeaderEpoch)
    }
}

/// Where the log went another way than the consumer's last batch, if it did.
fn diverging(partition: &Partition, wanted: &FetchPartition) -> Option<EpochEndOffset> {
    if wanted.last_fetched_epoch == UNKNOWN {
        return None;
    }
    let (epoch, end_offset) = partition.reader().end_of_epoch(wanted.last_fetched_epoch)?;
    let is_other = epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset;
    is_other.then_some(EpochEndOffset { epoch, end_offset })
}

/// Finds what to send; where that needs the disk, on a thread that may wait for it.
async fn plan(
    partition: &Arc<Partition>,
    from: i64,
    visible: i64,
    max: u64,
    min_one: bool,
) -> Result<Plan, ReadError> {
    match partition.reader().plan(from, visible, max, min_one, Patience::Now) {
        Err(ReadError::Cold) => {}
        found => return found,
    }
    let reader = partition.reader().clone();
    let found = spawn_blocking(move || reader.plan(from, visible, max, min_one, Patience::Wait));
    match found.await {
        Ok(found) => found,
        // The runtime is shutting down, or a bug has said so: there is nothing to send.
        Err(_) => Ok(Plan { records: Records::None, is_cut: false }),
    }
}

fn refusal(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Cold | ReadError::Storage(_) | ReadError::Damaged { .. } => {
            tracing::error!("cannot read: {}", Chain(error));
            ErrorCode::KafkaStorageError
        }
    }
}
