//! A state on the blocking pool, while a future waits for it.
//!
//! Calls on files may wait for a disk, so they are made on a thread that may. The future can be
//! dropped meanwhile; then the drop takes the state back: at once if the pool has not
//! started on it, else after the call in hand, 2 MiB at most. Afterwards nothing of the transfer
//! is running anywhere, and its counts are exact.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::error::Error;
use crate::limits::TURN_BYTES;
use crate::transfer::Step;
use crate::transfer::state::{Ends, TransferState};

/// A state that is away, or back.
#[derive(Debug)]
pub(crate) struct PoolTask {
    stage: Mutex<Stage>,
    changed: Condvar,
    reclaimed: AtomicBool,
    source: Option<OwnedFd>,
    sink: OwnedFd,
}

#[derive(Debug)]
enum Stage {
    Waiting(Box<TransferState>),
    Running,
    Back(Box<TransferState>, Result<Step, Error>),
    /// Taken back, or lost to a panic.
    Over,
}

impl PoolTask {
    /// Prepares a task; `state` is taken only if the descriptors could be duplicated.
    pub(crate) fn new(state: &mut TransferState, ends: Ends<'_>) -> Result<Arc<Self>, Errno> {
        let duplicate = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 0);
        let source = ends.source.map(duplicate).transpose()?;
        let sink = duplicate(ends.sink)?;
        let away = Box::new(std::mem::replace(state, TransferState::placeholder()));
        Ok(Arc::new(Self {
            stage: Mutex::new(Stage::Waiting(away)),
            changed: Condvar::new(),
            reclaimed: AtomicBool::new(false),
            source,
            sink,
        }))
    }

    /// Makes calls until one is not for files, up to [`TURN_BYTES`], unless reclaimed before.
    pub(crate) fn run(&self) {
        let mut stage = self.lock();
        let Stage::Waiting(mut state) = std::mem::replace(&mut *stage, Stage::Running) else {
            *stage = Stage::Over;
            return;
        };
        drop(stage);
        let lost = Lost(self);
        let ends = Ends { source: self.source.as_ref().map(AsFd::as_fd), sink: self.sink.as_fd() };
        let gated = std::mem::replace(&mut state.gated, false);
        let pieces = state.sources_done;
        let mut moved = 0;
        let outcome = loop {
            let outcome = state.step(ends);
            moved += match outcome {
                Ok(Step::Moved(n)) => n,
                Ok(Step::Buffered(_)) => 0,
                Ok(Step::Wait(_) | Step::Cold { .. } | Step::Done) | Err(_) => break outcome,
            };
            let more = state.is_file_call() && state.sources_done == pieces;
            if !more || moved >= TURN_BYTES || self.reclaimed.load(Ordering::Relaxed) {
                break outcome;
            }
        };
        state.gated = gated;
        std::mem::forget(lost);
        *self.lock() = Stage::Back(state, outcome);
        self.changed.notify_all();
    }

    /// Takes the state back, waiting for the call in hand. The outcome is `None` if the task
    /// was never run; both are gone if it panicked.
    pub(crate) fn reclaim(&self) -> Option<(TransferState, Option<Result<Step, Error>>)> {
        self.reclaimed.store(true, Ordering::Relaxed);
        let running = |stage: &mut Stage| matches!(stage, Stage::Running);
        let mut stage =
            self.changed.wait_while(self.lock(), running).unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *stage, Stage::Over) {
            Stage::Waiting(state) => Some((*state, None)),
            Stage::Back(state, outcome) => Some((*state, Some(outcome))),
            Stage::Running | Stage::Over => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the state will not come back, if dropped.
struct Lost<'e>(&'e PoolTask);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        *self.0.lock() = Stage::Over;
        self.0.changed.notify_all();
    }
}
