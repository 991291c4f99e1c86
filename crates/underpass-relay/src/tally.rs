//! Bytes by direction and method: counted by one worker, read for the metrics.
//!
//! Each worker has its own counts and alone writes to them, so that counting costs no contended
//! memory; a reader adds them up.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use rustix::io::Errno;
use underpass::{Flow, Method, Pipe};

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

/// The methods a relay has.
pub(crate) const METHODS: [Method; 2] = [Method::Splice, Method::Copy];

/// One worker's counts, on a separate cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    bytes: [[AtomicU64; METHODS.len()]; Direction::ALL.len()],
}

/// What a flow has moved by each of [`METHODS`].
pub(crate) type Moved = [u64; METHODS.len()];

/// What a flow has moved so far.
pub(crate) fn moved(flow: &Flow) -> Moved {
    METHODS.map(|method| flow.moved_by(method))
}

/// A handle to one worker's counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Counts>);

impl Tally {
    /// Counts what a flow moved since it had moved `before`. Only the worker whose counts they are
    /// calls it, as it does [`Self::add`].
    pub(crate) fn add_since(&self, before: Moved, direction: Direction, flow: &Flow) {
        for (method, (now, before)) in METHODS.into_iter().zip(moved(flow).into_iter().zip(before))
        {
            if now > before {
                self.add(direction, method, now - before);
            }
        }
    }

    /// Counts bytes.
    pub(crate) fn add(&self, direction: Direction, method: Method, bytes: u64) {
        tell_of_shortage();
        add(self.count(direction, method), bytes);
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

/// Warns, the first time, that pipes are smaller than asked for, or that there is no pipe. Said
/// once for all workers: it is the user who has a limit.
fn tell_of_shortage() {
    static TOLD: Once = Once::new();
    let Some(shortage) = Pipe::shortage() else { return };
    let remedy = match shortage.errno {
        Errno::MFILE => "raise the limit on open files",
        Errno::NFILE => "raise fs.file-max or fs.pipe-user-pages-hard",
        _ => "raise fs.pipe-user-pages-soft, or give CAP_SYS_RESOURCE",
    };
    let (wanted, got) = (shortage.wanted >> 10, shortage.got >> 10);
    let error = io::Error::from(shortage.errno);
    TOLD.call_once(|| {
        tracing::warn!(
            "the kernel gives pipes of {got} KiB where pipes of {wanted} KiB were asked for \
             ({error}): bytes are copied where a pipe is too small; {remedy}"
        );
    });
}

/// One writer: a load and a store do what fetch_add does, without the lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
