//! Descriptors known by number only, as a parent or a command line names them.
//!
//! The number belongs to other code: what comes back is another descriptor for the same open file,
//! which shares the file's offset and flags with it.
//!
//! Source: fcntl(2), `F_DUPFD_CLOEXEC`; close(2), NOTES, "Dealing with error returns from close()".

use std::ffi::{c_char, c_int};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::io::Errno;

/// A new descriptor, closed by exec(2), for what descriptor `number` refers to.
///
/// # Errors
///
/// `EBADF` if nothing is open there; `EMFILE`.
pub fn duplicate(number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: fcntl(2), F_DUPFD_CLOEXEC: takes two numbers and answers EBADF for one that is not
    // open; no memory is involved.
    let new = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if new < 0 {
        return Err(crate::last_errno());
    }
    // SAFETY: fcntl(2) returned a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Closes a descriptor, and tells what its drop keeps to itself.
///
/// # Errors
///
/// `EIO`, `ENOSPC`, `EDQUOT`: bytes that write(2) had accepted are lost. File systems that send
/// them elsewhere (NFS, FUSE) do so here, and for each descriptor of an open file.
pub fn close(fd: OwnedFd) -> Result<(), Errno> {
    // SAFETY: close(2): takes a number, which `into_raw_fd` has taken from its only owner. Linux
    // has closed it whatever the answer is.
    if unsafe { libc::close(fd.into_raw_fd()) } < 0 { Err(crate::last_errno()) } else { Ok(()) }
}

/// Which of the descriptors 0 to 2 were closed when the process started, a bit each.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Looks before the Rust runtime does, which opens /dev/null in place of what is closed.
extern "C" fn look(_: c_int, _: *const *const c_char, _: *const *const c_char) {
    for number in 0..3 {
        // SAFETY: fcntl(2), F_GETFD: takes a number and answers EBADF for one that is not open.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}

/// The loader calls what is in this section before `main`: pointers to functions of this type
/// (System V ABI, "Initialization and Termination Functions").
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = look;

/// Whether standard input, output or error (0, 1, 2) was closed when the process started. What is
/// open there now is the runtime's /dev/null.
#[must_use]
pub fn was_closed(number: RawFd) -> bool {
    (0..3).contains(&number) && CLOSED.load(Ordering::Relaxed) & (1 << number) != 0
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_duplicate_outlives_the_number_and_an_unknown_number_is_refused() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut again = std::fs::File::from(duplicate(writer.as_raw_fd()).unwrap());
        drop(writer);
        again.write_all(b"here").unwrap();
        drop(again);
        let mut got = String::new();
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "here");
        assert_eq!(duplicate(1 << 30).unwrap_err(), Errno::BADF);
    }
}
