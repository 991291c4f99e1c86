//! What this process has used so far, read from the kernel's own accounts of it.
//!
//! The largest resident size is not among it: it counts mapped file pages as memory used.
//! `/proc/self/io` says nothing of user copies either: sendfile counts there as read and write,
//! splice as neither. Only its disk counters are taken.
//!
//! Source: proc_pid_io(5), proc_pid_smaps(5), getrusage(2), clock_gettime(2).

use std::io;
use std::os::fd::AsFd;

use rustix::time::{ClockId, Timespec};

use super::order::{Resident, Used};
use crate::eyes::spent::field;

/// Smallest unit in which files are mapped.
const PAGE: u64 = 4096;

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

/// The memory this process uses, looked at again and again.
///
/// The sums in `/proc/self/status` lag by some dozen pages a processor, and count the program's
/// own pages; those of each mapping are exact.
#[derive(Debug)]
pub(super) struct Memory {
    /// Of the file whose mappings count.
    inode: String,
    anonymous_at_start: u64,
    /// Mapped at the last look.
    mapped: u64,
    pub(super) peak: Resident,
}

impl Memory {
    /// Begins to look, at mappings of `file` among others.
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        let inode = rustix::fs::fstat(file)?.st_ino.to_string();
        let anonymous_at_start = resident(&inode)?.anonymous;
        Ok(Self { inode, anonymous_at_start, mapped: 0, peak: Resident::default() })
    }

    /// Looks, after a call that had `sent_from_mapping` bytes of a mapping read. The call that
    /// ends a mapping is behind it when it can be looked at: what it had read was mapped too.
    pub(super) fn look(&mut self, sent_from_mapping: u64) -> io::Result<()> {
        let now = resident(&self.inode)?;
        let anonymous = now.anonymous.saturating_sub(self.anonymous_at_start);
        self.peak.anonymous = self.peak.anonymous.max(anonymous);
        let before = if now.file == 0 { self.mapped + sent_from_mapping } else { 0 };
        self.peak.file = self.peak.file.max(now.file).max(before.next_multiple_of(PAGE));
        self.mapped = now.file;
        Ok(())
    }
}

fn resident(inode: &str) -> io::Result<Resident> {
    Ok(sum(&std::fs::read_to_string("/proc/self/smaps")?, inode))
}

/// Adds up what proc_pid_smaps(5) says: a line with the inode in its fifth place for each mapping,
/// and lines of its sizes behind it.
fn sum(smaps: &str, inode: &str) -> Resident {
    let (mut sum, mut is_of_file) = (Resident::default(), false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        let mut bytes = || words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024;
        match first {
            "Anonymous:" => sum.anonymous += bytes(),
            "Rss:" if is_of_file => sum.file += bytes(),
            _ if !first.ends_with(':') => is_of_file = words.nth(3) == Some(inode),
            _ => {}
        }
    }
    sum
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
    fn only_mappings_of_the_file_count_as_mapped() {
        let smaps = "\
7f00-7f10 r--s 00000000 fe:00 4711                 /data
Rss:                  64 kB
Anonymous:             0 kB
7f20-7f30 r-xp 00000000 fe:00 12                   /program
Rss:                 400 kB
Anonymous:             4 kB
7f40-7f50 rw-p 00000000 00:00 0 
Rss:                   8 kB
Anonymous:             8 kB
7f60-7f70 r--s 00040000 fe:00 4711                 /data
Rss:                   4 kB
VmFlags: rd sh mr mw me ms sd 
";
        let want = Resident { anonymous: 12 * 1024, file: 68 * 1024 };
        assert_eq!(sum(smaps, "4711"), want);
    }

    #[test]
    fn memory_that_is_touched_is_seen_as_anonymous() {
        let file = tempfile::tempfile().unwrap();
        let mut memory = Memory::of(&file).unwrap();
        // More by far than what other tests of this process take and give back meanwhile.
        const TOUCHED: usize = 256 << 20;
        let touched = std::hint::black_box(vec![1_u8; TOUCHED]);
        memory.look(0).unwrap();
        assert_eq!(touched.len(), TOUCHED);
        let grown = memory.peak.anonymous;
        assert!((128 << 20..384 << 20).contains(&grown), "{grown}");
        assert_eq!(memory.peak.file, 0);
        // A mapping that came and went within a call.
        memory.look(5000).unwrap();
        assert_eq!(memory.peak.file, 8192);
    }
}
