//! Threads that may wait for an origin.
//!
//! As many as may be, made when they are needed, and parked for the next job for a while. What does
//! not find one waits in a queue that has an end.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use underpass_client::{Interrupt, Timeouts};

/// The most jobs that wait for a thread.
const QUEUE_MAX: usize = 1024;

/// How long a thread without a job is kept.
const PARKED_FOR: Duration = Duration::from_secs(30);

type Job = Box<dyn FnOnce(&Interrupt) + Send>;

/// Threads and what they are to do.
#[derive(Clone)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    threads_max: usize,
    timeouts: Timeouts,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    parked: usize,
    /// Of the threads that there are; ends their waits.
    interrupts: Vec<(u64, Interrupt)>,
    made: u64,
    is_closed: bool,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("threads_max", &self.threads_max).finish_non_exhaustive()
    }
}

impl Threads {
    pub(crate) fn new(threads_max: usize, timeouts: Timeouts) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), threads_max: threads_max.max(1), timeouts }
    }

    /// Lets a thread do this. `false`, and the job is dropped, if too many wait or all have ended.
    pub(crate) fn spawn(&self, job: Job) -> bool {
        let mut state = self.shared.state();
        if state.is_closed || state.queue.len() >= QUEUE_MAX {
            drop(state);
            return false;
        }
        state.queue.push_back(job);
        if state.parked >= state.queue.len() || state.interrupts.len() >= self.threads_max {
            drop(state);
            self.shared.changed.notify_one();
            return true;
        }
        let is_made = self.make(&mut state);
        if is_made.is_ok() || !state.interrupts.is_empty() {
            return true;
        }
        // The one that was just put in.
        let job = state.queue.pop_back();
        drop(state);
        drop(job);
        false
    }

    fn make(&self, state: &mut State) -> io::Result<()> {
        let interrupt = Interrupt::never()?.with(self.timeouts);
        state.made += 1;
        let (number, shared, own) = (state.made, Arc::clone(&self.shared), interrupt.clone());
        let thread = thread::Builder::new().name("fill".to_owned());
        thread.spawn(move || work(&shared, number, &own))?;
        state.interrupts.push((number, interrupt));
        Ok(())
    }

    /// How many threads there are, and how many jobs wait for one.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.shared.state();
        (state.interrupts.len(), state.queue.len())
    }

    /// Ends all waits, and drops what has not begun.
    pub(crate) fn end(&self) {
        let mut state = self.shared.state();
        state.is_closed = true;
        let queue = std::mem::take(&mut state.queue);
        state.interrupts.iter().for_each(|(_, interrupt)| interrupt.end());
        drop(state);
        drop(queue);
        self.shared.changed.notify_all();
    }

    /// The same, and waits until the threads have ended. Not for a job to call.
    pub(crate) fn close(&self) {
        self.end();
        let state = self.shared.state();
        let all_ended = |state: &mut State| !state.interrupts.is_empty();
        drop(
            self.shared
                .changed
                .wait_while(state, all_ended)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(shared: &Shared, number: u64, interrupt: &Interrupt) {
    while let Some(job) = next(shared, number) {
        if panic::catch_unwind(AssertUnwindSafe(|| job(interrupt))).is_err() {
            tracing::error!("a request to an origin ended by a panic");
        }
    }
}

/// The next job; without one the thread is taken off the list.
fn next(shared: &Shared, number: u64) -> Option<Job> {
    let mut state = shared.state();
    let mut is_late = false;
    loop {
        if let Some(job) = state.queue.pop_front() {
            return Some(job);
        }
        if state.is_closed || is_late {
            state.interrupts.retain(|(known, _)| *known != number);
            drop(state);
            shared.changed.notify_all();
            return None;
        }
        state.parked += 1;
        let waited = shared.changed.wait_timeout(state, PARKED_FOR);
        let (back, time) = waited.unwrap_or_else(PoisonError::into_inner);
        state = back;
        state.parked -= 1;
        is_late = time.timed_out();
    }
}
