//! What a process does about a signal.
//!
//! Source: sigaction(2); nohup(1), which leaves SIGHUP ignored to what it starts.

use std::mem::MaybeUninit;

use rustix::io::Errno;

/// Whether a signal is ignored, as a parent may have set it.
///
/// # Errors
///
/// `EINVAL` if there is no such signal.
pub fn is_ignored(signal: i32) -> Result<bool, Errno> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: sigaction(2): with no new action, the call only writes the old one to `oldact`.
    if unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) } < 0 {
        return Err(crate::last_errno());
    }
    // SAFETY: sigaction(2) returned 0, so it has filled all of the structure.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_runtime_ignores_is_ignored_and_what_it_leaves_alone_is_not() {
        // The Rust runtime sets SIGPIPE to be ignored.
        assert_eq!(is_ignored(libc::SIGPIPE), Ok(true));
        assert_eq!(is_ignored(libc::SIGURG), Ok(false));
        assert_eq!(is_ignored(1000), Err(Errno::INVAL));
    }
}
