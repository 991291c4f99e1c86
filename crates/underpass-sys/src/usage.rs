//! What a process or a thread has used: `getrusage(2)`, and the processor time of others.
//!
//! The largest resident size is left out: it counts mapped file pages as memory used.
//!
//! Source: getrusage(2), clock_getcpuclockid(3).

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::io::Errno;

use crate::last_errno;

/// Counts since the process or the thread started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Page faults that needed no disk.
    pub minor_faults: u64,
    /// Page faults that needed one.
    pub major_faults: u64,
    /// Times a thread gave its processor up.
    pub voluntary_switches: u64,
    /// Times one was taken from it.
    pub involuntary_switches: u64,
}

/// The calling process's usage, over all its threads.
///
/// # Errors
///
/// None that getrusage(2) names for these arguments; the errno, should there be one.
pub fn of_this_process() -> Result<Usage, Errno> {
    of(libc::RUSAGE_SELF)
}

/// The calling thread's usage.
///
/// # Errors
///
/// As [`of_this_process`].
pub fn of_this_thread() -> Result<Usage, Errno> {
    of(libc::RUSAGE_THREAD)
}

/// Processor time that a process has used so far, threads that have ended among it. It can be
/// asked for until the process has been waited for.
///
/// # Errors
///
/// `ESRCH` if there is no such process.
pub fn clock_of(process: u32) -> Result<Duration, Errno> {
    let process = libc::pid_t::try_from(process).map_err(|_| Errno::SRCH)?;
    let (mut clock, mut time) = (0, MaybeUninit::<libc::timespec>::zeroed());
    // SAFETY: clock_getcpuclockid(3) fills in one clockid_t, which `clock` is.
    let answer = unsafe { libc::clock_getcpuclockid(process, &raw mut clock) };
    if answer != 0 {
        return Err(Errno::from_raw_os_error(answer));
    }
    // SAFETY: clock_gettime(2) fills in one struct timespec, which `time` has room for.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } < 0 {
        return Err(last_errno());
    }
    // SAFETY: clock_gettime(2), "filled in by": it was zeroed before too, which is a valid value of
    // both fields.
    let time = unsafe { time.assume_init() };
    let (seconds, rest) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Ok(Duration::new(seconds.unwrap_or(0), rest.unwrap_or(0)))
}

fn of(whose: libc::c_int) -> Result<Usage, Errno> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage(2) fills in one struct rusage, which `usage` has room for.
    let answer = unsafe { libc::getrusage(whose, usage.as_mut_ptr()) };
    if answer < 0 {
        return Err(last_errno());
    }
    // SAFETY: getrusage(2): "resource usages are returned in the structure pointed to by usage";
    // it was zeroed before, which is a valid value of every field.
    let usage = unsafe { usage.assume_init() };
    let count = |n: libc::c_long| u64::try_from(n).unwrap_or(0);
    Ok(Usage {
        minor_faults: count(usage.ru_minflt),
        major_faults: count(usage.ru_majflt),
        voluntary_switches: count(usage.ru_nvcsw),
        involuntary_switches: count(usage.ru_nivcsw),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touching_new_pages_takes_faults() {
        let before = of_this_process().unwrap();
        let touched = std::hint::black_box(vec![1_u8; 8 << 20]);
        let after = of_this_process().unwrap();
        assert_eq!(touched.len(), 8 << 20);
        // Huge pages of 2 MiB would take four.
        assert!(after.minor_faults >= before.minor_faults + 4, "{before:?} {after:?}");
        let fresh = std::thread::spawn(|| of_this_thread().unwrap()).join().unwrap();
        assert!(fresh.minor_faults < after.minor_faults, "{fresh:?} {after:?}");
    }

    #[test]
    fn a_process_that_is_gone_has_no_clock() {
        assert!(!clock_of(std::process::id()).unwrap().is_zero());
        assert_eq!(clock_of(u32::MAX), Err(Errno::SRCH));
        // Beyond what pid_max may be. The library has its own word for it.
        assert!(matches!(clock_of(9_999_999), Err(Errno::SRCH | Errno::INVAL)));
    }
}
