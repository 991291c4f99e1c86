//! Read leases: `fcntl(2)`, `F_SETLEASE` and `F_GETLEASE`.
//!
//! While a read lease is held, another process's open for writing or truncation blocks until
//! the holder gives the lease up (at most `/proc/sys/fs/lease-break-time` seconds, 45 by
//! default). The kernel announces the break with a signal, `SIGIO` unless set otherwise, whose
//! default action is to end the process: [`take`] therefore asks for `SIGURG`, which is
//! ignored by default, and the holder asks [`is_held`] instead of waiting for it.
//!
//! Source: fcntl(2), "Leases".

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// asm-generic/fcntl.h; the libc crate has no name for it.
const F_SETSIG: libc::c_int = 10;

/// Takes a read lease on the file.
///
/// # Errors
///
/// `EAGAIN` if the file is open for writing anywhere, `EACCES` if the file belongs to another
/// user and the caller lacks `CAP_LEASE`, `EINVAL` where the file system has no leases.
pub fn take(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: fcntl(2): F_SETSIG takes a signal number and touches no memory of the caller.
    if unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) } < 0 {
        return Err(last_errno());
    }
    // SAFETY: fcntl(2): F_SETLEASE takes F_RDLCK as its value and no pointer.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Whether the lease is still held and no one waits for it to be given up.
///
/// # Errors
///
/// Those of fcntl(2): `EINVAL` where the file system has no leases.
pub fn is_held(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    // SAFETY: fcntl(2): F_GETLEASE takes no argument and touches no memory of the caller.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE) };
    if answer < 0 { Err(last_errno()) } else { Ok(answer == libc::F_RDLCK) }
}

/// Gives the lease up and lets a waiting writer continue.
///
/// # Errors
///
/// `EAGAIN` if no lease is held through this open file.
pub fn release(file: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: fcntl(2): F_SETLEASE takes F_UNLCK as its value and no pointer.
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_lease_is_refused_while_a_writer_has_the_file_and_broken_by_the_next() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let reader = std::fs::File::open(&path).unwrap();
        let writer = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        assert_eq!(take(reader.as_fd()), Err(Errno::AGAIN));
        drop(writer);
        // A process that another test starts has the writer until it executes its program.
        let taken = || take(reader.as_fd()).ok();
        underpass_testkit::wait::until(std::time::Duration::from_secs(10), taken).unwrap();
        assert_eq!(is_held(reader.as_fd()), Ok(true));
        // An open that may not block is refused, and the break is under way anyway.
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        let refused = rustix::fs::open(&*path, flags, rustix::fs::Mode::empty());
        assert_eq!(refused.unwrap_err(), Errno::AGAIN);
        assert_eq!(is_held(reader.as_fd()), Ok(false));
        release(reader.as_fd()).unwrap();
        rustix::fs::open(&*path, flags, rustix::fs::Mode::empty()).unwrap();
    }
}
