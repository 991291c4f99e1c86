//! What groups have committed: the journal's entries, one applied after another.
//!
//! Replaying the journal and running differ in nothing: an entry is applied once it is on the disk,
//! so that no one reads an offset that a crash could take back.

use std::collections::BTreeMap;

use super::entry::{Committed, Entry, TopicOffsets};
use crate::uuid::Uuid;

/// An offset, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) committed: Committed,
    /// The topic that it was committed for.
    pub(crate) topic_id: Uuid,
    /// When, in ms since 1970.
    pub(crate) time: i64,
}

/// The latest generation of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LastGeneration {
    pub(crate) number: i32,
    pub(crate) protocol_type: String,
    /// Since when it has no members; `None` if it had some when that was written.
    pub(crate) empty_since: Option<i64>,
}

/// A group's offsets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupOffsets {
    /// There is none if no member has ever joined, and offsets were committed by hand.
    pub(crate) generation: Option<LastGeneration>,
    pub(crate) topics: BTreeMap<String, BTreeMap<i32, Kept>>,
}

/// All groups' offsets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    groups: BTreeMap<String, GroupOffsets>,
    bytes: u64,
}

impl Offsets {
    pub(crate) fn group(&self, name: &str) -> Option<&GroupOffsets> {
        self.groups.get(name)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &GroupOffsets)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    pub(crate) fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// Bytes that they would take in a journal written anew, near enough.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Commit { group, time, topics } => {
                for topic in topics {
                    self.commit(&group, time, topic);
                }
            }
            Entry::Forget { group, topics } => {
                for (topic, partitions) in topics {
                    self.forget(&group, &topic, |partition, _| partitions.contains(&partition));
                }
            }
            Entry::DeleteGroup { group } => {
                if let Some(removed) = self.groups.remove(&group) {
                    self.bytes -= removed.bytes(&group);
                }
            }
            Entry::DeleteTopic { topic, id } => {
                let names: Vec<String> = self.groups.keys().cloned().collect();
                names
                    .iter()
                    .for_each(|group| self.forget(group, &topic, |_, kept| kept.topic_id == id));
            }
            Entry::Generation { group, number, protocol_type, empty_since } => {
                let generation = LastGeneration { number, protocol_type, empty_since };
                self.change(&group, |group| group.generation = Some(generation));
            }
        }
    }

    fn commit(&mut self, group: &str, time: i64, topic: TopicOffsets) {
        let TopicOffsets { name, id, partitions } = topic;
        self.change(group, |group| {
            let kept = group.topics.entry(name).or_default();
            // What was committed for a topic of that name that is gone goes too.
            kept.retain(|_, old| old.topic_id == id);
            for (partition, committed) in partitions {
                kept.insert(partition, Kept { committed, topic_id: id, time });
            }
        });
    }

    fn forget(&mut self, group: &str, topic: &str, which: impl Fn(i32, &Kept) -> bool) {
        self.change(group, |group| {
            if let Some(kept) = group.topics.get_mut(topic) {
                kept.retain(|partition, kept| !which(*partition, kept));
            }
        });
    }

    /// Changes a group, which need not exist, and counts what it takes.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut GroupOffsets)) {
        let mut group = self.groups.remove(name).unwrap_or_default();
        self.bytes -= group.bytes(name);
        change(&mut group);
        group.topics.retain(|_, kept| !kept.is_empty());
        self.bytes += group.bytes(name);
        if !group.is_nothing() {
            self.groups.insert(name.to_owned(), group);
        }
    }

    /// The entries that make the same of nothing.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.groups.iter().flat_map(|(name, group)| group.entries(name))
    }
}

impl GroupOffsets {
    fn entries(&self, name: &str) -> Vec<Entry> {
        let generation = self.generation.as_ref().map(|last| Entry::Generation {
            group: name.to_owned(),
            number: last.number,
            protocol_type: last.protocol_type.clone(),
            empty_since: last.empty_since,
        });
        // A topic's offsets may have been committed at different times.
        let mut commits = BTreeMap::<i64, Vec<TopicOffsets>>::new();
        for (topic, partitions) in &self.topics {
            for (partition, kept) in partitions {
                let topics = commits.entry(kept.time).or_default();
                let committed = (*partition, kept.committed.clone());
                match topics.last_mut().filter(|last| last.name == *topic) {
                    Some(last) => last.partitions.push(committed),
                    None => topics.push(TopicOffsets {
                        name: topic.clone(),
                        id: kept.topic_id,
                        partitions: vec![committed],
                    }),
                }
            }
        }
        let commits = commits.into_iter();
        let commits =
            commits.map(|(time, topics)| Entry::Commit { group: name.to_owned(), time, topics });
        generation.into_iter().chain(commits).collect()
    }

    fn is_nothing(&self) -> bool {
        self.generation.is_none() && self.topics.is_empty()
    }

    /// Looks at all partitions, which a commit may do: it is followed by an fdatasync.
    fn bytes(&self, name: &str) -> u64 {
        if self.is_nothing() {
            return 0;
        }
        let of_topic = |(topic, partitions): (&String, &BTreeMap<i32, Kept>)| {
            let metadata = partitions.values().map(|kept| kept.committed.metadata.len());
            let offsets: usize = metadata.map(|metadata| OFFSET_BYTES + metadata).sum();
            TOPIC_BYTES + topic.len() + offsets
        };
        let topics: usize = self.topics.iter().map(of_topic).sum();
        (GROUP_BYTES + name.len() + topics) as u64
    }
}

/// What a group, a topic and a partition take without their names.
const GROUP_BYTES: usize = 64;
const TOPIC_BYTES: usize = 24;
const OFFSET_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(group: &str, time: i64, topic: &str, id: u8, offsets: &[(i32, i64)]) -> Entry {
        let committed = |offset: i64| {
            let metadata = format!("at {offset}");
            Committed { offset, leader_epoch: 1, metadata }
        };
        let partitions = offsets.iter().map(|(number, at)| (*number, committed(*at))).collect();
        let topic = TopicOffsets { name: topic.to_owned(), id: Uuid([id; 16]), partitions };
        Entry::Commit { group: group.to_owned(), time, topics: vec![topic] }
    }

    fn of(entries: impl IntoIterator<Item = Entry>) -> Offsets {
        let mut offsets = Offsets::default();
        entries.into_iter().for_each(|entry| offsets.apply(entry));
        offsets
    }

    fn offset(offsets: &Offsets, group: &str, topic: &str, partition: i32) -> Option<i64> {
        let kept = offsets.group(group)?.topics.get(topic)?.get(&partition)?;
        Some(kept.committed.offset)
    }

    #[test]
    fn the_last_commit_of_a_partition_counts() {
        let offsets = of([
            commit("g", 1, "t", 1, &[(0, 10), (1, 11)]),
            commit("h", 2, "t", 1, &[(0, 99)]),
            commit("g", 3, "t", 1, &[(0, 7)]),
        ]);
        assert_eq!(offset(&offsets, "g", "t", 0), Some(7));
        assert_eq!(offset(&offsets, "g", "t", 1), Some(11));
        assert_eq!(offset(&offsets, "h", "t", 0), Some(99));
        assert_eq!(offset(&offsets, "h", "t", 1), None);
        let kept = &offsets.group("g").unwrap().topics["t"];
        assert_eq!((kept[&0].time, kept[&1].time), (3, 1));
        assert_eq!(kept[&1].committed.metadata, "at 11");
    }

    #[test]
    fn offsets_of_a_topic_that_was_created_anew_are_not_mixed_with_the_old_ones() {
        let offsets =
            of([commit("g", 1, "t", 1, &[(0, 10), (1, 11)]), commit("g", 2, "t", 2, &[(0, 0)])]);
        assert_eq!(offset(&offsets, "g", "t", 0), Some(0));
        assert_eq!(offset(&offsets, "g", "t", 1), None);
    }

    #[test]
    fn what_is_deleted_is_gone_and_takes_no_bytes() {
        let forget = |topic: &str, partitions: &[i32]| Entry::Forget {
            group: "g".to_owned(),
            topics: vec![(topic.to_owned(), partitions.to_vec())],
        };
        let mut offsets = of([commit("g", 1, "t", 1, &[(0, 10), (1, 11)])]);
        offsets.apply(commit("g", 1, "u", 1, &[(0, 5)]));
        offsets.apply(forget("t", &[0, 2]));
        assert_eq!(
            (offset(&offsets, "g", "t", 0), offset(&offsets, "g", "t", 1)),
            (None, Some(11))
        );
        let gone = |id| Entry::DeleteTopic { topic: "t".to_owned(), id: Uuid([id; 16]) };
        // A topic of that name that was there before does not take these with it.
        offsets.apply(gone(9));
        assert_eq!(offset(&offsets, "g", "t", 1), Some(11));
        offsets.apply(gone(1));
        assert_eq!((offset(&offsets, "g", "t", 1), offset(&offsets, "g", "u", 0)), (None, Some(5)));
        offsets.apply(forget("u", &[0]));
        assert_eq!((offsets.group_count(), offsets.bytes()), (0, 0));
        offsets.apply(commit("g", 1, "u", 1, &[(0, 5)]));
        assert!(offsets.bytes() > 0);
        offsets.apply(Entry::DeleteGroup { group: "g".to_owned() });
        assert_eq!((offsets.group_count(), offsets.bytes()), (0, 0));
    }

    #[test]
    fn written_anew_it_is_the_same_and_takes_about_the_bytes_that_were_counted() {
        let generation = |since| Entry::Generation {
            group: "g".to_owned(),
            number: 4,
            protocol_type: "consumer".to_owned(),
            empty_since: since,
        };
        let mut offsets = of([generation(None), generation(Some(12))]);
        for partition in 0..100 {
            offsets.apply(commit("g", 1, "t", 1, &[(partition, 10)]));
            offsets.apply(commit("g", 1, "v", 1, &[(partition, 12)]));
            offsets.apply(commit("h", i64::from(partition), "u", 1, &[(partition % 7, 11)]));
        }
        assert_eq!(of(offsets.entries()), offsets);
        let mut written = Vec::new();
        offsets.entries().for_each(|entry| entry.encode(&mut written));
        let counted = offsets.bytes();
        assert!(counted.abs_diff(written.len() as u64) < counted / 2, "{counted}");
    }
}
