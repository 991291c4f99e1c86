//! When committed offsets are forgotten: some days after the group's last member has gone.
//!
//! Source: KIP-211.

use std::time::Duration;

use super::entry::Entry;
use super::offsets::GroupOffsets;

/// What is to be forgotten at `now` of a group without members: some offsets; or all of it, once
/// there are none.
///
/// A group that had members when the server ended may have them again: it counts as left when the
/// server began. A group that never had any keeps each offset from its commit on.
pub(super) fn expired(
    name: &str,
    group: &GroupOffsets,
    began_ms: i64,
    retention: Duration,
    now_ms: i64,
) -> Option<Entry> {
    let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
    let left = group.generation.as_ref().map(|last| last.empty_since.unwrap_or(began_ms));
    let is_over = |time: i64| {
        let since = left.map_or(time, |left| left.max(time));
        since.saturating_add(retention) <= now_ms
    };
    let topics = group.topics.iter().map(|(topic, partitions)| {
        let over = partitions.iter().filter(|(_, kept)| is_over(kept.time));
        (topic.clone(), over.map(|(number, _)| *number).collect::<Vec<_>>())
    });
    let topics: Vec<_> = topics.filter(|(_, over)| !over.is_empty()).collect();
    let kept: usize = group.topics.values().map(|partitions| partitions.len()).sum();
    let over: usize = topics.iter().map(|(_, over)| over.len()).sum();
    let group = name.to_owned();
    if over == kept {
        Some(Entry::DeleteGroup { group })
    } else {
        (over > 0).then_some(Entry::Forget { group, topics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::entry::{Committed, TopicOffsets};
    use crate::groups::offsets::Offsets;
    use crate::uuid::Uuid;

    const RETENTION: Duration = Duration::from_millis(100);

    /// A group that committed for partitions 0 and 1 at these times.
    fn group(times: [i64; 2], generation: Option<Option<i64>>) -> Offsets {
        let mut offsets = Offsets::default();
        for (partition, time) in (0..).zip(times) {
            let committed = Committed { offset: 1, leader_epoch: -1, metadata: String::new() };
            let partitions = vec![(partition, committed)];
            let topic = TopicOffsets { name: "t".to_owned(), id: Uuid([1; 16]), partitions };
            offsets.apply(Entry::Commit { group: "g".to_owned(), time, topics: vec![topic] });
        }
        if let Some(empty_since) = generation {
            let protocol_type = "consumer".to_owned();
            let group = "g".to_owned();
            offsets.apply(Entry::Generation { group, number: 1, protocol_type, empty_since });
        }
        offsets
    }

    fn at(offsets: &Offsets, now: i64) -> Option<Entry> {
        expired("g", offsets.group("g").unwrap(), 1_000, RETENTION, now)
    }

    fn deleted() -> Option<Entry> {
        Some(Entry::DeleteGroup { group: "g".to_owned() })
    }

    #[test]
    fn offsets_that_were_committed_by_hand_expire_one_by_one() {
        let offsets = group([10, 20], None);
        assert_eq!(at(&offsets, 109), None);
        let topics = vec![("t".to_owned(), vec![0])];
        assert_eq!(at(&offsets, 110), Some(Entry::Forget { group: "g".to_owned(), topics }));
        assert_eq!(at(&offsets, 120), deleted());
    }

    #[test]
    fn offsets_of_members_expire_together_after_the_last_has_left() {
        let offsets = group([10, 20], Some(Some(500)));
        assert_eq!(at(&offsets, 599), None);
        assert_eq!(at(&offsets, 600), deleted());
        // Reset by an operator since.
        let offsets = group([550, 20], Some(Some(500)));
        let topics = vec![("t".to_owned(), vec![1])];
        assert_eq!(at(&offsets, 600), Some(Entry::Forget { group: "g".to_owned(), topics }));
    }

    #[test]
    fn a_group_that_had_members_when_the_server_ended_is_given_time_to_come_back() {
        let offsets = group([10, 20], Some(None));
        assert_eq!(at(&offsets, 1_099), None);
        assert_eq!(at(&offsets, 1_100), deleted());
    }

    #[test]
    fn a_group_without_offsets_is_forgotten_at_once() {
        let mut offsets = group([10, 20], Some(Some(500)));
        offsets.apply(Entry::DeleteTopic { topic: "t".to_owned(), id: Uuid([1; 16]) });
        assert_eq!(at(&offsets, 501), deleted());
    }
}
