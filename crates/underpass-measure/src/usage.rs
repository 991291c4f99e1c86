//! What a thread or a process has used, as the kernel counts it.
//!
//! The largest resident size is not among it: it counts mapped file pages as memory used. Of `io`
//! only the disk's counters are taken: sendfile(2) counts there as read and as written, splice(2)
//! as neither.
//!
//! Source: getrusage(2), clock_gettime(2), proc_pid_io(5),
//! proc_pid_smaps(5).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::time::ClockId;
use serde::{Deserialize, Serialize};
use underpass_sys::usage::{self, Usage};

use crate::cache::PAGE_BYTES;

/// What was used between two moments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) elapsed: Duration,
    /// Processor time, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Faults that needed no disk.
    pub(crate) minor_faults: u64,
    /// Faults that waited for one.
    pub(crate) major_faults: u64,
    /// Times it was switched away from, willingly or not.
    pub(crate) switches: u64,
    /// Bytes its reads had fetched from a disk; `None` without task I/O accounting.
    pub(crate) disk_read_bytes: Option<u64>,
    /// Bytes it dirtied that will be written to one.
    pub(crate) disk_write_bytes: Option<u64>,
}

/// Counts from its making on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    /// Otherwise of the calling thread.
    is_process: bool,
    began: Duration,
    cpu: Duration,
    usage: Usage,
    io: Option<Io>,
}

impl Meter {
    /// Of the calling thread.
    pub(crate) fn thread() -> io::Result<Self> {
        Self::of(false)
    }

    /// Of this process, all its threads.
    pub(crate) fn process() -> io::Result<Self> {
        Self::of(true)
    }

    /// The clocks come last here, and first when it is read.
    fn of(is_process: bool) -> io::Result<Self> {
        let (io, usage, cpu) = (Io::of(is_process), usage_of(is_process)?, cpu_of(is_process));
        Ok(Self { is_process, cpu, began: clock(ClockId::Monotonic), usage, io })
    }

    /// When it began, by `CLOCK_MONOTONIC`.
    pub(crate) const fn began(&self) -> Duration {
        self.began
    }

    /// What was used since.
    pub(crate) fn used(&self) -> io::Result<Used> {
        let (now, cpu) = (clock(ClockId::Monotonic), cpu_of(self.is_process));
        let (usage, io) = (usage_of(self.is_process)?, Io::of(self.is_process));
        let switches = |usage: &Usage| usage.voluntary_switches + usage.involuntary_switches;
        let disk = |of: fn(&Io) -> u64| Some(of(&io?).saturating_sub(of(&self.io?)));
        Ok(Used {
            elapsed: now.saturating_sub(self.began),
            cpu: cpu.saturating_sub(self.cpu),
            minor_faults: usage.minor_faults - self.usage.minor_faults,
            major_faults: usage.major_faults - self.usage.major_faults,
            switches: switches(&usage) - switches(&self.usage),
            disk_read_bytes: disk(|io| io.disk_read_bytes),
            disk_write_bytes: disk(|io| io.disk_write_bytes),
        })
    }
}

fn usage_of(is_process: bool) -> io::Result<Usage> {
    Ok(if is_process { usage::of_this_process() } else { usage::of_this_thread() }?)
}

fn cpu_of(is_process: bool) -> Duration {
    clock(if is_process { ClockId::ProcessCPUTime } else { ClockId::ThreadCPUTime })
}

/// Does `work` in a fresh thread, so that nothing else of the process is in the counts.
pub(crate) fn in_a_fresh_thread<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<(T, Used), E>
where
    T: Send,
    E: From<io::Error> + Send,
{
    let measured = || -> Result<(T, Used), E> {
        let meter = Meter::thread()?;
        let answer = work()?;
        Ok((answer, meter.used()?))
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, measured)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The time that this thread has spent on a processor.
pub(crate) fn own_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(clock: ClockId) -> Duration {
    Duration::try_from(rustix::time::clock_gettime(clock)).unwrap_or_default()
}

/// The counts of `/proc/pid/io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Io {
    /// Bytes that calls of the read family returned; sendfile(2) counts here too.
    pub(crate) read_chars: u64,
    /// Bytes that calls of the write family took; sendfile(2) counts here too.
    pub(crate) written_chars: u64,
    /// Calls of the read family.
    pub(crate) read_calls: u64,
    /// Calls of the write family.
    pub(crate) write_calls: u64,
    /// Bytes fetched from the disk.
    pub(crate) disk_read_bytes: u64,
    /// Bytes dirtied that will be written to it.
    pub(crate) disk_write_bytes: u64,
}

impl Io {
    /// Reads the text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            read_chars: field(text, "rchar:")?,
            written_chars: field(text, "wchar:")?,
            read_calls: field(text, "syscr:")?,
            write_calls: field(text, "syscw:")?,
            disk_read_bytes: field(text, "read_bytes:")?,
            disk_write_bytes: field(text, "write_bytes:")?,
        })
    }

    /// Absent without CONFIG_TASK_IO_ACCOUNTING. It is read without an allocation, whose faults
    /// would count.
    fn of(is_process: bool) -> Option<Self> {
        let path = if is_process { "/proc/self/io" } else { "/proc/thread-self/io" };
        let mut text = [0; 512];
        let len = File::open(path).ok()?.read(&mut text).ok()?;
        Self::parse(std::str::from_utf8(text.get(..len)?).ok()?)
    }
}

/// The number after `name` at the start of a line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Memory in use, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resident {
    pub(crate) anonymous: u64,
    /// Of mappings of the file that is asked for.
    pub(crate) file: u64,
}

impl Resident {
    /// Of this process, with mappings of the file with this inode.
    ///
    /// The sums in `/proc/self/status` lag by some dozen pages a processor, and count the
    /// program's own pages; those of each mapping are exact.
    pub(crate) fn now(inode: u64) -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string("/proc/self/smaps")?, &inode.to_string()))
    }

    /// Adds up what proc_pid_smaps(5) says: a line with the inode in its fifth place for each
    /// mapping, and lines of its sizes behind it.
    fn parse(smaps: &str, inode: &str) -> Self {
        let (mut sum, mut is_of_file) = (Self::default(), false);
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
}

/// The most memory that this process was seen to use, looked at again and again.
#[derive(Debug)]
pub(crate) struct Peak {
    inode: u64,
    anonymous_at_start: u64,
    /// Mapped at the last look.
    mapped: u64,
    pub(crate) most: Resident,
}

impl Peak {
    /// Begins to look, at mappings of `file` among others.
    pub(crate) fn of(file: impl AsFd) -> io::Result<Self> {
        let inode = rustix::fs::fstat(file)?.st_ino;
        let anonymous_at_start = Resident::now(inode)?.anonymous;
        Ok(Self { inode, anonymous_at_start, mapped: 0, most: Resident::default() })
    }

    /// Looks, after a call that had `sent_from_mapping` bytes of a mapping read. The call that
    /// ends a mapping is behind it when it can be looked at: what it had read was mapped too.
    pub(crate) fn look(&mut self, sent_from_mapping: u64) -> io::Result<()> {
        let now = Resident::now(self.inode)?;
        let anonymous = now.anonymous.saturating_sub(self.anonymous_at_start);
        self.most.anonymous = self.most.anonymous.max(anonymous);
        let before = if now.file == 0 { self.mapped + sent_from_mapping } else { 0 };
        self.most.file = self.most.file.max(now.file).max(before.next_multiple_of(PAGE_BYTES));
        self.mapped = now.file;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_touched_first_are_counted_as_faults_of_the_thread_that_touched_them() {
        let touch = || -> io::Result<usize> {
            // More than any allocator gives out again: M_MMAP_THRESHOLD grows to 32 MiB.
            let memory = std::hint::black_box(vec![1_u8; 40 << 20]);
            Ok(memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum())
        };
        let (sum, used) = in_a_fresh_thread(touch).unwrap();
        assert_eq!(sum, 10_240);
        // With huge pages a single fault may serve 512 pages.
        assert!((2..10_400).contains(&used.minor_faults), "{used:?}");
        assert_eq!((used.major_faults, used.disk_read_bytes.unwrap_or(0)), (0, 0));
        assert!(used.elapsed > Duration::ZERO && used.cpu > Duration::ZERO, "{used:?}");
        let (_, idle) = in_a_fresh_thread(|| std::thread::spawn(touch).join().unwrap()).unwrap();
        assert!(idle.minor_faults < used.minor_faults / 2, "{idle:?}");
    }

    #[test]
    fn a_process_is_counted_with_all_its_threads_and_what_it_dirties() {
        let meter = Meter::process().unwrap();
        let mut file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        let writes = move || io::Write::write_all(&mut file, &[1; 1 << 20]).unwrap();
        std::thread::spawn(writes).join().unwrap();
        let used = meter.used().unwrap();
        assert!(used.disk_write_bytes.is_none_or(|bytes| bytes >= 1 << 20), "{used:?}");
        assert!(used.elapsed > Duration::ZERO && meter.began() > Duration::ZERO, "{used:?}");
    }

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
        assert_eq!(Resident::parse(smaps, "4711"), want);
    }

    #[test]
    fn memory_that_is_touched_is_seen_as_anonymous() {
        let file = tempfile::tempfile().unwrap();
        let mut memory = Peak::of(&file).unwrap();
        // More by far than what other tests of this process take and give back meanwhile.
        const TOUCHED: usize = 256 << 20;
        let touched = std::hint::black_box(vec![1_u8; TOUCHED]);
        memory.look(0).unwrap();
        assert_eq!(touched.len(), TOUCHED);
        let grown = memory.most.anonymous;
        assert!((128 << 20..384 << 20).contains(&grown), "{grown}");
        assert_eq!(memory.most.file, 0);
        // A mapping that came and went within a call.
        memory.look(5000).unwrap();
        assert_eq!(memory.most.file, 8192);
    }
}
