//! What idempotent producers have written, so that a batch sent twice is appended once.
//!
//! A producer numbers its records in each partition. A batch that continues its numbers is new; one
//! of the last five is a duplicate, whose offset is answered again; everything else is out of
//! order. A producer of which nothing is known may start with any number: that is how one continues
//! whose state has expired.
//!
//! What was recorded counts at once, so that the next batch of the same write is compared with it.
//! A write that failed takes it back: [`Producers::commit`] or [`Producers::roll_back`] ends each
//! write.
//!
//! Source: Kafka's ProducerStateManager, ProducerStateEntry, ProducerAppendInfo; KIP-98, KIP-360.

pub(crate) mod ids;
#[cfg(test)]
mod model;
mod snapshot;
mod window;

use std::time::Duration;

use lru::LruCache;

use self::window::Producer;
pub(crate) use self::window::{SequenceFault, Verdict};
use crate::batch::BatchHeader;

/// Producers a partition remembers: some 200 bytes each, 0.8 MiB together. The one that wrote
/// the longest ago gives way, as if its state had expired.
pub(crate) const PRODUCERS_MAX: usize = 4096;

/// What a producer has written last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Latest {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    /// The number of its last record, or -1.
    pub(crate) sequence: i32,
    /// When, in ms since 1970.
    pub(crate) written_ms: i64,
}

/// The idempotent producers of one partition.
#[derive(Debug)]
pub(crate) struct Producers {
    /// The one that wrote the longest ago comes last.
    known: LruCache<i64, Producer>,
    /// As they were before this write, the first change first.
    before: Vec<(i64, Option<Producer>)>,
}

impl Producers {
    pub(crate) fn new() -> Self {
        // Not `LruCache::new`, which allocates for as many as there may ever be.
        Self { known: LruCache::unbounded(), before: Vec::new() }
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What each has written last, the latest first.
    pub(crate) fn latest(&self) -> impl Iterator<Item = Latest> {
        self.known.iter().map(|(&id, producer)| Latest {
            id,
            epoch: producer.epoch,
            sequence: producer.batches().last().map_or(-1, |batch| batch.last_sequence),
            written_ms: producer.written_ms,
        })
    }

    /// What is to be done with a batch that a client sent.
    pub(crate) fn check(&self, batch: &BatchHeader) -> Verdict {
        if batch.producer_id < 0 {
            return Verdict::New;
        }
        let (sequence, epoch) = (batch.base_sequence, batch.producer_epoch);
        if sequence < 0 || epoch < 0 {
            return Verdict::Refused(SequenceFault::Negative { sequence, epoch });
        }
        self.known.peek(&batch.producer_id).map_or(Verdict::New, |producer| producer.check(batch))
    }

    /// Remembers a batch whose offsets are assigned, whether a client wrote it, a leader, or
    /// whether it was found in the log.
    pub(crate) fn record(&mut self, batch: &BatchHeader, now_ms: i64) {
        if batch.producer_id < 0 || batch.base_sequence < 0 || batch.producer_epoch < 0 {
            return;
        }
        let id = batch.producer_id;
        let before = self.known.peek(&id).copied();
        self.before.push((id, before));
        let mut producer = before.unwrap_or_else(|| Producer::new(batch.producer_epoch));
        producer.record(batch, now_ms);
        self.known.put(id, producer);
        self.evict();
    }

    /// Ends a write: what it recorded stays.
    pub(crate) fn commit(&mut self) {
        self.before.clear();
    }

    /// Ends a write that failed: everything is as it was before its first batch.
    pub(crate) fn roll_back(&mut self) {
        while let Some((id, before)) = self.before.pop() {
            match before {
                Some(producer) => drop(self.known.put(id, producer)),
                None => drop(self.known.pop(&id)),
            }
        }
    }

    /// Forgets producers that have written nothing for `unused`.
    pub(crate) fn expire(&mut self, now_ms: i64, unused: Duration) {
        let unused_ms = i64::try_from(unused.as_millis()).unwrap_or(i64::MAX);
        let is_old = |producer: &Producer| now_ms.saturating_sub(producer.written_ms) >= unused_ms;
        while self.known.peek_lru().is_some_and(|(_, producer)| is_old(producer)) {
            self.known.pop_lru();
        }
    }

    fn evict(&mut self) {
        if self.known.len() > PRODUCERS_MAX
            && let Some((id, producer)) = self.known.pop_lru()
        {
            self.before.push((id, Some(producer)));
        }
    }
}

/// The header of a batch of an idempotent producer, and nothing else in it that counts.
#[cfg(test)]
fn batch_of(id: i64, epoch: i16, sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset,
        length: 100,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 0,
        max_timestamp: 0,
        producer_id: id,
        producer_epoch: epoch,
        base_sequence: sequence,
        count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(producers: &Producers) -> Vec<(i64, Producer)> {
        producers.known.iter().map(|(id, producer)| (*id, *producer)).collect()
    }

    #[test]
    fn a_write_that_failed_leaves_everything_as_it_was() {
        let mut producers = Producers::new();
        for sequence in 0..7 {
            producers.record(&batch_of(1, 0, sequence, 1, sequence.into()), 10);
        }
        producers.commit();
        let before = known(&producers);
        producers.record(&batch_of(1, 0, 7, 1, 7), 20);
        producers.record(&batch_of(2, 3, 0, 4, 8), 20);
        producers.record(&batch_of(1, 1, 0, 1, 12), 20);
        assert_eq!(producers.len(), 2);
        producers.roll_back();
        assert_eq!(known(&producers), before);
        producers.roll_back();
        assert_eq!(known(&producers), before, "what was taken back is not taken back again");
    }

    #[test]
    fn what_was_committed_is_not_taken_back() {
        let mut producers = Producers::new();
        producers.record(&batch_of(1, 0, 0, 1, 0), 10);
        producers.commit();
        producers.roll_back();
        assert_eq!(producers.len(), 1);
    }

    #[test]
    fn the_producer_that_wrote_the_longest_ago_gives_way_and_comes_back_if_the_write_failed() {
        let mut producers = Producers::new();
        for id in 0..4096 {
            producers.record(&batch_of(id, 0, 5, 1, id), 10);
        }
        producers.record(&batch_of(0, 0, 6, 1, 4096), 10);
        producers.commit();
        producers.record(&batch_of(5000, 0, 0, 1, 4097), 10);
        assert_eq!(producers.len(), 4096);
        let out_of_order = |producers: &Producers, id| {
            matches!(producers.check(&batch_of(id, 0, 9, 1, 0)), Verdict::Refused(_))
        };
        assert_eq!([0, 1, 2].map(|id| out_of_order(&producers, id)), [true, false, true]);
        producers.roll_back();
        assert_eq!([0, 1, 5000].map(|id| out_of_order(&producers, id)), [true, true, false]);
        assert_eq!(producers.len(), 4096);
    }

    #[test]
    fn a_producer_expires_when_it_wrote_nothing_for_that_long() {
        let mut producers = Producers::new();
        producers.record(&batch_of(1, 0, 0, 1, 0), 1_000);
        producers.record(&batch_of(2, 0, 0, 1, 1), 1_001);
        producers.record(&batch_of(3, 0, 0, 1, 2), 1_002);
        producers.record(&batch_of(1, 0, 1, 1, 3), 1_003);
        let left = |producers: &mut Producers, now| {
            producers.expire(now, Duration::from_millis(50));
            producers.len()
        };
        let times = [i64::MIN, 1_050, 1_051, 1_052, 1_053];
        assert_eq!(times.map(|now| left(&mut producers, now)), [3, 3, 2, 1, 0]);
    }

    #[test]
    fn batches_without_a_producer_are_new_and_not_remembered() {
        let mut producers = Producers::new();
        let batch = batch_of(-1, -1, -1, 3, 0);
        producers.record(&batch, 0);
        assert_eq!((producers.check(&batch), producers.len()), (Verdict::New, 0));
    }

    #[test]
    fn a_producer_without_an_epoch_or_a_sequence_number_is_refused() {
        let producers = Producers::new();
        for (epoch, sequence) in [(-1, 0), (0, -1)] {
            let fault = SequenceFault::Negative { sequence, epoch };
            let verdict = producers.check(&batch_of(7, epoch, sequence, 1, 0));
            assert_eq!(verdict, Verdict::Refused(fault));
        }
    }
}
