//! Group commit: one fdatasync for all that was appended meanwhile.
//!
//! A partition with something to flush is handed to one of a few threads. What is appended while it
//! flushes, it flushes in another turn: so a partition has at most one fdatasync(2) under way, and
//! every byte waits for one or two of them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::partition::Partition;

/// Partitions flushed at a time: a device takes several such requests together.
const THREADS: usize = 4;

/// Where a partition is on its way to the disk.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicU8);

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const FLUSHING: u8 = 2;
/// Something was appended since the flush under way began.
const FLUSHING_OLD: u8 = 3;

impl Turn {
    /// Notes that there is something to flush. Whether the partition is to be queued for it.
    fn ask(&self) -> bool {
        let next = |turn| match turn {
            IDLE => Some(QUEUED),
            FLUSHING => Some(FLUSHING_OLD),
            _ => None,
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    fn begin(&self) {
        self.0.store(FLUSHING, Ordering::Release);
    }

    /// Whether the partition is to be queued again.
    fn end(&self) -> bool {
        let next = |turn| Some(if turn == FLUSHING_OLD { QUEUED } else { IDLE });
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(FLUSHING_OLD)
    }
}

/// The partitions that have something to flush.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    queue: Mutex<VecDeque<Arc<Partition>>>,
    changed: Condvar,
    is_closing: AtomicBool,
    flushes: AtomicU64,
}

/// The threads that flush.
#[derive(Debug)]
pub(crate) struct FlusherThreads {
    flusher: Arc<Flusher>,
    threads: Vec<JoinHandle<()>>,
}

impl Flusher {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// If one cannot be made.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<FlusherThreads> {
        let start = |_| {
            let flusher = Arc::clone(self);
            Builder::new().name("flusher".into()).spawn(move || flusher.run())
        };
        let threads = (0..THREADS).map(start).collect::<io::Result<_>>()?;
        Ok(FlusherThreads { flusher: Arc::clone(self), threads })
    }

    /// Has a partition flushed soon.
    pub(crate) fn ask(&self, partition: &Arc<Partition>) {
        if partition.turn().ask() {
            self.push(Arc::clone(partition));
        }
    }

    /// How often a partition was flushed.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Relaxed)
    }

    fn push(&self, partition: Arc<Partition>) {
        self.lock().push_back(partition);
        self.changed.notify_one();
    }

    fn run(&self) {
        while let Some(partition) = self.next() {
            partition.turn().begin();
            partition.flush();
            self.flushes.fetch_add(1, Ordering::Relaxed);
            if partition.turn().end() {
                self.push(partition);
            }
        }
    }

    /// The next partition; `None` once there is none and no more will come.
    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.lock();
        loop {
            if let Some(partition) = queue.pop_front() {
                return Some(partition);
            }
            if self.is_closing.load(Ordering::Acquire) {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Partition>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlusherThreads {
    /// Those who ask for flushes.
    pub(crate) const fn flusher(&self) -> &Arc<Flusher> {
        &self.flusher
    }

    /// Flushes what is queued, and ends the threads.
    pub(crate) fn end(self) {
        {
            let _queue = self.flusher.lock();
            self.flusher.is_closing.store(true, Ordering::Release);
            self.flusher.changed.notify_all();
        }
        for thread in self.threads {
            // A panic there has said so, and its partition's askers are told by their channels.
            drop(thread.join());
        }
    }
}
