//! The page cache of one file, brought into a state and asked about it.
//!
//! Something else on the machine may take pages out at any time, and mapped or dirty pages do not
//! leave on advice: the state is checked with cachestat(2) wherever the kernel has it, and taken
//! on trust where it has not.
//!
//! Source: posix_fadvise(2); `Documentation/admin-guide/mm/damon/reclaim.rst`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;
use rustix::io::Errno;
use underpass_sys::cachestat::{self, Pages};

/// Smallest unit in which the page cache holds a file.
pub const PAGE_BYTES: u64 = 4096;

/// Tries before a state is given up.
const TRIES: usize = 5;

const BUFFER_BYTES: usize = 256 << 10;

/// What the page cache holds of the file's first `bytes`; `None` before Linux 6.5.
///
/// # Errors
///
/// Those of cachestat(2) but for a kernel that has none.
pub(crate) fn pages(file: &File, bytes: u64) -> io::Result<Option<Pages>> {
    match cachestat::pages(file.as_fd(), 0, bytes) {
        Ok(pages) => Ok(Some(pages)),
        Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Reads the first `bytes` until the cache holds all of them; otherwise says why it does not.
///
/// # Errors
///
/// Those of read(2).
pub(crate) fn fill(file: &File, bytes: u64) -> io::Result<Result<(), String>> {
    let wanted = bytes.div_ceil(PAGE_BYTES);
    let mut held = 0;
    for _ in 0..TRIES {
        held = pages(file, bytes)?.map_or(0, |pages| pages.cached);
        if held == wanted {
            return Ok(Ok(()));
        }
        read_through(file, bytes)?;
        if pages(file, bytes)?.is_none() {
            return Ok(Ok(()));
        }
    }
    Ok(Err(format!("the page cache keeps {held} of the file's {wanted} pages")))
}

/// Takes the first `bytes` out of the cache; otherwise says why they stay.
///
/// # Errors
///
/// Those of fsync(2) and posix_fadvise(2).
pub(crate) fn empty(file: &File, bytes: u64) -> io::Result<Result<(), String>> {
    let mut held = 0;
    for _ in 0..TRIES {
        rustix::fs::fsync(file)?;
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?;
        match pages(file, bytes)? {
            Some(Pages { cached: 0, .. }) | None => return Ok(Ok(())),
            Some(pages) => held = pages.cached,
        }
    }
    Ok(Err(format!(
        "{held} pages stay in the page cache: the file system is in memory, or somebody maps them"
    )))
}

fn read_through(file: &File, bytes: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = 0;
    while at < bytes {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(()),
            n => at += n as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_emptied_out_of_the_cache_and_filled_in_again() {
        let file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all_at(&vec![7; 300_000], 0).unwrap();
        assert_eq!(empty(&file, 300_000).unwrap(), Ok(()));
        let cached = |file| pages(file, 300_000).unwrap().map(|pages| pages.cached);
        assert!(matches!(cached(&file), Some(0) | None));
        assert_eq!(fill(&file, 300_000).unwrap(), Ok(()));
        assert!(matches!(cached(&file), Some(74) | None), "{:?}", cached(&file));
    }
}
