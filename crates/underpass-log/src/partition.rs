//! A partition as connections share it: its queue, its high watermark, those who wait.
//!
//! What connections want appended is queued; one of their workers writes all of it at the end of
//! its turn. What was written is answered at once, or, if asked for, when it is durable.

mod queue;
pub(crate) mod waiters;
#[cfg(test)]
mod waiters_model;

/// The locks that waiters are built with.
mod locks {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::batch::BatchHeader;
use crate::chain::Chain;
use crate::flusher::{Flusher, Turn};
use crate::log::{Incoming, Log, LogReader, Outcome, StorageError};
use crate::time::now;
use crate::wire::ErrorCode;
pub(crate) use queue::{Acks, Answer, Appended};
use queue::{Asker, Awaiting, Queue};
use waiters::{Bell, Waiters};

/// How far a batch has come when it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// In the page cache: it survives this process, and not this machine.
    Written,
    /// On the disk, as far as fdatasync(2) can say.
    #[default]
    Durable,
}

/// What is promised to producers and consumers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// When `acks=all` is answered.
    pub acks: Level,
    /// What consumers see.
    pub reads: Level,
}

/// A partition.
pub(crate) struct Partition {
    topic: Arc<str>,
    index: i32,
    log: Mutex<Log>,
    reader: LogReader,
    queue: Mutex<Queue>,
    /// Producers whose batches are written and not durable yet, in the order of their offsets.
    awaiting: Mutex<Awaiting>,
    durable: AtomicI64,
    high_watermark: AtomicI64,
    waiters: Waiters,
    status: AtomicU8,
    /// Whether the last append found no room.
    is_full: AtomicBool,
    /// Whether the queue waits for a flush.
    is_behind: AtomicBool,
    turn: Turn,
    promise: Promise,
    flusher: Arc<Flusher>,
}

/// Whether a partition can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Online,
    /// Its disk has failed: what is on it is not known until the next start.
    Failed,
    /// Its topic is deleted.
    Deleted,
}

const ONLINE: u8 = 0;
const FAILED: u8 = 1;
const DELETED: u8 = 2;

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partition({self})")
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.index)
    }
}

impl Partition {
    /// A partition whose log is open, and all of it durable.
    pub(crate) fn new(
        topic: Arc<str>,
        index: i32,
        log: Log,
        promise: Promise,
        flusher: Arc<Flusher>,
    ) -> Arc<Self> {
        let reader = log.reader();
        let end = reader.end_offset();
        Arc::new(Self {
            topic,
            index,
            log: Mutex::new(log),
            reader,
            queue: Mutex::default(),
            awaiting: Mutex::default(),
            durable: AtomicI64::new(end),
            high_watermark: AtomicI64::new(end),
            waiters: Waiters::default(),
            status: AtomicU8::new(ONLINE),
            is_full: AtomicBool::new(false),
            is_behind: AtomicBool::new(false),
            turn: Turn::default(),
            promise,
            flusher,
        })
    }

    /// Its number within the topic.
    pub(crate) const fn index(&self) -> i32 {
        self.index
    }

    /// What can be read of it.
    pub(crate) const fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The offset behind the last record that consumers may see.
    pub(crate) fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// The offset behind the last record that is on the disk.
    pub(crate) fn durable(&self) -> i64 {
        self.durable.load(Ordering::Acquire)
    }

    pub(crate) const fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    pub(crate) const fn turn(&self) -> &Turn {
        &self.turn
    }

    pub(crate) fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            ONLINE => Status::Online,
            FAILED => Status::Failed,
            _ => Status::Deleted,
        }
    }

    /// Why it cannot be used, if it cannot.
    pub(crate) fn refusal(&self) -> Option<ErrorCode> {
        match self.status() {
            Status::Online => None,
            Status::Failed => Some(ErrorCode::KafkaStorageError),
            Status::Deleted => Some(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Queues a batch that was checked. It is written with the next [`Self::write_queued`].
    pub(crate) fn enqueue(&self, bytes: Bytes, header: BatchHeader, acks: Acks) -> Answer {
        let (asker, answer) = oneshot::channel();
        let incoming = Incoming::new(bytes, header);
        lock(&self.queue).push(incoming, Asker { acks, answer: asker });
        answer
    }

    /// Writes all that is queued, at `now`, in ms since 1970.
    pub(crate) fn write_queued(self: &Arc<Self>, now: i64) {
        // Held to the end: answers that wait for the disk are kept in the order of offsets.
        let mut log = lock(&self.log);
        if log.new_epoch().is_some() && self.status() == Status::Online {
            // A flusher's thread waits for the disk, and calls this again.
            return self.flusher.ask(self);
        }
        let mut queue = std::mem::take(&mut *lock(&self.queue));
        if queue.is_empty() {
            return;
        }
        if let Some(refusal) = self.refusal() {
            return queue.refuse(refusal);
        }
        let written = log.append(queue.batches_mut(), now);
        if written.is_ok() {
            self.put_back(queue.split_off_undecided());
        }
        let end = self.reader.end_offset();
        if self.promise.reads == Level::Written {
            self.show(end);
        }
        let needs_flush = self.promise != WRITTEN || log.has_rolled() || log.is_crowded();
        let waits = self.promise.acks == Level::Durable;
        let late = queue.answer(waits.then(|| self.durable()));
        lock(&self.awaiting).extend(late);
        if let Some(refusal) = self.refusal() {
            // It went offline meanwhile, and those who dismissed the others have not seen these.
            self.dismiss(refusal);
        }
        drop(log);
        if needs_flush {
            // Also after an error: some of the queue may have been written before it.
            self.flusher.ask(self);
        }
        match written {
            Ok(()) => self.is_full.store(false, Ordering::Relaxed),
            Err(error) => self.refused(&error),
        }
    }

    /// Queues again what was not written, until those before are durable.
    fn put_back(&self, rest: Queue) {
        if !rest.is_empty() {
            lock(&self.queue).put_before(rest);
            self.is_behind.store(true, Ordering::Release);
        }
    }

    /// Makes durable what is written, then writes what waits for that. A flusher's thread calls it,
    /// and nothing else.
    pub(crate) fn flush(self: &Arc<Self>) {
        self.save_epoch();
        self.sync();
        if self.is_behind.swap(false, Ordering::AcqRel) {
            self.write_queued(now());
        }
    }

    fn sync(&self) {
        // What has failed once is not asked again: it would seem to have succeeded.
        if self.status() != Status::Online {
            return;
        }
        let job = lock(&self.log).unsynced();
        match job.run() {
            Ok(end) => {
                self.durable.fetch_max(end, Ordering::AcqRel);
                if self.promise.reads == Level::Durable {
                    self.show(end);
                }
                lock(&self.awaiting).answer_to(end);
            }
            // What fdatasync(2) has failed for once may be lost whatever it answers next time.
            Err(error) => self.fail(&format_args!("fdatasync failed: {error}")),
        }
    }

    /// Writes down the epoch of the first batches after a recovery, and then the batches.
    fn save_epoch(self: &Arc<Self>) {
        let Some(epoch) = lock(&self.log).new_epoch() else { return };
        if self.status() == Status::Online {
            if let Err(error) = epoch.save() {
                std::mem::take(&mut *lock(&self.queue)).refuse(ErrorCode::KafkaStorageError);
                return self.refused(&error);
            }
            lock(&self.log).note_epoch_saved();
        }
        self.write_queued(now());
    }

    /// Lets consumers see what is before `end`.
    fn show(&self, end: i64) {
        if self.high_watermark.fetch_max(end, Ordering::AcqRel) < end {
            self.waiters.ring();
        }
    }

    /// Waits until consumers see what is before `offset`, or the partition cannot be used.
    pub(crate) async fn until_visible(&self, offset: i64) {
        let bell = Arc::<Bell>::default();
        let _registered = self.waiters.register(&bell);
        while self.high_watermark() < offset && self.status() == Status::Online {
            poll_fn(|cx| bell.poll_rung(cx)).await;
        }
    }

    fn refused(&self, error: &StorageError) {
        if error.is_no_room() {
            if !self.is_full.swap(true, Ordering::Relaxed) {
                let error = Chain(error);
                tracing::error!("{self}: {error}; nothing is appended until there is room");
            }
        } else {
            self.fail(&Chain(error));
        }
    }

    /// Takes the partition offline: nothing is acknowledged any more, and nothing read.
    fn fail(&self, why: &dyn fmt::Display) {
        let offline =
            self.status.compare_exchange(ONLINE, FAILED, Ordering::AcqRel, Ordering::Acquire);
        if offline.is_ok() {
            tracing::error!(
                "{self} is offline: {why}; what it has on the disk is found out at the next start"
            );
        }
        self.dismiss(ErrorCode::KafkaStorageError);
    }

    /// Has no one use it: its log could not be opened.
    pub(crate) fn take_offline(&self) {
        self.status.store(FAILED, Ordering::Release);
    }

    /// Has everyone leave who uses it: its topic is deleted.
    pub(crate) fn delete(&self) {
        self.status.store(DELETED, Ordering::Release);
        self.dismiss(ErrorCode::UnknownTopicOrPartition);
    }

    fn dismiss(&self, refusal: ErrorCode) {
        lock(&self.awaiting).refuse(refusal);
        self.waiters.ring();
    }

    /// The writing half of its log, for what is done other than appending.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

/// The promise that needs no flush.
const WRITTEN: Promise = Promise { acks: Level::Written, reads: Level::Written };

/// What a panic may have left is looked at as it is: a log that was cut short refuses by itself.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl From<&Outcome> for Result<Appended, ErrorCode> {
    fn from(outcome: &Outcome) -> Self {
        match *outcome {
            Outcome::Appended { base_offset, append_time } => {
                Ok(Appended { base_offset, append_time })
            }
            Outcome::Duplicate { base_offset, append_time, .. } => {
                Ok(Appended { base_offset, append_time })
            }
            Outcome::Refused(error) => Err(error),
        }
    }
}
