//! The processors that a thread runs on.
//!
//! Source: sched_getaffinity(2), sched_setaffinity(2).

use std::io;

use rustix::thread::CpuSet;

/// Those that this thread may run on.
pub(crate) fn own_processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect()
}

/// Keeps this thread, and those that it starts, on one.
///
/// # Errors
///
/// `EINVAL` for one that the machine has not.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}
