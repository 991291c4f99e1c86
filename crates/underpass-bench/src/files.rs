//! The files that are served and sent.
//!
//! The byte at `i` is `i % 251`: 251 is prime to page, pipe and buffer sizes, so a shifted or
//! repeated piece cannot pass for the right one. They are in the target directory, which is on
//! a disk; a temporary directory may be in memory, where no page is ever cold.
//!
//! Source: preadv2(2), `RWF_NOWAIT`: fails or reads less where the page cache lacks the data.

use std::fs::File;
use std::io::{self, IoSliceMut, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use underpass_testkit::workspace;

/// A directory for one run, removed with the value.
pub(crate) fn scratch() -> Result<tempfile::TempDir> {
    let target = workspace::target_dir()?;
    std::fs::create_dir_all(&target)?;
    let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(target)?;
    Ok(dir)
}

/// Writes a patterned file and opens it for reading.
pub(crate) fn patterned(dir: &Path, name: &str, len_bytes: u64) -> Result<(PathBuf, File)> {
    let path = dir.join(name);
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    let block: Vec<u8> = (0..251).cycle().take(251 * 4096).collect();
    let mut left = len_bytes;
    while left > 0 {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(block.get(..n).unwrap_or_default())?;
        left -= n as u64;
    }
    // Written back now, or the kernel would do it during a measurement.
    file.sync_all()?;
    Ok((path.clone(), File::open(path)?))
}

/// Makes sure that all of a file is in the page cache, and reads what is not: the kernel may
/// evict pages at any time. Returns how many times it had to read.
pub(crate) fn warm(path: &Path) -> Result<u32> {
    let (file, mut room) = (File::open(path)?, vec![0; 1 << 20]);
    let (len, mut at, mut reads) = (file.metadata()?.len(), 0, 0);
    while at < len {
        match preadv2(&file, &mut [IoSliceMut::new(&mut room)], at, ReadWriteFlags::NOWAIT) {
            Ok(n @ 1..) => at += n as u64,
            Ok(_) | Err(Errno::AGAIN | Errno::OPNOTSUPP) => {
                let n = file.read_at(&mut room, at)?;
                ensure!(n > 0, "{} ended at {at} of {len} bytes", path.display());
                (at, reads) = (at + n as u64, reads + 1);
            }
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use underpass_testkit::disk::Disk;

    use super::*;

    #[test]
    fn each_byte_says_where_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let len = 251 * 4096 + 300;
        let (path, _) = patterned(dir.path(), "a", len).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, len);
        assert!(bytes.iter().enumerate().all(|(i, &byte)| usize::from(byte) == i % 251));
    }

    #[test]
    fn a_file_that_was_evicted_is_read_back_and_then_found_warm() {
        let dir = scratch().unwrap();
        let (path, file) = patterned(dir.path(), "a", 3 << 20).unwrap();
        Disk::evict(&file).unwrap();
        assert!(warm(&path).unwrap() > 0);
        assert_eq!(warm(&path).unwrap(), 0);
    }
}
