//! OffsetForLeaderEpoch: where the log of an epoch ends, so that a consumer whose log went another
//! way finds out where they part (KIP-320).

use crate::connection::Connection;
use crate::topics::Topic;
use crate::wire::ErrorCode;
use crate::wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use super::fetch::compare_epochs;

pub(super) fn handle(
    connection: &Connection,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let snapshot = connection.worker.shared.topics.snapshot();
    let topics = request.topics.iter().map(|asked| {
        let known = snapshot.get(asked.topic.as_str());
        let known = known.map(AsRef::as_ref);
        let partitions = asked.partitions.iter().map(|wanted| answer(known, wanted)).collect();
        OffsetForLeaderTopicResult { topic: asked.topic.clone(), partitions }
    });
    OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    }
}

fn answer(topic: Option<&Topic>, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = find(topic, wanted)
        .unwrap_or_else(|error_code| EpochEndOffset { error_code, ..EpochEndOffset::default() });
    EpochEndOffset { partition: wanted.partition, ..found }
}

fn find(
    topic: Option<&Topic>,
    wanted: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let partition = topic.and_then(|topic| topic.partition(wanted.partition));
    let partition = partition.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if let Some(refusal) = partition.refusal() {
        return Err(refusal);
    }
    compare_epochs(partition, wanted.current_leader_epoch)?;
    // An epoch that this log does not know is answered with -1 for both.
    let found = partition.reader().end_of_epoch(wanted.leader_epoch);
    let (leader_epoch, end_offset) = found.unwrap_or((-1, -1));
    Ok(EpochEndOffset { leader_epoch, end_offset, ..EpochEndOffset::default() })
}
