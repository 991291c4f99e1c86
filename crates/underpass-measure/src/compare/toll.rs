//! What this process has used so far, read from the kernel's own accounts of it.
//!
//! The largest resident size is not among it: it counts mapped file pages as memory used.
//! `/proc/self/io` says nothing of user copies either: sendfile counts there as read and write,
//! splice as neither. Only its disk counters are taken.
//!
//! Source: proc_pid_io(5), proc_pid_status(5), getrusage(2), clock_gettime(2).

use std::io;

use rustix::time::{ClockId, Timespec};

use super::order::{Resident, Used};
use crate::eyes::spent::field;

/// What has been used since the process began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Toll {
    /// `CLOCK_MONOTONIC`.
    pub(super) now_ns: u64,
    /// Processor time.
    pub(super) cpu_ns: u64,
    used: Used,
}

impl Toll {
    /// Reads it before what is to be measured: the clocks come last.
    pub(super) fn before() -> io::Result<Self> {
        let used = used()?;
        let cpu_ns = nanoseconds(ClockId::ProcessCPUTime);
        Ok(Self { now_ns: nanoseconds(ClockId::Monotonic), cpu_ns, used })
    }

    /// Reads it behind what was measured: the clocks come first.
    pub(super) fn after() -> io::Result<Self> {
        let now_ns = nanoseconds(ClockId::Monotonic);
        let cpu_ns = nanoseconds(ClockId::ProcessCPUTime);
        Ok(Self { now_ns, cpu_ns, used: used()? })
    }

    /// What was used from `earlier` until this.
    pub(super) fn since(&self, earlier: &Self) -> Used {
        let (now, then) = (&self.used, &earlier.used);
        let bytes = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Used {
            minor_faults: now.minor_faults - then.minor_faults,
            major_faults: now.major_faults - then.major_faults,
            switches: now.switches - then.switches,
            disk_read_bytes: bytes(now.disk_read_bytes, then.disk_read_bytes),
            disk_write_bytes: bytes(now.disk_write_bytes, then.disk_write_bytes),
        }
    }
}

fn used() -> io::Result<Used> {
    let usage = underpass_sys::usage::of_this_process()?;
    // Absent without CONFIG_TASK_IO_ACCOUNTING.
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    Ok(Used {
        minor_faults: usage.minor_faults,
        major_faults: usage.major_faults,
        switches: usage.voluntary_switches + usage.involuntary_switches,
        disk_read_bytes: field(&io, "read_bytes:"),
        disk_write_bytes: field(&io, "write_bytes:"),
    })
}

/// The memory this process uses now; the kernel's counters may lag by some dozen pages.
pub(super) fn resident() -> io::Result<Resident> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bytes = |key| field(&status, key).unwrap_or(0) * 1024;
    Ok(Resident { anonymous: bytes("RssAnon:"), file: bytes("RssFile:") })
}

/// A clock, in nanoseconds.
fn nanoseconds(clock: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(clock);
    let (seconds, rest) = (u64::try_from(tv_sec), u64::try_from(tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + rest.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_touched_is_seen_as_anonymous() {
        let before = resident().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 16 << 20]);
        let after = resident().unwrap();
        assert_eq!(touched.len(), 16 << 20);
        let grown = after.anonymous - before.anonymous;
        assert!((15 << 20..40 << 20).contains(&grown), "{grown}");
    }
}
