//! A small file that is replaced whole: a reader, and a start after a crash, finds the old one or
//! the new one.
//!
//! Source: rename(2); fsync(2), NOTES, on directories.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Writes `bytes` next to `path`, then renames. When it returns, they are on the disk.
///
/// Two callers must not replace the same file at a time.
///
/// # Errors
///
/// Those of open(2), write(2), fsync(2) and rename(2). What was at `path` is then still there,
/// unless it was the directory that could not be synced.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_directory(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes names that were added to a directory, or taken from it, survive a crash.
///
/// # Errors
///
/// Those of open(2) and fsync(2).
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Where the new bytes are before they take the file's place.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_bytes_take_the_place_of_the_old_and_leave_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"a longer text").unwrap();
        replace(&path, b"short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        replace(&path, b"old").unwrap();
        fs::create_dir(unfinished(&path)).unwrap();
        replace(&path, b"new").unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
