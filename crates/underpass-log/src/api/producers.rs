//! DescribeProducers: what idempotent producers wrote last, for tools like `kafka-transactions.sh`.
//!
//! Source: Kafka's `UnifiedLog.activeProducers`, `ReplicaManager.activeProducerState`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::partition::Partition;
use crate::producers::Latest;
use crate::server::Shared;
use crate::topics::Topics;
use crate::wire::ErrorCode;
use crate::wire::describe_producers::{
    DescribeProducersPartitionResponse, DescribeProducersRequest, DescribeProducersResponse,
    DescribeProducersTopicResponse, ProducerState,
};

/// The most producers in a response; the partitions that come after are refused.
const PRODUCERS_MAX: usize = 1 << 18;

/// Describes producers. Takes the lock of a log, so this may wait for a disk.
pub(super) fn describe(
    shared: &Shared,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    described(&shared.topics, request, PRODUCERS_MAX)
}

/// What is asked for several times is answered once.
fn described(
    topics: &Topics,
    request: DescribeProducersRequest,
    most: usize,
) -> DescribeProducersResponse {
    let mut asked = BTreeMap::<String, BTreeSet<i32>>::new();
    for topic in request.topics {
        asked.entry(topic.name).or_default().extend(topic.partition_indexes);
    }
    let mut left = most;
    let topics = asked.into_iter().map(|(name, indexes)| {
        let known = topics.get(&name);
        let partitions = indexes.into_iter().map(|index| {
            let partition = known.as_ref().and_then(|topic| topic.partition(index));
            answer(partition, index, &mut left)
        });
        DescribeProducersTopicResponse { partitions: partitions.collect(), name }
    });
    DescribeProducersResponse { topics: topics.collect(), ..DescribeProducersResponse::default() }
}

fn answer(
    partition: Option<&Arc<Partition>>,
    partition_index: i32,
    left: &mut usize,
) -> DescribeProducersPartitionResponse {
    match producers(partition, left) {
        Ok(active_producers) => DescribeProducersPartitionResponse {
            partition_index,
            active_producers,
            ..DescribeProducersPartitionResponse::default()
        },
        Err((error_code, error_message)) => DescribeProducersPartitionResponse {
            partition_index,
            error_code,
            error_message: error_message.map(str::to_owned),
            ..DescribeProducersPartitionResponse::default()
        },
    }
}

fn producers(
    partition: Option<&Arc<Partition>>,
    left: &mut usize,
) -> Result<Vec<ProducerState>, (ErrorCode, Option<&'static str>)> {
    let partition = partition.ok_or((ErrorCode::UnknownTopicOrPartition, None))?;
    if let Some(refusal) = partition.refusal() {
        return Err((refusal, None));
    }
    let log = partition.log();
    let Some(rest) = left.checked_sub(log.producers().len()) else {
        let why = "the response has as many producers as it may: ask for fewer partitions";
        return Err((ErrorCode::PolicyViolation, Some(why)));
    };
    *left = rest;
    Ok(log.producers().latest().map(state).collect())
}

/// There are no transactions, and so no one coordinates them.
fn state(latest: Latest) -> ProducerState {
    ProducerState {
        producer_id: latest.id,
        producer_epoch: latest.epoch.into(),
        last_sequence: latest.sequence,
        last_timestamp: latest.written_ms,
        coordinator_epoch: -1,
        ..ProducerState::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::fixture;
    use crate::partition::Promise;
    use crate::topics::config::{Overrides, TopicConfig};
    use crate::wire::describe_producers::DescribeProducersTopic;

    #[test]
    fn producers_are_described_once_with_what_they_wrote_last() {
        let dir = tempfile::tempdir().unwrap();
        let (config, files) = (TopicConfig::default(), fixture::files());
        let topics = Topics::open(dir.path(), config, files, Promise::default(), Arc::default());
        let topics = topics.unwrap();
        let topic = topics.create("t", 2, Overrides::new()).unwrap();
        for partition in topic.partitions() {
            // Producer 9 of epoch 3 writes the records 6 to 8, and then 9 to 11.
            for (sequence, time) in [(6, 4000), (9, 5000)] {
                let mut batch = fixture::of_producer(fixture::batch(3, 10, 1000), 9, sequence);
                batch[51..53].copy_from_slice(&3_i16.to_be_bytes());
                let batch = fixture::incoming(fixture::seal(batch));
                partition.log().append(&mut [batch], time).unwrap();
            }
        }
        let asked = |indexes: &[i32]| DescribeProducersTopic {
            name: "t".into(),
            partition_indexes: indexes.into(),
        };
        let request = DescribeProducersRequest { topics: vec![asked(&[0, 0, 7]), asked(&[1, 0])] };
        let response = described(&topics, request, 1);
        let [topic] = &response.topics[..] else { panic!("{response:?}") };
        let [first, second, none] = &topic.partitions[..] else { panic!("{topic:?}") };
        let producer = ProducerState {
            producer_id: 9,
            producer_epoch: 3,
            last_sequence: 11,
            last_timestamp: 5000,
            coordinator_epoch: -1,
            current_txn_start_offset: -1,
        };
        assert_eq!((first.partition_index, &first.active_producers), (0, &vec![producer]));
        assert_eq!((second.partition_index, second.error_code), (1, ErrorCode::PolicyViolation));
        assert_eq!(
            (none.partition_index, none.error_code),
            (7, ErrorCode::UnknownTopicOrPartition)
        );
    }
}
