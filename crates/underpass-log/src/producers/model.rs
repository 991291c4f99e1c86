//! Streams of batches with failed writes, snapshots and crashes, compared with a model that keeps
//! everything that was ever appended and looks through all of it.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// One write of some batches, which may fail.
    Write {
        batches: Vec<Sent>,
        fails: bool,
    },
    Snapshot,
    /// All but the log and the snapshot is lost.
    Crash,
}

/// A batch, in relation to what its producer appended last.
#[derive(Debug, Clone, Copy)]
struct Sent {
    id: i64,
    epoch: i16,
    count: i32,
    sequence: Sequence,
}

#[derive(Debug, Clone, Copy)]
enum Sequence {
    Next,
    /// The batch this many batches before the last, as it was then.
    Again(usize),
    Gap(i32),
    Start,
}

/// What was appended, in order.
#[derive(Debug, Default)]
struct Model {
    log: Vec<BatchHeader>,
}

impl Model {
    fn of(&self, id: i64) -> impl DoubleEndedIterator<Item = &BatchHeader> {
        self.log.iter().filter(move |batch| batch.producer_id == id)
    }

    fn end(&self) -> i64 {
        self.log.last().map_or(0, |batch| batch.last_offset() + 1)
    }

    /// The numbers of a batch that was sent.
    fn batch(&self, sent: Sent, first: i32) -> BatchHeader {
        let Sent { id, epoch, count, sequence } = sent;
        let last = self.of(id).next_back();
        let next = last.map_or(first, next_sequence);
        let (sequence, count, epoch) = match sequence {
            Sequence::Next => (next, count, last.map_or(epoch, |batch| batch.producer_epoch)),
            Sequence::Gap(gap) => (next.wrapping_add(gap) & i32::MAX, count, epoch),
            Sequence::Start => (0, count, epoch),
            Sequence::Again(ago) => match self.of(id).nth_back(ago) {
                Some(batch) => (batch.base_sequence, batch.count, batch.producer_epoch),
                None => (next, count, epoch),
            },
        };
        batch_of(id, epoch, sequence, count, self.end())
    }

    /// What Kafka says: ProducerStateEntry.findDuplicateBatch, ProducerAppendInfo.checkSequence.
    fn verdict(&self, batch: &BatchHeader) -> Answer {
        let Some(last) = self.of(batch.producer_id).next_back() else { return Answer::New };
        let same_epoch = |known: &&BatchHeader| known.producer_epoch == last.producer_epoch;
        let mut window = self.of(batch.producer_id).rev().take_while(same_epoch).take(5);
        let same = |known: &&BatchHeader| {
            (known.producer_epoch, known.base_sequence, known.count)
                == (batch.producer_epoch, batch.base_sequence, batch.count)
        };
        match batch.producer_epoch.cmp(&last.producer_epoch) {
            std::cmp::Ordering::Less => Answer::Refused,
            std::cmp::Ordering::Greater if batch.base_sequence == 0 => Answer::New,
            std::cmp::Ordering::Greater => Answer::Refused,
            std::cmp::Ordering::Equal => match window.find(same) {
                Some(known) => Answer::Duplicate(known.base_offset),
                None if batch.base_sequence == next_sequence(last) => Answer::New,
                None => Answer::Refused,
            },
        }
    }
}

/// As many records on as the batch has, where 0 follows the largest number.
fn next_sequence(batch: &BatchHeader) -> i32 {
    let next = (i64::from(batch.base_sequence) + i64::from(batch.count)) % (1 << 31);
    i32::try_from(next).unwrap()
}

#[derive(Debug, PartialEq)]
enum Answer {
    New,
    Duplicate(i64),
    Refused,
}

impl From<Verdict> for Answer {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::New => Self::New,
            Verdict::Duplicate { base_offset, .. } => Self::Duplicate(base_offset),
            Verdict::Refused(_) => Self::Refused,
        }
    }
}

/// What is to survive a crash: a snapshot, and how much of the log it covers.
struct Saved {
    bytes: Vec<u8>,
    batches: usize,
}

impl Saved {
    fn of(producers: &Producers, model: &Model) -> Self {
        Self { bytes: producers.encode(), batches: model.log.len() }
    }

    fn restore(&self, model: &Model) -> Producers {
        let mut producers = Producers::decode(&self.bytes).unwrap();
        for batch in &model.log[self.batches..] {
            producers.record(batch, 0);
        }
        producers.commit();
        producers
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let sequence = prop_oneof![
        6 => Just(Sequence::Next),
        4 => (0..8_usize).prop_map(Sequence::Again),
        1 => (-3..5).prop_map(Sequence::Gap),
        2 => Just(Sequence::Start),
    ];
    (0..3_i64, 0..3_i16, 1..4, sequence).prop_map(|(id, epoch, count, sequence)| Sent {
        id,
        epoch,
        count,
        sequence,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let write = (vec(sent(), 1..6), prop::bool::weighted(0.15))
        .prop_map(|(batches, fails)| Step::Write { batches, fails });
    prop_oneof![8 => write, 1 => Just(Step::Snapshot), 1 => Just(Step::Crash)]
}

/// Writes what is new, compares every verdict, and takes all of it back if the write fails.
fn write(producers: &mut Producers, model: &mut Model, batches: &[Sent], first: i32, fails: bool) {
    let before = model.log.len();
    for sent in batches {
        let batch = model.batch(*sent, first);
        let said = Answer::from(producers.check(&batch));
        let wanted = model.verdict(&batch);
        assert_eq!(said, wanted, "{batch:?} after {:?}", model.log);
        if wanted == Answer::New {
            producers.record(&batch, 0);
            model.log.push(batch);
        }
    }
    if fails {
        producers.roll_back();
        model.log.truncate(before);
    } else {
        producers.commit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_verdict_is_that_of_the_model(
        steps in vec(step(), 1..40),
        first in prop_oneof![Just(0), i32::MAX - 20..=i32::MAX],
    ) {
        let (mut producers, mut model) = (Producers::new(), Model::default());
        let mut saved = Saved::of(&producers, &model);
        for step in steps {
            match step {
                Step::Write { batches, fails } => {
                    write(&mut producers, &mut model, &batches, first, fails);
                }
                Step::Snapshot => saved = Saved::of(&producers, &model),
                Step::Crash => producers = saved.restore(&model),
            }
        }
    }
}
