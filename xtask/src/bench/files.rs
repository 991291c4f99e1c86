//! The files that are served and sent.
//!
//! The byte at `i` is `i % 251`: 251 is prime to page, pipe and buffer sizes, so a shifted or
//! repeated piece cannot pass for the right one. They lie in the target directory, which is on
//! a disk; a temporary directory may be in memory, where no page is ever cold.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace;

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

/// Reads a file once, so that what follows meets it in the page cache: pages are evicted behind
/// one's back.
pub(crate) fn warm(path: &Path) -> Result<()> {
    io::copy(&mut File::open(path)?, &mut io::sink())?;
    Ok(())
}

#[cfg(test)]
mod tests {
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
}
