//! Producers and consumers of one topic that survive their server: each connects again wherever
//! it is next, and writes down what it was told.
//!
//! A plain producer sends a value once. An idempotent one sends a batch again, with its sequence,
//! until it is told where it is: it must be there once.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use super::batch::{self, Sequence};
use super::client::{Client, Fetch, Fetched};
use super::history::{Entry, History};
use crate::wait;

/// `OFFSET_OUT_OF_RANGE`: a consumer's place is not there.
const OUT_OF_RANGE: i16 = 1;

/// Errors after which a producer sends again: no such partition now, no leader, timed out, and
/// `KAFKA_STORAGE_ERROR`.
const TRANSIENT: [i16; 5] = [3, 5, 6, 7, 56];

/// The most bytes that a consumer asks for.
const FETCH_BYTES: i32 = 256 << 10;

/// Answers without records, each waited for 100 ms, before a log is taken to be at its end.
const EMPTY_MAX: u32 = 30;

/// How long acknowledgements may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Producing {
    /// Once each.
    Plain,
    /// With sequences, again until it is told.
    Idempotent,
}

impl Producing {
    /// Two that send once, and two that send again.
    pub const MIXED: [Self; 4] = [Self::Plain, Self::Idempotent, Self::Plain, Self::Idempotent];
}

/// What is produced to, and how.
#[derive(Debug, Clone)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// `acks` of produce requests.
    pub acks: i16,
}

/// Running producers and consumers.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    producers: Vec<JoinHandle<Produced>>,
    consumers: Vec<JoinHandle<Consumed>>,
}

#[derive(Debug)]
struct Shared {
    topic: Topic,
    address: Mutex<SocketAddr>,
    producers_stop: AtomicBool,
    consumers_stop: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    seen: AtomicU64,
}

#[derive(Debug, Default)]
struct Produced {
    acknowledged: Vec<Entry>,
    unknown: BTreeSet<u64>,
    complaints: Vec<String>,
}

#[derive(Debug, Default)]
struct Consumed {
    polled: Vec<Entry>,
    complaints: Vec<String>,
}

impl Workload {
    /// Starts producers of these kinds, and consumers of the whole topic.
    #[must_use]
    pub fn start(
        topic: Topic,
        address: SocketAddr,
        producers: &[Producing],
        consumers: usize,
    ) -> Self {
        let shared = Arc::new(Shared {
            topic,
            address: Mutex::new(address),
            producers_stop: AtomicBool::new(false),
            consumers_stop: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        });
        let producers = (1..).zip(producers).map(|(number, kind)| {
            let (shared, kind) = (shared.clone(), *kind);
            thread::spawn(move || Producer::new(&shared, number).run(kind))
        });
        let producers = producers.collect();
        let consumers = (0..consumers).map(|_| {
            let shared = shared.clone();
            thread::spawn(move || shared.consume())
        });
        let consumers = consumers.collect();
        Self { shared, producers, consumers }
    }

    /// Says where the server is from now on.
    pub fn moved_to(&self, address: SocketAddr) {
        *self.shared.address.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Values acknowledged up to now.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Produce requests that were answered with an error.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Values that consumers got up to now, each counted for each consumer.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.shared.seen.load(Ordering::Relaxed)
    }

    /// Waits until this many more values are acknowledged.
    ///
    /// # Panics
    ///
    /// If they are not.
    pub fn wait_for(&self, more: u64) {
        let goal = self.acknowledged() + more;
        let is_there = || (self.acknowledged() >= goal).then_some(());
        let got = wait::until(PATIENCE, is_there);
        assert!(got.is_some(), "{} of {goal} values were acknowledged", self.acknowledged());
    }

    /// Ends producers, then consumers, and reads the log.
    ///
    /// # Errors
    ///
    /// Those of reading the log.
    ///
    /// # Panics
    ///
    /// If a producer or a consumer did.
    pub fn finish(self) -> io::Result<History> {
        let mut history = History::default();
        self.shared.producers_stop.store(true, Ordering::Relaxed);
        for producer in self.producers {
            let produced = producer.join().expect("a producer does not panic");
            history.acknowledged.push(produced.acknowledged);
            history.unknown.extend(produced.unknown);
            history.complaints.extend(produced.complaints);
        }
        self.shared.read_all(&mut history)?;
        self.shared.consumers_stop.store(true, Ordering::Relaxed);
        for consumer in self.consumers {
            let consumed = consumer.join().expect("a consumer does not panic");
            history.polled.push(consumed.polled);
            history.complaints.extend(consumed.complaints);
        }
        Ok(history)
    }
}

impl Shared {
    /// Connects to the server, wherever it is, until it is told to stop.
    fn connect(&self, stop: &AtomicBool) -> Option<Client> {
        while !stop.load(Ordering::Relaxed) {
            let address = *self.address.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(client) = Client::connect(address) {
                return Some(client);
            }
            thread::park_timeout(Duration::from_millis(2));
        }
        None
    }

    fn consume(&self) -> Consumed {
        let mut consumed = Consumed::default();
        let mut positions: Vec<i64> = (0..self.topic.partitions).map(|_| 0).collect();
        while let Some(mut client) = self.connect(&self.consumers_stop) {
            while !self.consumers_stop.load(Ordering::Relaxed) {
                match self.poll(&mut client, &mut positions, &mut consumed) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        consumed.complaints.push(format!("a consumer got {error}"));
                        return consumed;
                    }
                    Err(_) => break,
                }
            }
        }
        consumed
    }

    /// Asks each partition once.
    fn poll(
        &self,
        client: &mut Client,
        positions: &mut [i64],
        consumed: &mut Consumed,
    ) -> io::Result<()> {
        for (partition, position) in (0..).zip(positions) {
            let (fetched, entries) = self.fetch(client, partition, *position, 5)?;
            if fetched.error == OUT_OF_RANGE {
                let Fetched { high_watermark, log_start, .. } = fetched;
                let there = format!("there is {log_start} to {high_watermark}");
                let what = format!("offset {position} of {partition} is out of range, {there}");
                consumed.complaints.push(what);
                *position = log_start.max(0);
            }
            if let Some(last) = entries.last() {
                *position = last.offset + 1;
            }
            self.seen.fetch_add(entries.len() as u64, Ordering::Relaxed);
            consumed.polled.extend(entries);
        }
        Ok(())
    }

    fn fetch(
        &self,
        client: &mut Client,
        partition: i32,
        offset: i64,
        max_wait_ms: i32,
    ) -> io::Result<(Fetched, Vec<Entry>)> {
        let fetch = Fetch {
            topic: &self.topic.name,
            partition,
            offset,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            leader_epoch: -1,
        };
        let fetched = client.fetch(&fetch)?;
        let mut entries = Vec::new();
        let max_bytes = usize::try_from(FETCH_BYTES).unwrap_or(usize::MAX);
        for record in batch::read_up_to(max_bytes, &fetched.records)? {
            // A batch is whole: records before the offset that was asked for may precede.
            if record.offset >= offset {
                let value = value_of(&record.value)?;
                entries.push(Entry { partition, offset: record.offset, value });
            }
        }
        Ok((fetched, entries))
    }

    /// Reads every partition from its start to its end.
    fn read_all(&self, history: &mut History) -> io::Result<()> {
        let mut client = self.connect(&AtomicBool::new(false)).expect("it is not told to stop");
        for partition in 0..self.topic.partitions {
            let start = client.offset_at(&self.topic.name, partition, -2)?;
            history.starts.insert(partition, start);
            let told = history.acknowledged.iter().flatten();
            let told = told.filter(|entry| entry.partition == partition);
            let end = told.map(|entry| entry.offset + 1).max().unwrap_or(0);
            history.log.extend(self.read(&mut client, partition, start, end)?);
        }
        Ok(())
    }

    /// Reads a partition to its end, which may take a moment to come up to what was told. It never
    /// does where that is lost.
    fn read(
        &self,
        client: &mut Client,
        partition: i32,
        start: i64,
        told: i64,
    ) -> io::Result<Vec<Entry>> {
        let (mut at, mut log, mut empty) = (start, Vec::new(), 0);
        loop {
            let (fetched, entries) = self.fetch(client, partition, at, 100)?;
            empty = if entries.is_empty() { empty + 1 } else { 0 };
            at = entries.last().map_or(at, |last| last.offset + 1);
            log.extend(entries);
            let is_end = at >= fetched.high_watermark && at >= told;
            if is_end || empty == EMPTY_MAX {
                return Ok(log);
            }
        }
    }
}

/// One producer.
struct Producer<'s> {
    shared: &'s Shared,
    number: u64,
    made: u64,
    produced: Produced,
}

impl<'s> Producer<'s> {
    fn new(shared: &'s Shared, number: u64) -> Self {
        Self { shared, number, made: 0, produced: Produced::default() }
    }

    fn run(mut self, kind: Producing) -> Produced {
        match kind {
            Producing::Plain => self.run_plain(),
            Producing::Idempotent => self.run_idempotent(),
        }
        self.produced
    }

    fn run_plain(&mut self) {
        let shared = self.shared;
        while let Some(mut client) = shared.connect(&shared.producers_stop) {
            while !shared.producers_stop.load(Ordering::Relaxed) {
                let (partition, values) = self.next();
                let is_over = self.send(&mut client, partition, &values, Sequence::NONE).is_err();
                if is_over {
                    break;
                }
            }
        }
    }

    fn run_idempotent(&mut self) {
        let shared = self.shared;
        let Some(first) = self.first_sequence() else { return };
        let partitions = usize::try_from(shared.topic.partitions).unwrap_or(0);
        let mut sequences = vec![first; partitions];
        while !shared.producers_stop.load(Ordering::Relaxed) {
            let (partition, values) = self.next();
            let Some(sequence) = sequences.get_mut(usize::try_from(partition).unwrap_or(0)) else {
                return;
            };
            if !self.send_until_told(partition, &values, *sequence) {
                return;
            }
            sequence.base += i32::try_from(values.len()).unwrap_or(0);
        }
    }

    fn first_sequence(&mut self) -> Option<Sequence> {
        while let Some(mut client) = self.shared.connect(&self.shared.producers_stop) {
            if let Ok(sequence) = client.init_producer() {
                return Some(sequence);
            }
        }
        None
    }

    /// Whether it was told that the batch is there; otherwise it can send no more.
    fn send_until_told(&mut self, partition: i32, values: &[u64], sequence: Sequence) -> bool {
        while let Some(mut client) = self.shared.connect(&self.shared.producers_stop) {
            loop {
                match self.send(&mut client, partition, values, sequence) {
                    Ok(0) => {
                        self.produced.unknown.retain(|value| !values.contains(value));
                        return true;
                    }
                    Ok(error) if !TRANSIENT.contains(&error) => {
                        let what = format!("{sequence:?} of partition {partition}: error {error}");
                        self.produced.complaints.push(what);
                        return false;
                    }
                    Ok(_) if self.shared.producers_stop.load(Ordering::Relaxed) => return false,
                    Ok(_) => thread::park_timeout(Duration::from_millis(2)),
                    Err(_) => break,
                }
            }
        }
        false
    }

    /// Sends values in one batch, and writes down what is told of them.
    fn send(
        &mut self,
        client: &mut Client,
        partition: i32,
        values: &[u64],
        sequence: Sequence,
    ) -> io::Result<i16> {
        let bytes: Vec<Vec<u8>> = values.iter().copied().map(bytes_of).collect();
        let batch = batch::of(&bytes, now_ms(), sequence);
        let Topic { name, acks, .. } = &self.shared.topic;
        let told = client.produce(name, partition, *acks, &batch);
        if let Ok(produced) = &told
            && produced.error == 0
        {
            let places = (produced.base_offset..).zip(values);
            let entries = places.map(|(offset, value)| Entry { partition, offset, value: *value });
            self.produced.acknowledged.extend(entries);
            self.shared.acknowledged.fetch_add(values.len() as u64, Ordering::Relaxed);
        } else {
            self.shared.refused.fetch_add(u64::from(told.is_ok()), Ordering::Relaxed);
            self.produced.unknown.extend(values);
        }
        Ok(told?.error)
    }

    /// The next values, and where they go.
    fn next(&mut self) -> (i32, Vec<u64>) {
        let count = 1 + self.made % 7;
        let values = (self.made..self.made + count).map(|nth| self.number << 40 | nth).collect();
        self.made += count;
        let partitions = u64::from(self.shared.topic.partitions.unsigned_abs());
        (i32::try_from(self.made % partitions).unwrap_or(0), values)
    }
}

/// A server forgets an idempotent producer a day after the time of its last batch.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A value as bytes, of a length that depends on it, each byte on the value.
fn bytes_of(value: u64) -> Vec<u8> {
    let number = value.to_be_bytes();
    let len = 8 + usize::from(number[7]);
    number.iter().copied().cycle().take(len).collect()
}

fn value_of(bytes: &[u8]) -> io::Result<u64> {
    let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
    let whole = number.filter(|number| bytes_of(*number) == bytes);
    whole.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a value that no producer made"))
}
