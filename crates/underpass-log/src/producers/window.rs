//! One producer in one partition: its epoch and its last five batches.
//!
//! Five, because a producer has at most five requests under way (`max.in.flight.requests`), so
//! that any of them may be sent again.
//!
//! Source: Kafka's ProducerStateEntry (NUM_BATCHES_TO_RETAIN), ProducerAppendInfo (checkSequence),
//! DefaultRecordBatch (incrementSequence, decrementSequence).

use crate::batch::BatchHeader;

/// Batches that are remembered.
pub(super) const WINDOW: usize = 5;

/// What is to be done with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is appended.
    New,
    /// It was appended before, and is answered as it was then.
    Duplicate {
        /// The offset of its first record.
        base_offset: i64,
        /// When it was appended, or -1 if its timestamps are the producer's.
        append_time: i64,
    },
    /// It does not continue what its producer wrote.
    Refused(SequenceFault),
}

/// Why a batch does not continue what its producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SequenceFault {
    #[error("a batch of an idempotent producer has sequence number {sequence} and epoch {epoch}")]
    Negative { sequence: i32, epoch: i16 },
    #[error("producer {id} has epoch {known} by now, and the batch has epoch {epoch}")]
    StaleEpoch { id: i64, epoch: i16, known: i16 },
    #[error("producer {id} sent sequence number {sequence} after {last}")]
    OutOfOrder { id: i64, sequence: i32, last: i32 },
    #[error("producer {id} starts epoch {epoch} with sequence number {sequence}, which must be 0")]
    NewEpoch { id: i64, epoch: i16, sequence: i32 },
}

/// A batch that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Written {
    pub(super) last_sequence: i32,
    pub(super) last_offset_delta: i32,
    pub(super) base_offset: i64,
    /// -1 if its timestamps are the producer's.
    pub(super) append_time: i64,
}

/// What is known of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    /// When it wrote last, by the clock of this machine: timestamps of records may be anything.
    pub(super) written_ms: i64,
    /// The oldest first.
    batches: [Written; WINDOW],
    count: usize,
}

impl Producer {
    pub(super) fn new(epoch: i16) -> Self {
        Self { epoch, written_ms: 0, batches: Default::default(), count: 0 }
    }

    /// The oldest first.
    pub(super) fn batches(&self) -> &[Written] {
        &self.batches[..self.count]
    }

    pub(super) fn push(&mut self, written: Written) {
        if self.count == WINDOW {
            self.batches.rotate_left(1);
        } else {
            self.count += 1;
        }
        self.batches[self.count - 1] = written;
    }

    pub(super) fn record(&mut self, batch: &BatchHeader, now_ms: i64) {
        if batch.producer_epoch != self.epoch {
            *self = Self::new(batch.producer_epoch);
        }
        self.written_ms = now_ms;
        self.push(Written::of(batch));
    }

    pub(super) fn check(&self, batch: &BatchHeader) -> Verdict {
        let (id, epoch, sequence) = (batch.producer_id, batch.producer_epoch, batch.base_sequence);
        if epoch < self.epoch {
            return Verdict::Refused(SequenceFault::StaleEpoch { id, epoch, known: self.epoch });
        }
        if epoch > self.epoch {
            return match sequence {
                0 => Verdict::New,
                _ => Verdict::Refused(SequenceFault::NewEpoch { id, epoch, sequence }),
            };
        }
        let written = Written::of(batch);
        if let Some(same) = self.batches().iter().find(|known| known.is_same(&written)) {
            let Written { base_offset, append_time, .. } = *same;
            return Verdict::Duplicate { base_offset, append_time };
        }
        match self.batches().last().map(|newest| newest.last_sequence) {
            Some(last) if after(last, 1) != sequence => {
                Verdict::Refused(SequenceFault::OutOfOrder { id, sequence, last })
            }
            _ => Verdict::New,
        }
    }
}

impl Written {
    fn of(batch: &BatchHeader) -> Self {
        Self {
            last_sequence: after(batch.base_sequence, batch.last_offset_delta),
            last_offset_delta: batch.last_offset_delta,
            base_offset: batch.base_offset,
            append_time: if batch.has_append_time() { batch.max_timestamp } else { -1 },
        }
    }

    /// Whether it has the same sequence numbers: with as many, and the same last, also the same
    /// first.
    const fn is_same(&self, other: &Self) -> bool {
        self.last_sequence == other.last_sequence
            && self.last_offset_delta == other.last_offset_delta
    }
}

/// The sequence number `count` records on: after the largest comes 0.
const fn after(sequence: i32, count: i32) -> i32 {
    sequence.wrapping_add(count) & i32::MAX
}

#[cfg(test)]
mod tests {
    use super::super::batch_of;
    use super::*;

    /// Batches of two records each, with sequence numbers from `first` on, at offsets from 100 on.
    fn after_batches(count: i32, first: i32) -> Producer {
        let mut producer = Producer::new(3);
        for batch in 0..count {
            let offset = 100 + 2 * i64::from(batch);
            producer.record(&batch_of(1, 3, after(first, 2 * batch), 2, offset), 0);
        }
        producer
    }

    fn check(producer: &Producer, epoch: i16, sequence: i32, count: i32) -> Verdict {
        producer.check(&batch_of(1, epoch, sequence, count, 0))
    }

    const fn duplicate(base_offset: i64) -> Verdict {
        Verdict::Duplicate { base_offset, append_time: -1 }
    }

    const fn out_of_order(sequence: i32, last: i32) -> Verdict {
        Verdict::Refused(SequenceFault::OutOfOrder { id: 1, sequence, last })
    }

    #[test]
    fn the_last_five_batches_are_duplicates_and_the_sixth_is_out_of_order() {
        let producer = after_batches(7, 0);
        for (sequence, offset) in [(4, 104), (6, 106), (8, 108), (10, 110), (12, 112)] {
            assert_eq!(check(&producer, 3, sequence, 2), duplicate(offset));
        }
        assert_eq!(check(&producer, 3, 2, 2), out_of_order(2, 13));
        assert_eq!(check(&producer, 3, 14, 2), Verdict::New);
        assert_eq!(check(&producer, 3, 15, 2), out_of_order(15, 13));
    }

    #[test]
    fn a_duplicate_has_the_same_first_and_the_same_last_record() {
        let producer = after_batches(2, 0);
        assert_eq!(check(&producer, 3, 0, 4), out_of_order(0, 3));
        assert_eq!(check(&producer, 3, 1, 1), out_of_order(1, 3));
        assert_eq!(check(&producer, 3, 2, 1), out_of_order(2, 3));
        assert_eq!(check(&producer, 3, 2, 2), duplicate(102));
    }

    #[test]
    fn the_number_after_the_largest_is_zero() {
        let whole = after_batches(1, i32::MAX - 1);
        assert_eq!(check(&whole, 3, 0, 1), Verdict::New);
        assert_eq!(check(&whole, 3, i32::MAX - 1, 2), duplicate(100));
        let across = after_batches(1, i32::MAX);
        assert_eq!(check(&across, 3, 1, 1), Verdict::New);
        assert_eq!(check(&across, 3, i32::MAX, 2), duplicate(100));
        assert_eq!(check(&across, 3, 0, 1), out_of_order(0, 0));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_ends_the_one_before() {
        let mut producer = after_batches(2, 0);
        let fault = SequenceFault::NewEpoch { id: 1, epoch: 4, sequence: 4 };
        assert_eq!(check(&producer, 4, 4, 2), Verdict::Refused(fault));
        assert_eq!(check(&producer, 4, 0, 2), Verdict::New);
        producer.record(&batch_of(1, 4, 0, 2, 200), 0);
        assert_eq!(check(&producer, 4, 0, 2), duplicate(200));
        let fault = SequenceFault::StaleEpoch { id: 1, epoch: 3, known: 4 };
        assert_eq!(check(&producer, 3, 2, 2), Verdict::Refused(fault));
        assert_eq!(check(&producer, 4, 4, 2), out_of_order(4, 1));
    }

    #[test]
    fn a_duplicate_is_answered_with_the_time_at_which_it_was_appended() {
        let mut producer = Producer::new(0);
        let mut batch = batch_of(1, 0, 0, 1, 5);
        (batch.attributes, batch.max_timestamp) = (0x08, 1_234);
        producer.record(&batch, 0);
        let verdict = Verdict::Duplicate { base_offset: 5, append_time: 1_234 };
        assert_eq!(check(&producer, 0, 0, 1), verdict);
    }
}
