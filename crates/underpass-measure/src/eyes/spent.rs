//! What a piece of work cost the thread that did it, as the kernel counted it.
//!
//! The work runs in its own thread, so that nothing else of the process is in the counts.
//! Faults and transferred bytes come from /proc/thread-self; the few faults of reading these
//! files themselves are kept out by reading them once beforehand.
//!
//! Source: proc(5), `/proc/pid/stat` (minflt, majflt), `/proc/pid/io`, `/proc/pid/status`;
//! clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use rustix::time::ClockId;

/// What the work cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) elapsed: Duration,
    /// Processor time of the thread, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Faults that needed no disk.
    pub(crate) minor_faults: u64,
    /// Faults that waited for one.
    pub(crate) major_faults: u64,
    /// Times the thread was switched away from.
    pub(crate) switches: u64,
    /// `None` without TASK_IO_ACCOUNTING.
    pub(crate) transferred: Option<Transferred>,
}

/// What the kernel counted of a thread's transfers: the fields of `/proc/pid/io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Transferred {
    /// Bytes that calls of the read family returned; sendfile(2) counts here too.
    pub(crate) read_chars: u64,
    /// Bytes that calls of the write family took; sendfile(2) counts here too.
    pub(crate) written_chars: u64,
    /// Calls of the read family.
    pub(crate) read_calls: u64,
    /// Calls of the write family.
    pub(crate) write_calls: u64,
    /// Bytes fetched from the disk.
    pub(crate) disk_bytes: u64,
}

/// Does `work` in a fresh thread.
///
/// # Errors
///
/// Those of the work, of starting a thread, and of reading /proc.
pub(crate) fn in_a_fresh_thread<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send,
) -> Result<(T, Spent), E>
where
    T: Send,
    E: From<io::Error> + Send,
{
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || measured(work))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Does `work` here.
///
/// # Errors
///
/// Those of the work and of reading /proc.
pub(crate) fn measured<T, E: From<io::Error>>(
    work: impl FnOnce() -> Result<T, E>,
) -> Result<(T, Spent), E> {
    Counted::now()?;
    let before = Counted::now()?;
    let transferred_before = Transferred::now();
    let start = Instant::now();
    let cpu = own_time();
    let answer = work()?;
    let cpu = own_time().saturating_sub(cpu);
    let elapsed = start.elapsed();
    let transferred = Transferred::now().zip(transferred_before);
    let after = Counted::now()?;
    let spent = Spent {
        elapsed,
        cpu,
        minor_faults: after.minor_faults.saturating_sub(before.minor_faults),
        major_faults: after.major_faults.saturating_sub(before.major_faults),
        switches: after.switches.saturating_sub(before.switches),
        transferred: transferred.map(|((after, _), before)| after.since(before)),
    };
    Ok((answer, spent))
}

/// The counters' state.
#[derive(Debug, Clone, Copy)]
struct Counted {
    minor_faults: u64,
    major_faults: u64,
    switches: u64,
}

impl Counted {
    fn now() -> io::Result<Self> {
        let mut text = [0; 4096];
        let status = read("/proc/thread-self/status", &mut text)?;
        let switches = field(status, "voluntary_ctxt_switches:").unwrap_or(0)
            + field(status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        let stat = read("/proc/thread-self/stat", &mut text)?;
        let (minor_faults, major_faults) = faults(stat)
            .ok_or_else(|| io::Error::other("/proc/thread-self/stat has no fault counts"))?;
        Ok(Self { minor_faults, major_faults, switches })
    }
}

impl Transferred {
    /// Reads `/proc/pid/io`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            read_chars: field(text, "rchar:")?,
            written_chars: field(text, "wchar:")?,
            read_calls: field(text, "syscr:")?,
            write_calls: field(text, "syscw:")?,
            disk_bytes: field(text, "read_bytes:")?,
        })
    }

    /// The counts, and the length of the text they were read from.
    fn now() -> Option<(Self, u64)> {
        let mut text = [0; 1024];
        let text = read("/proc/thread-self/io", &mut text).ok()?;
        Some((Self::parse(text)?, text.len() as u64))
    }

    /// What was added since `before`, whose own reading is left out: two calls, for the text and
    /// for its end, neither of which is in the counts it brought.
    fn since(&self, (before, text_len): (Self, u64)) -> Self {
        Self {
            read_chars: self.read_chars.saturating_sub(before.read_chars + text_len),
            written_chars: self.written_chars.saturating_sub(before.written_chars),
            read_calls: self.read_calls.saturating_sub(before.read_calls + 2),
            write_calls: self.write_calls.saturating_sub(before.write_calls),
            disk_bytes: self.disk_bytes.saturating_sub(before.disk_bytes),
        }
    }
}

/// The time that this thread has spent on a processor.
pub(crate) fn own_time() -> Duration {
    Duration::try_from(rustix::time::clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn read<'a>(path: &str, text: &'a mut [u8]) -> io::Result<&'a str> {
    let mut file = File::open(path)?;
    let mut len = 0;
    loop {
        match file.read(&mut text[len..])? {
            0 => break,
            n => len += n,
        }
    }
    std::str::from_utf8(&text[..len]).map_err(io::Error::other)
}

/// The number after `name` at the start of a line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// minflt and majflt of `/proc/pid/stat`. The program's name before them may hold anything.
fn faults(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_found_behind_a_name_with_brackets_and_spaces() {
        let stat = "13645 (a) R (b) R 13628 13628 2043 0 -1 4194304 99 0 7 0 0 0 0 0 20 0 1";
        assert_eq!(faults(stat), Some((99, 7)));
        assert_eq!(faults("13645 (a) R 1"), None);
    }

    #[test]
    fn pages_touched_first_are_counted_as_faults_and_reads_as_chars() {
        let (sum, spent) = in_a_fresh_thread(|| -> io::Result<usize> {
            // More than any allocator gives out again: M_MMAP_THRESHOLD grows to 32 MiB.
            let memory = std::hint::black_box(vec![1_u8; 40 << 20]);
            let mut zeros = [0; 1000];
            File::open("/dev/zero")?.read_exact(&mut zeros)?;
            Ok(memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum())
        })
        .unwrap();
        assert_eq!(sum, 10_240);
        // With huge pages a single fault may serve 512 pages.
        assert!((2..10_400).contains(&spent.minor_faults), "{spent:?}");
        assert_eq!(spent.major_faults, 0);
        assert!(spent.elapsed > Duration::ZERO && spent.cpu > Duration::ZERO, "{spent:?}");
        if let Some(transferred) = spent.transferred {
            assert_eq!((transferred.read_chars, transferred.read_calls), (1000, 1));
            assert_eq!((transferred.written_chars, transferred.write_calls), (0, 0));
        }
    }
}
