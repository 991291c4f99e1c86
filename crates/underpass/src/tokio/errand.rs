//! A passage on the blocking pool, while a future waits for it.
//!
//! Calls on files may wait for a disk, so they are made on a thread that may. The future can be
//! dropped meanwhile; then whoever drops it takes the passage back: at once if the pool has not
//! started on it, else after the call in hand, 2 MiB at most. Afterwards nothing of the transfer
//! is running anywhere, and its counts are exact.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::error::Error;
use crate::passage::{Ends, Passage};
use crate::transfer::Step;

/// Bytes moved before the pool's thread is given back.
const ERRAND_BYTES: u64 = 4 << 20;

/// A passage that is away, or back.
#[derive(Debug)]
pub(crate) struct Errand {
    stage: Mutex<Stage>,
    changed: Condvar,
    recalled: AtomicBool,
    source: Option<OwnedFd>,
    sink: OwnedFd,
}

#[derive(Debug)]
enum Stage {
    Waiting(Box<Passage>),
    Running,
    Back(Box<Passage>, Result<Step, Error>),
    /// Taken back, or lost to a panic.
    Over,
}

impl Errand {
    /// Prepares an errand; `passage` is taken only if the descriptors could be duplicated.
    pub(crate) fn new(passage: &mut Passage, ends: Ends<'_>) -> Result<Arc<Self>, Errno> {
        let duplicate = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let source = ends.source.map(duplicate).transpose()?;
        let sink = duplicate(ends.sink)?;
        let away = Box::new(std::mem::replace(passage, Passage::hollow()));
        Ok(Arc::new(Self {
            stage: Mutex::new(Stage::Waiting(away)),
            changed: Condvar::new(),
            recalled: AtomicBool::new(false),
            source,
            sink,
        }))
    }

    /// Makes calls until one is not for files, up to [`ERRAND_BYTES`], unless recalled before.
    pub(crate) fn run(&self) {
        let mut stage = self.lock();
        let Stage::Waiting(mut passage) = std::mem::replace(&mut *stage, Stage::Running) else {
            *stage = Stage::Over;
            return;
        };
        drop(stage);
        let lost = Lost(self);
        let ends = Ends { source: self.source.as_ref().map(AsFd::as_fd), sink: self.sink.as_fd() };
        let gated = std::mem::replace(&mut passage.gated, false);
        let pieces = passage.sources_done;
        let mut moved = 0;
        let outcome = loop {
            let outcome = passage.step(ends);
            moved += match outcome {
                Ok(Step::Moved(n)) => n,
                Ok(Step::Parked(_)) => 0,
                Ok(Step::Wait(_) | Step::Cold { .. } | Step::Done) | Err(_) => break outcome,
            };
            let more = passage.is_file_call() && passage.sources_done == pieces;
            if !more || moved >= ERRAND_BYTES || self.recalled.load(Ordering::Relaxed) {
                break outcome;
            }
        };
        passage.gated = gated;
        std::mem::forget(lost);
        *self.lock() = Stage::Back(passage, outcome);
        self.changed.notify_all();
    }

    /// Takes the passage back, waiting for the call in hand. The outcome is `None` if the errand
    /// was never run; both are gone if it panicked.
    pub(crate) fn recall(&self) -> Option<(Passage, Option<Result<Step, Error>>)> {
        self.recalled.store(true, Ordering::Relaxed);
        let running = |stage: &mut Stage| matches!(stage, Stage::Running);
        let mut stage =
            self.changed.wait_while(self.lock(), running).unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Waiting(passage) => Some((*passage, None)),
            Stage::Back(passage, outcome) => Some((*passage, Some(outcome))),
            Stage::Running | Stage::Over => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the passage will not come back, if dropped.
struct Lost<'e>(&'e Errand);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        *self.0.lock() = Stage::Over;
        self.0.changed.notify_all();
    }
}
