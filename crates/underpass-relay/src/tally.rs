//! Bytes by direction and method, and pipes by size: counted by one worker, read by whoever asks.
//!
//! Each worker has its own counts and alone writes to them, so that counting costs no contended
//! memory; a reader adds them up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use underpass::Method;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

impl Direction {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Up, Self::Down];

    /// The word for it in metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// What the kernel gave when it was asked for a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// One as large as was asked for.
    Full,
    /// A smaller one.
    Small,
    /// None, or one too small to be of use.
    Refused,
}

impl Got {
    /// All.
    pub(crate) const ALL: [Self; 3] = [Self::Full, Self::Small, Self::Refused];

    /// The word for it in metrics.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Small => "small",
            Self::Refused => "refused",
        }
    }
}

/// The methods a relay has.
pub(crate) const METHODS: [Method; 2] = [Method::Splice, Method::Copy];

/// One worker's counts, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    bytes: [[AtomicU64; METHODS.len()]; Direction::ALL.len()],
    pipes: [AtomicU64; Got::ALL.len()],
}

/// A handle to one worker's counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

impl Tally {
    /// Counts bytes. Only the worker whose counts they are calls it.
    pub(crate) fn add(&self, direction: Direction, method: Method, bytes: u64) {
        add(self.count(direction, method), bytes);
    }

    /// Counts a pipe that was asked for. Only the worker whose counts they are calls it.
    pub(crate) fn add_pipe(&self, got: Got) {
        add(&self.0.pipes[got as usize], 1);
    }

    /// Pipes asked for so far.
    pub(crate) fn pipes(&self, got: Got) -> u64 {
        self.0.pipes[got as usize].load(Ordering::Relaxed)
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self, direction: Direction, method: Method) -> u64 {
        self.count(direction, method).load(Ordering::Relaxed)
    }

    fn count(&self, direction: Direction, method: Method) -> &AtomicU64 {
        let [splice, copy] = &self.0.bytes[direction as usize];
        if method == Method::Splice { splice } else { copy }
    }
}

/// One writer: a load and a store do what fetch_add does, without the lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
