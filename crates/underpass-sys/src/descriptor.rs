//! Descriptors known by number only, as a parent or a command line names them.
//!
//! The number belongs to other code: what comes back is another descriptor for the same open file,
//! which shares the file's offset and flags with it.
//!
//! Source: fcntl(2), `F_DUPFD_CLOEXEC`.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

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
