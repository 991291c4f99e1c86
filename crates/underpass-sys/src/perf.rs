//! `perf_event_open(2)` for tracepoints: records of each pass by a thread and whatever it starts,
//! in a ring that one processor writes.
//!
//! Events of one processor can share a ring, so that there are as many rings as processors,
//! however many threads are watched. A ring that nobody reads in time drops what comes next and
//! says how much.
//!
//! Source: perf_event_open(2); linux/perf_event.h; asm/perf_regs.h.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use crate::last_errno;

const TYPE_TRACEPOINT: u32 = 2;

/// Fields of a sample, `PERF_SAMPLE_*`, in the order in which it has them.
const SAMPLE_TID: u64 = 1 << 1;
const SAMPLE_TIME: u64 = 1 << 2;
const SAMPLE_RAW: u64 = 1 << 10;
const SAMPLE_REGS_USER: u64 = 1 << 12;

/// Bits of `struct perf_event_attr` behind its `read_format`.
const INHERIT: u64 = 1 << 1;
const COMM: u64 = 1 << 9;
const TASK: u64 = 1 << 13;
const SAMPLE_ID_ALL: u64 = 1 << 18;
const COMM_EXEC: u64 = 1 << 24;
const USE_CLOCKID: u64 = 1 << 25;

const FLAG_FD_CLOEXEC: libc::c_ulong = 1 << 3;

/// `_IOW('$', 6, char *)` and `_IO('$', 5)`.
const IOC_SET_FILTER: libc::Ioctl = 0x4008_2406;
const IOC_SET_OUTPUT: libc::Ioctl = 0x2405;

/// The first four arguments of a call but the last, as `PERF_REG_X86_*`: dx, si, di, r10.
const CALL_REGISTERS: u64 = 1 << 3 | 1 << 4 | 1 << 5 | 1 << 18;

/// `struct perf_event_attr`, version 5 (112 bytes).
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
    config2: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    _reserved: u16,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// The tracepoint's number in tracefs.
    pub tracepoint: u64,
    /// A thread; what it starts from now on is watched, too.
    pub thread: i32,
    /// Only while it runs on this processor.
    pub processor: i32,
    /// Whether samples have the registers in which a system call's arguments are: dx, si, di,
    /// r10, in this order.
    pub has_registers: bool,
    /// Whether there are records of threads that start and of programs that are executed.
    pub has_tasks: bool,
}

/// Begins to watch. A sample has process, thread, time of `CLOCK_MONOTONIC`, the tracepoint's
/// fields and, if asked for, the registers; other records end in process, thread and time.
///
/// # Errors
///
/// `EACCES` without `CAP_PERFMON`; `ESRCH` if the thread has ended; `EINVAL` for a tracepoint
/// that does not exist, `EMFILE`.
pub fn open(event: Event) -> Result<OwnedFd, Errno> {
    let mut attributes = Attributes {
        kind: TYPE_TRACEPOINT,
        size: u32::try_from(size_of::<Attributes>()).map_err(|_| Errno::TOOBIG)?,
        config: event.tracepoint,
        sample_period: 1,
        sample_type: SAMPLE_TID | SAMPLE_TIME | SAMPLE_RAW,
        flags: INHERIT | SAMPLE_ID_ALL | USE_CLOCKID,
        clockid: libc::CLOCK_MONOTONIC,
        ..Attributes::default()
    };
    if event.has_registers {
        attributes.sample_type |= SAMPLE_REGS_USER;
        attributes.sample_regs_user = CALL_REGISTERS;
    }
    if event.has_tasks {
        attributes.flags |= COMM | TASK | COMM_EXEC;
    }
    let no_group: RawFd = -1;
    // SAFETY: perf_event_open(2): "The attr argument is a pointer to a perf_event_attr
    // structure", whose size it holds; it is only read.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            event.thread,
            event.processor,
            no_group,
            FLAG_FD_CLOEXEC,
        )
    };
    if answer < 0 {
        return Err(last_errno());
    }
    let fd = RawFd::try_from(answer).map_err(|_| Errno::BADF)?;
    // SAFETY: perf_event_open(2), RETURN VALUE: "the new file descriptor", which nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Records only what fits `filter`, an expression over the tracepoint's fields
/// (`Documentation/trace/events.rst`, "Event filtering").
///
/// # Errors
///
/// `EINVAL` for an expression that cannot be read, or a field that does not exist.
pub fn set_filter(event: BorrowedFd<'_>, filter: &CStr) -> Result<(), Errno> {
    // SAFETY: perf_event_open(2), `PERF_EVENT_IOC_SET_FILTER`: "The argument is a pointer to the
    // desired ftrace filter", a terminated string, which is copied.
    let answer = unsafe { libc::ioctl(event.as_raw_fd(), IOC_SET_FILTER, filter.as_ptr()) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Has an event write into the ring of another, which is of the same processor.
///
/// # Errors
///
/// `EINVAL` for an event of another processor, or one that has a ring of its own.
pub fn set_output(event: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: perf_event_open(2), `PERF_EVENT_IOC_SET_OUTPUT`: takes a descriptor as its
    // argument and no memory.
    let answer = unsafe { libc::ioctl(event.as_raw_fd(), IOC_SET_OUTPUT, to.as_raw_fd()) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Offsets of `data_head` and `data_tail` in `struct perf_event_mmap_page`.
const HEAD: usize = 1024;
const TAIL: usize = 1032;

/// The ring of an event, read from its start.
#[derive(Debug)]
pub struct Ring {
    base: *mut u8,
    page: usize,
    /// Bytes of records it holds: a power of two.
    len: usize,
}

// SAFETY: mmap(2): a mapping belongs to the process and not to a thread.
unsafe impl Send for Ring {}

impl Ring {
    /// Gives an event a ring of `pages` pages, a power of two.
    ///
    /// # Errors
    ///
    /// `EPERM` beyond what `perf_event_mlock_kb` and `RLIMIT_MEMLOCK` allow; `EINVAL` for
    /// another number of pages; `ENOMEM`.
    pub fn map(event: BorrowedFd<'_>, pages: usize) -> Result<Self, Errno> {
        let page = rustix::param::page_size();
        let len = pages.checked_mul(page).ok_or(Errno::INVAL)?;
        let whole = len.checked_add(page).ok_or(Errno::INVAL)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: mmap(2): with a null hint and without MAP_FIXED the kernel chooses an unused
        // range.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), whole, protection, MapFlags::SHARED, event, 0)
        }?;
        Ok(Self { base: base.cast(), page, len })
    }

    /// Appends all whole records that the ring holds to `into`, and gives their room back.
    pub fn take(&mut self, into: &mut Vec<u8>) {
        // perf_event_open(2): "user-space should issue an smp_rmb() after reading this value".
        let head = self.position(HEAD).load(Ordering::Acquire);
        let tail = self.position(TAIL).load(Ordering::Relaxed);
        let filled = usize::try_from(head.wrapping_sub(tail)).unwrap_or(self.len).min(self.len);
        // The ring's length is a power of two, so that the remainder of a u64 is a usize.
        let start = usize::try_from(tail % self.len as u64).unwrap_or(0);
        let first = filled.min(self.len - start);
        self.copy(start, first, into);
        self.copy(0, filled - first, into);
        // The same: "mb()" before the tail is written.
        self.position(TAIL).store(head, Ordering::Release);
    }

    fn copy(&self, from: usize, len: usize, into: &mut Vec<u8>) {
        // SAFETY: perf_event_open(2), mmap layout: the records begin a page after the start, and
        // `from + len` does not exceed their room.
        let start = unsafe { self.base.add(self.page + from) };
        // SAFETY: perf_event_open(2), `data_head`: what lies between tail and head has been
        // written and stays until the tail is moved; the caller takes no more than that.
        let records = unsafe { std::slice::from_raw_parts(start, len) };
        into.extend_from_slice(records);
    }

    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: perf_event_open(2), mmap layout: the first page is a perf_event_mmap_page, which
        // is longer than `offset`.
        let position = unsafe { self.base.add(offset) };
        // SAFETY: perf_event_open(2): `data_head` and `data_tail` are aligned u64 that the
        // kernel reads and writes whole; they live as long as the mapping.
        unsafe { AtomicU64::from_ptr(position.cast()) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: munmap(2): the range is what mmap(2) returned, and it is unmapped once.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.page + self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use underpass_testkit::require;
    use underpass_testkit::skip::Capability;

    use super::*;

    const TRACEFS: &str = "/sys/kernel/tracing/events/raw_syscalls/sys_exit/id";

    /// Processor 0 of this thread's calls.
    fn event() -> Event {
        let id = std::fs::read_to_string(TRACEFS).unwrap();
        Event {
            tracepoint: id.trim().parse().unwrap(),
            thread: rustix::thread::gettid().as_raw_nonzero().get(),
            processor: 0,
            has_registers: true,
            has_tasks: false,
        }
    }

    /// A call with a number as its second argument.
    fn call(number: u64) {
        let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, number).unwrap();
    }

    /// Runs in a thread of its own, on processor 0.
    fn on_processor_0(test: impl FnOnce() + Send + 'static) {
        std::thread::spawn(move || {
            let mut first = rustix::thread::CpuSet::new();
            first.set(0);
            rustix::thread::sched_setaffinity(None, &first).unwrap();
            test();
        })
        .join()
        .unwrap();
    }

    fn numbers(bytes: &[u8]) -> Vec<u64> {
        bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect()
    }

    #[test]
    fn a_call_that_fits_the_filter_is_recorded_with_its_registers_and_no_other() {
        require!(Capability::Root);
        require!(Capability::Tracepoints);
        on_processor_0(|| {
            let fd = open(event()).unwrap();
            let ftruncate = libc::SYS_ftruncate;
            let filter = std::ffi::CString::new(format!("id == {ftruncate}")).unwrap();
            set_filter(fd.as_fd(), &filter).unwrap();
            let mut ring = Ring::map(fd.as_fd(), 1).unwrap();
            call(123_456);
            let mut records = Vec::new();
            ring.take(&mut records);
            // Header 8, process and thread 8, time 8, length 4 and fields 28, registers 8 + 32.
            assert_eq!(records.len(), 96, "{records:?}");
            assert_eq!(u32::from_ne_bytes(records[..4].try_into().unwrap()), 9);
            // dx, si, di, r10.
            assert_eq!(numbers(&records[64..])[1], 123_456);
            records.clear();
            ring.take(&mut records);
            assert_eq!(records, []);
        });
    }

    #[test]
    fn two_events_of_a_processor_write_into_one_ring_that_wraps_around() {
        require!(Capability::Root);
        require!(Capability::Tracepoints);
        on_processor_0(|| {
            let (one, other) = (open(event()).unwrap(), open(event()).unwrap());
            let ftruncate = libc::SYS_ftruncate;
            let filter = std::ffi::CString::new(format!("id == {ftruncate}")).unwrap();
            set_filter(one.as_fd(), &filter).unwrap();
            set_filter(other.as_fd(), &filter).unwrap();
            let mut ring = Ring::map(one.as_fd(), 1).unwrap();
            set_output(other.as_fd(), one.as_fd()).unwrap();
            let mut records = Vec::new();
            // 192 bytes each: more than the page at the second time around.
            for number in 1..=40 {
                call(number);
                ring.take(&mut records);
            }
            assert_eq!(records.len(), 40 * 2 * 96);
            let seen: Vec<u64> = records.chunks(96).map(|one| numbers(&one[64..])[1]).collect();
            let expected: Vec<u64> = (1..=40).flat_map(|number| [number, number]).collect();
            assert_eq!(seen, expected);
        });
    }

    #[test]
    fn a_wrong_filter_and_a_wrong_tracepoint_are_refused() {
        require!(Capability::Root);
        require!(Capability::Tracepoints);
        let right = event();
        let fd = open(right).unwrap();
        assert_eq!(set_filter(fd.as_fd(), c"nothing == 1"), Err(Errno::INVAL));
        assert_eq!(Ring::map(fd.as_fd(), 3).unwrap_err(), Errno::INVAL);
        let wrong = Event { tracepoint: u64::from(u32::MAX), ..right };
        assert!(open(wrong).is_err());
    }
}
