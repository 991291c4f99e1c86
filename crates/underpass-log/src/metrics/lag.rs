//! How far consumer groups are behind, by group and topic.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::groups::Offsets;
use crate::server::Shared;
use crate::uuid::Uuid;

/// Groups and topics are named by clients: no more pairs of them than this are told of.
const PAIRS_MAX: usize = 10_000;

/// Lags as a metric.
#[derive(Debug)]
pub(crate) struct Lags(pub(crate) Arc<Shared>);

impl Collector for Lags {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Self(shared) = self;
        let topics = shared.topics.snapshot();
        let end = |topic: &str, partition: i32, id: Uuid| {
            let topic = topics.get(topic).filter(|topic| topic.id() == id)?;
            // Where one ends that is offline is not known.
            let partition = topic.partition(partition).filter(|one| one.refusal().is_none())?;
            Some(partition.high_watermark())
        };
        let lags = shared.groups.offsets(|offsets| lags(offsets, end));
        let help = "Records that a consumer group has yet to read of a topic, by what it committed";
        let mut family = encoder.encode_descriptor("group_lag", help, None, MetricType::Gauge)?;
        for ((group, topic), lag) in lags {
            let labels = [("group", group), ("topic", topic)];
            ConstGauge::new(lag).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Each group's lag in each topic: the sum over the partitions that it has committed offsets of.
fn lags(
    offsets: &Offsets,
    end: impl Fn(&str, i32, Uuid) -> Option<i64>,
) -> BTreeMap<(String, String), i64> {
    let mut lags = BTreeMap::new();
    for (group, kept) in offsets.groups() {
        for (topic, partitions) in &kept.topics {
            let of_partition = |(index, kept): (&i32, &crate::groups::Kept)| {
                let end = end(topic, *index, kept.topic_id)?;
                Some(end.saturating_sub(kept.committed.offset).max(0))
            };
            let mut behind = partitions.iter().filter_map(of_partition).peekable();
            if lags.len() < PAIRS_MAX && behind.peek().is_some() {
                let lag = behind.fold(0, i64::saturating_add);
                lags.insert((group.to_owned(), topic.clone()), lag);
            }
        }
    }
    lags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::{Committed, Entry, TopicOffsets};

    #[test]
    fn a_group_is_behind_by_what_follows_its_offsets_in_the_topics_that_are_there() {
        let mut offsets = Offsets::default();
        let mut commit = |topic: &str, id: u8, at: &[(i32, i64)]| {
            let committed =
                |offset| Committed { offset, leader_epoch: -1, metadata: String::new() };
            let partitions = at.iter().map(|(index, offset)| (*index, committed(*offset)));
            let (name, partitions) = (topic.to_owned(), partitions.collect());
            let topics = vec![TopicOffsets { name, id: Uuid([id; 16]), partitions }];
            offsets.apply(Entry::Commit { group: "g".to_owned(), time: 0, topics });
        };
        // Behind by 3, at the end, and past the end of a log that has lost its tail.
        commit("t", 1, &[(0, 7), (1, 10), (2, 12)]);
        commit("u", 1, &[(0, 4)]);
        commit("gone", 2, &[(0, 0)]);
        let end = |topic: &str, _, id| (topic != "gone" && id == Uuid([1; 16])).then_some(10);
        let lags = lags(&offsets, end);
        let pair = |topic: &str| ("g".to_owned(), topic.to_owned());
        assert_eq!(lags, BTreeMap::from([(pair("t"), 3), (pair("u"), 6)]));
    }
}
