//! What producers were told and consumers saw of a log, and what of it cannot be.
//!
//! Values are unique: each is sent once, or again only by an idempotent producer that knows
//! nothing of the first time. So a value has one place, a place has one value at all
//! times, and a value that was acknowledged is in the log at the end, where it was said to be.
//!
//! Source: Jepsen's Kafka workload (`jepsen/src/jepsen/tests/kafka.clj`): lost-write, duplicate,
//! inconsistent-offsets, nonmonotonic-poll, poll-skip, nonmonotonic-send.

use std::collections::{BTreeMap, BTreeSet};

/// A value at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// What is there.
    pub value: u64,
}

/// Everything that was said of one topic.
#[derive(Debug, Default)]
pub struct History {
    /// What each producer was told of what it sent, in its order.
    pub acknowledged: Vec<Vec<Entry>>,
    /// Values whose producers were told nothing, or of an error.
    pub unknown: BTreeSet<u64>,
    /// What each consumer got, in its order, from its first offset on.
    pub polled: Vec<Vec<Entry>>,
    /// The whole log, read at the end.
    pub log: Vec<Entry>,
    /// The first offset of each partition at the end, where it is not 0.
    pub starts: BTreeMap<i32, i64>,
    /// What was wrong at once: an answer that cannot be read, an error that must not come.
    pub complaints: Vec<String>,
}

/// What cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anomaly {
    /// Acknowledged, and not there at the end.
    LostWrite(Entry),
    /// Seen by a consumer, and not there at the end.
    LostRead(Entry),
    /// Two values at one place.
    InconsistentOffset(Entry, Entry),
    /// One value at two places.
    Duplicate(Entry, Entry),
    /// A value that no producer sent.
    Invented(Entry),
    /// A consumer got the second after the first.
    Backwards(Entry, Entry),
    /// A consumer that was before the entry and is past it never got it.
    Skipped(Entry),
    /// A producer was given the second after the first.
    AcknowledgedBackwards(Entry, Entry),
}

impl History {
    /// What cannot be, at most `100` of each kind of question.
    #[must_use]
    pub fn anomalies(&self) -> Vec<Anomaly> {
        let questions =
            [self.lost(), self.places(), self.invented(), self.orders(), self.skipped()];
        questions.into_iter().flat_map(|found| found.into_iter().take(100)).collect()
    }

    /// Asserts that all of it can be.
    ///
    /// # Panics
    ///
    /// If something cannot; says what.
    pub fn assert_sound(&self) {
        let counts = format!(
            "{} acknowledged, {} unknown, {} in the log",
            self.acknowledgements(),
            self.unknown.len(),
            self.log.len()
        );
        let is_sound = self.anomalies().is_empty() && self.complaints.is_empty();
        assert!(is_sound, "{counts}, {}", self.said());
    }

    fn said(&self) -> String {
        let anomalies = self.anomalies();
        let shown = anomalies.iter().take(20).map(|anomaly| format!("{anomaly:x?}"));
        let complaints = self.complaints.iter().take(20).cloned();
        let lines: Vec<String> = shown.chain(complaints).collect();
        format!("{} anomalies\n{}", anomalies.len(), lines.join("\n"))
    }

    /// How many values were acknowledged.
    #[must_use]
    pub fn acknowledgements(&self) -> usize {
        self.acknowledged.iter().map(Vec::len).sum()
    }

    fn lost(&self) -> Vec<Anomaly> {
        let there: BTreeSet<&Entry> = self.log.iter().collect();
        let is_lost = |entry: &&Entry| {
            let start = self.starts.get(&entry.partition).copied().unwrap_or(0);
            entry.offset >= start && !there.contains(entry)
        };
        let writes = self.acknowledged.iter().flatten().filter(is_lost).copied();
        let reads = self.polled.iter().flatten().filter(is_lost).copied();
        writes.map(Anomaly::LostWrite).chain(reads.map(Anomaly::LostRead)).collect()
    }

    /// Whether each place has one value and each value one place.
    fn places(&self) -> Vec<Anomaly> {
        let (mut of_place, mut of_value) = (BTreeMap::new(), BTreeMap::new());
        let all: BTreeSet<Entry> = self.entries().collect();
        let mut found = Vec::new();
        for entry in all {
            if let Some(other) = of_place.insert((entry.partition, entry.offset), entry) {
                found.push(Anomaly::InconsistentOffset(other, entry));
            }
            if let Some(other) = of_value.insert(entry.value, entry) {
                found.push(Anomaly::Duplicate(other, entry));
            }
        }
        found
    }

    fn invented(&self) -> Vec<Anomaly> {
        let mut sent = self.unknown.clone();
        sent.extend(self.acknowledged.iter().flatten().map(|entry| entry.value));
        let got = self.polled.iter().flatten().chain(&self.log);
        got.filter(|entry| !sent.contains(&entry.value)).copied().map(Anomaly::Invented).collect()
    }

    fn orders(&self) -> Vec<Anomaly> {
        let polled = self.polled.iter().flat_map(|entries| backwards(entries));
        let acknowledged = self.acknowledged.iter().flat_map(|entries| backwards(entries));
        let polled = polled.map(|(first, second)| Anomaly::Backwards(first, second));
        let acknowledged =
            acknowledged.map(|(first, second)| Anomaly::AcknowledgedBackwards(first, second));
        polled.chain(acknowledged).collect()
    }

    /// What is in the log between the first and the last entry that a consumer got.
    fn skipped(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        for consumer in &self.polled {
            let got: BTreeSet<(i32, i64)> = consumer.iter().map(Entry::place).collect();
            let mut spans: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
            for entry in consumer {
                let (first, last) =
                    spans.entry(entry.partition).or_insert((entry.offset, entry.offset));
                (*first, *last) = (entry.offset.min(*first), entry.offset.max(*last));
            }
            let is_skipped = |entry: &&Entry| {
                let span = spans.get(&entry.partition);
                let is_within = span.is_some_and(|(a, b)| (*a..=*b).contains(&entry.offset));
                is_within && !got.contains(&entry.place())
            };
            found.extend(self.log.iter().filter(is_skipped).copied().map(Anomaly::Skipped));
        }
        found
    }

    fn entries(&self) -> impl Iterator<Item = Entry> {
        let told = self.acknowledged.iter().chain(&self.polled).flatten();
        told.chain(&self.log).copied()
    }
}

impl Entry {
    const fn place(&self) -> (i32, i64) {
        (self.partition, self.offset)
    }
}

/// Entries that one partition had before others of lower or equal offsets.
fn backwards(entries: &[Entry]) -> Vec<(Entry, Entry)> {
    let mut last: BTreeMap<i32, Entry> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        if let Some(before) = last.insert(entry.partition, *entry)
            && before.offset >= entry.offset
        {
            found.push((before, *entry));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(offset: i64, value: u64) -> Entry {
        Entry { partition: 0, offset, value }
    }

    /// Two producers, of whom one was told nothing of its second value, and a consumer.
    fn sound() -> History {
        History {
            acknowledged: vec![vec![at(0, 10), at(3, 11)], vec![at(1, 20)]],
            unknown: BTreeSet::from([21, 22]),
            polled: vec![vec![at(1, 20), at(2, 21), at(3, 11)], vec![]],
            log: vec![at(0, 10), at(1, 20), at(2, 21), at(3, 11)],
            starts: BTreeMap::new(),
            complaints: vec![],
        }
    }

    #[test]
    fn what_was_told_nothing_may_be_there_or_not() {
        assert_eq!(sound().anomalies(), []);
        assert_eq!(sound().acknowledgements(), 3);
    }

    #[test]
    fn each_anomaly_is_found_and_alone() {
        type Fault = fn(&mut History);
        let cases: [(Fault, Anomaly); 8] = [
            (|h| h.acknowledged[1].push(at(9, 22)), Anomaly::LostWrite(at(9, 22))),
            (|h| h.polled[1].push(at(9, 22)), Anomaly::LostRead(at(9, 22))),
            (|h| h.log.push(at(4, 99)), Anomaly::Invented(at(4, 99))),
            (|h| h.polled[0].retain(|entry| entry.offset != 2), Anomaly::Skipped(at(2, 21))),
            (|h| h.log.push(at(4, 20)), Anomaly::Duplicate(at(1, 20), at(4, 20))),
            (|h| h.polled[0].push(at(3, 11)), Anomaly::Backwards(at(3, 11), at(3, 11))),
            (|h| h.polled[0].push(at(1, 20)), Anomaly::Backwards(at(3, 11), at(1, 20))),
            (
                |h| h.acknowledged[0].swap(0, 1),
                Anomaly::AcknowledgedBackwards(at(3, 11), at(0, 10)),
            ),
        ];
        for (befall, anomaly) in cases {
            let mut history = sound();
            befall(&mut history);
            assert_eq!(history.anomalies(), [anomaly]);
        }
    }

    #[test]
    fn a_place_that_was_given_twice_is_found_whoever_saw_it_first() {
        // The consumer saw 22 at the place where 11 is now: the tail was lost, and given again.
        let mut history = sound();
        history.polled[1].push(at(3, 22));
        let again = Anomaly::InconsistentOffset(at(3, 11), at(3, 22));
        assert_eq!(history.anomalies(), [Anomaly::LostRead(at(3, 22)), again]);
    }

    #[test]
    fn what_retention_took_is_not_lost() {
        let mut history = sound();
        history.log.remove(0);
        history.starts.insert(0, 1);
        assert_eq!(history.anomalies(), []);
        history.starts.insert(0, 0);
        assert_eq!(history.anomalies(), [Anomaly::LostWrite(at(0, 10))]);
    }
}
