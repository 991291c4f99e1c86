//! What is to be appended to a partition, and those who want to know what came of it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::log::{Incoming, Outcome};
use crate::wire::ErrorCode;

/// When a producer wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// When its batch is in the log: `acks=1`. With `acks=0` the answer is not sent.
    Leader,
    /// When its batch is as safe as it gets: `acks=all`.
    All,
}

/// Where a batch was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// In ms since 1970, if the topic has such timestamps; -1 otherwise.
    pub(crate) append_time: i64,
}

/// What becomes of a batch. Its sender is dropped without a word only by a panic.
pub(crate) type Answer = oneshot::Receiver<Result<Appended, ErrorCode>>;

/// Someone who waits for an answer.
#[derive(Debug)]
pub(super) struct Asker {
    pub(super) acks: Acks,
    pub(super) answer: oneshot::Sender<Result<Appended, ErrorCode>>,
}

impl Asker {
    fn tell(self, outcome: Result<Appended, ErrorCode>) {
        // A connection that has gone does not want to know.
        self.answer.send(outcome).unwrap_or_default();
    }
}

/// Batches that are to be appended, and for each its asker.
#[derive(Debug, Default)]
pub(super) struct Queue {
    batches: Vec<Incoming>,
    askers: Vec<Asker>,
}

/// An answer that waits until everything before `end` is durable.
#[derive(Debug)]
pub(super) struct Late {
    end: i64,
    appended: Appended,
    asker: Asker,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub(super) fn push(&mut self, batch: Incoming, asker: Asker) {
        self.batches.push(batch);
        self.askers.push(asker);
    }

    pub(super) fn batches_mut(&mut self) -> &mut [Incoming] {
        &mut self.batches
    }

    /// Takes off those of which nothing has come.
    pub(super) fn split_off_undecided(&mut self) -> Self {
        let at = self.batches.partition_point(|batch| batch.outcome().is_some());
        Self { batches: self.batches.split_off(at), askers: self.askers.split_off(at) }
    }

    /// Puts others in front.
    pub(super) fn put_before(&mut self, mut first: Self) {
        first.batches.append(&mut self.batches);
        first.askers.append(&mut self.askers);
        *self = first;
    }

    pub(super) fn refuse(self, refusal: ErrorCode) {
        self.askers.into_iter().for_each(|asker| asker.tell(Err(refusal)));
    }

    /// Tells askers what came of their batches; gives those back that wait until their batches are
    /// durable, if `durable` says up to which offset that is so by now.
    pub(super) fn answer(self, durable: Option<i64>) -> Vec<Late> {
        let mut late = Vec::new();
        for (batch, asker) in self.batches.into_iter().zip(self.askers) {
            // Without an outcome it was not written, for want of the disk.
            let outcome = batch.outcome().unwrap_or(Outcome::Refused(ErrorCode::KafkaStorageError));
            let end = end(&outcome, &batch);
            match (Result::from(&outcome), durable) {
                (Ok(appended), Some(durable)) if asker.acks == Acks::All && durable < end => {
                    late.push(Late { end, appended, asker });
                }
                (told, _) => asker.tell(told),
            }
        }
        late
    }
}

/// The offset behind the batch.
fn end(outcome: &Outcome, batch: &Incoming) -> i64 {
    match *outcome {
        Outcome::Appended { base_offset, .. } => {
            base_offset + i64::from(batch.header().last_offset_delta) + 1
        }
        Outcome::Duplicate { last_offset, .. } => last_offset + 1,
        Outcome::Refused(_) => 0,
    }
}

/// Answers that wait for the disk, in the order of their ends.
#[derive(Debug, Default)]
pub(super) struct Awaiting(VecDeque<Late>);

impl Awaiting {
    /// Adds answers, in the order in which their batches were written. Duplicates
    /// end earlier than their place in the order says, and wait a little longer.
    pub(super) fn extend(&mut self, late: Vec<Late>) {
        for mut one in late {
            let before = self.0.back().map_or(one.end, |last| last.end);
            one.end = one.end.max(before);
            self.0.push_back(one);
        }
    }

    /// Everything before `end` is durable.
    pub(super) fn answer_to(&mut self, end: i64) {
        while self.0.front().is_some_and(|late| late.end <= end) {
            let Some(Late { appended, asker, .. }) = self.0.pop_front() else { return };
            asker.tell(Ok(appended));
        }
    }

    pub(super) fn refuse(&mut self, refusal: ErrorCode) {
        self.0.drain(..).for_each(|late| late.asker.tell(Err(refusal)));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use super::*;
    use crate::log::{Log, fixture};
    use crate::open_files::OpenFiles;

    fn push(queue: &mut Queue, time: i64) {
        let (answer, _) = oneshot::channel();
        let batch = fixture::incoming(fixture::batch(1, 10, time));
        queue.push(batch, Asker { acks: Acks::Leader, answer });
    }

    #[test]
    fn what_has_to_wait_for_a_flush_stays_before_what_comes_meanwhile() {
        let (_parent, dir) = fixture::place();
        let files = Arc::new(OpenFiles::new(NonZeroUsize::MIN).crowded_at(2));
        // Each batch has its own segment.
        let mut log = Log::create(&dir, fixture::small_segments(1), files).unwrap();
        let mut queue = Queue::default();
        (0..6).for_each(|time| push(&mut queue, time));
        let (mut written, mut later) = (Vec::new(), 6..8);
        while !queue.is_empty() {
            log.append(queue.batches_mut(), 1).unwrap();
            let rest = queue.split_off_undecided();
            let times = queue.batches.iter().map(|batch| batch.header().max_timestamp);
            written.push(times.collect::<Vec<_>>());
            queue = Queue::default();
            later.next().into_iter().for_each(|time| push(&mut queue, time));
            queue.put_before(rest);
            log.unsynced().run().unwrap();
        }
        assert_eq!(written, [[0, 1], [2, 3], [4, 5], [6, 7]]);
    }
}
