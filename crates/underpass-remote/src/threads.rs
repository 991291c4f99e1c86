//! Threads that may wait for an origin.
//!
//! There are two kinds of jobs, short and long ones, and each has as many threads at a time as it
//! may have: a head or a small range never waits for those who take a large object, and what all of
//! them are is bounded. A job whose length is seen when it has begun is short until it says
//! otherwise. Threads are made when they are needed, and parked for the next job for a while. What
//! does not find one waits in the queue of its kind, which has an end.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use underpass_client::{Interrupt, Timeouts};

/// The most jobs of a kind that wait for a thread.
const QUEUE_MAX: usize = 1024;

/// The most short jobs at a time.
const SHORT_MAX: usize = 32;

/// How long a thread without a job is kept.
const PARKED_FOR: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&Interrupt) + Send>;

/// How long a job has a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// Until an origin has answered, or a little has come.
    Short,
    /// Until all of something has come.
    Long,
}

/// Threads and what they are to do.
#[derive(Clone)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    long_max: usize,
    timeouts: Timeouts,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    short: VecDeque<Job>,
    long: VecDeque<Job>,
    workers: Vec<Worker>,
    is_closed: bool,
}

/// A thread that there is.
struct Worker {
    id: ThreadId,
    /// Ends its waits.
    interrupt: Interrupt,
    /// What it does; nothing yet, or while it is parked.
    job: Option<Length>,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("long_max", &self.long_max).finish_non_exhaustive()
    }
}

impl Threads {
    pub(crate) fn new(long_max: usize, timeouts: Timeouts) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), long_max: long_max.max(1), timeouts }
    }

    /// Lets a thread do this. `false`, and the job is dropped, if too many wait or all have ended.
    pub(crate) fn spawn(&self, length: Length, job: Job) -> bool {
        let mut state = self.shared.state();
        let is_closed = state.is_closed;
        let queue = state.queue(length);
        if is_closed || queue.len() >= QUEUE_MAX {
            drop(state);
            return false;
        }
        queue.push_back(job);
        if self.staff(&mut state).is_ok() || !state.workers.is_empty() {
            return true;
        }
        // The one that was just put in.
        let job = state.queue(length).pop_back();
        drop(state);
        drop(job);
        false
    }

    /// The job of this thread is a long one from now on; `false`, and it stays what it is, if there
    /// are as many as may be. A thread that is not one of these may do what it likes.
    pub(crate) fn lengthen(&self) -> bool {
        let mut state = self.shared.state();
        let has_room = state.count(Some(Length::Long)) < self.long_max;
        let own = thread::current().id();
        let Some(own) = state.workers.iter_mut().find(|worker| worker.id == own) else {
            return true;
        };
        if own.job == Some(Length::Long) {
            return true;
        }
        if has_room {
            own.job = Some(Length::Long);
            // Another short job may begin; without a thread it waits for the next that is free.
            drop(self.staff(&mut state));
        }
        drop(state);
        has_room
    }

    /// Whether a long job waits for a thread.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.shared.state().long.is_empty()
    }

    /// Makes sure that there is a thread for each job that may begin.
    fn staff(&self, state: &mut State) -> io::Result<()> {
        let idle = state.count(None);
        let begin = state.may_begin(Length::Short, self.long_max)
            + state.may_begin(Length::Long, self.long_max);
        if begin <= idle {
            self.shared.changed.notify_one();
            return Ok(());
        }
        self.make(state)
    }

    fn make(&self, state: &mut State) -> io::Result<()> {
        let interrupt = Interrupt::never()?.with(self.timeouts);
        let (all, own) = (self.clone(), interrupt.clone());
        let thread = thread::Builder::new().name("fill".to_owned());
        let id = thread.spawn(move || all.work(&own))?.thread().id();
        state.workers.push(Worker { id, interrupt, job: None });
        Ok(())
    }

    /// How many threads there are, and how many jobs wait for one.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.shared.state();
        (state.workers.len(), state.short.len() + state.long.len())
    }

    /// Ends all waits, and drops what has not begun.
    pub(crate) fn end(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        let queues = (std::mem::take(&mut state.short), std::mem::take(&mut state.long));
        state.workers.iter().for_each(|worker| worker.interrupt.end());
        drop(state);
        drop(queues);
        self.shared.changed.notify_all();
    }

    /// The same, and waits until the threads have ended. Not for a job to call.
    pub(crate) fn close(&self) {
        self.end();
        let state = self.shared.state();
        let some_are_left = |state: &mut State| !state.workers.is_empty();
        drop(
            self.shared
                .changed
                .wait_while(state, some_are_left)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    fn work(&self, interrupt: &Interrupt) {
        while let Some(job) = self.next() {
            if panic::catch_unwind(AssertUnwindSafe(|| job(interrupt))).is_err() {
                tracing::error!("a request to an origin ended by a panic");
            }
        }
    }

    /// The next job; without one the thread is taken off the list.
    fn next(&self) -> Option<Job> {
        let mut state = self.shared.state();
        let own = thread::current().id();
        state.set(own, None);
        let mut is_late = false;
        loop {
            for length in [Length::Short, Length::Long] {
                if state.may_begin(length, self.long_max) > 0 {
                    state.set(own, Some(length));
                    return state.queue(length).pop_front();
                }
            }
            if state.is_closed || is_late {
                state.workers.retain(|worker| worker.id != own);
                drop(state);
                self.shared.changed.notify_all();
                return None;
            }
            let waited = self.shared.changed.wait_timeout(state, PARKED_FOR);
            let (back, time) = waited.unwrap_or_else(PoisonError::into_inner);
            state = back;
            is_late = time.timed_out();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn queue(&mut self, length: Length) -> &mut VecDeque<Job> {
        match length {
            Length::Short => &mut self.short,
            Length::Long => &mut self.long,
        }
    }

    /// How many threads do this.
    fn count(&self, job: Option<Length>) -> usize {
        self.workers.iter().filter(|worker| worker.job == job).count()
    }

    /// How many jobs that wait would not be too many.
    fn may_begin(&self, length: Length, long_max: usize) -> usize {
        let (waiting, max) = match length {
            Length::Short => (self.short.len(), SHORT_MAX),
            Length::Long => (self.long.len(), long_max),
        };
        waiting.min(max.saturating_sub(self.count(Some(length))))
    }

    fn set(&mut self, thread: ThreadId, job: Option<Length>) {
        let own = self.workers.iter_mut().find(|worker| worker.id == thread);
        own.into_iter().for_each(|own| own.job = job);
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
