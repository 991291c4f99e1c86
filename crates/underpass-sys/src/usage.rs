//! What a process has used: `getrusage(2)`.
//!
//! The largest resident size is left out: it counts mapped file pages as memory used.
//!
//! Source: getrusage(2).

use std::mem::MaybeUninit;

use rustix::io::Errno;

use crate::last_errno;

/// Counts since the process started, over all its threads.
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

/// The calling process's usage.
///
/// # Errors
///
/// None that getrusage(2) names for these arguments; the errno, should there be one.
pub fn of_this_process() -> Result<Usage, Errno> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage(2) fills in one struct rusage, which `usage` has room for.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
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
    }
}
