//! Whether leases can be held, asked before a server starts that is to hold them.
//!
//! Source: fcntl(2), "Leases": the file's owner, or `CAP_LEASE`; `EINVAL` where the file system has
//! none.

use std::fs::File;
use std::path::{Path, PathBuf};

use underpass::{Errno, MapError, Stability, UnmappedFile};

/// How many names are looked at: a tree without end must not hold up the start.
const NAMES_MAX: usize = 1_000;

/// A file on which no lease can be held.
#[derive(Debug, thiserror::Error)]
#[error("cannot hold a lease on {}", path.display())]
pub struct LeaseError {
    /// The file.
    path: PathBuf,
    /// What fcntl(2) answered.
    source: Errno,
}

/// Tries a lease on the first files of a directory. What cannot be looked at is left out, and so is
/// a file that is being written to: it can be leased later.
pub(crate) fn can_be_held(root: &Path) -> Result<(), LeaseError> {
    let (mut directories, mut names) = (vec![root.to_path_buf()], 0);
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().into_iter().flatten().flatten() {
            names += 1;
            if names > NAMES_MAX {
                return Ok(());
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if kind.is_file() => try_on(entry.path())?,
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(())
}

fn try_on(path: PathBuf) -> Result<(), LeaseError> {
    let Ok(file) = File::open(&path) else { return Ok(()) };
    match UnmappedFile::new(file, 0..0, Stability::Lease) {
        Err(MapError::Call { errno: source @ (Errno::ACCESS | Errno::INVAL), .. }) => {
            Err(LeaseError { path, source })
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::thread::CapabilitySet;
    use underpass_testkit::require;
    use underpass_testkit::skip::Capability;

    use super::*;

    #[test]
    fn a_file_of_another_user_is_found_before_the_start() {
        require!(Capability::Root);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(dir.path().join("own"), "").unwrap();
        let other = dir.path().join("sub/other");
        fs::write(&other, "").unwrap();
        std::os::unix::fs::chown(&other, Some(12_345), None).unwrap();
        can_be_held(dir.path()).unwrap();
        // capabilities(7): those of this test's thread.
        let mut own = rustix::thread::capabilities(None).unwrap();
        own.effective.remove(CapabilitySet::LEASE);
        rustix::thread::set_capabilities(None, own).unwrap();
        let error = can_be_held(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot hold a lease on {}", other.display()));
    }

    #[test]
    fn a_file_that_is_being_written_to_can_be_leased_later() {
        let dir = tempfile::tempdir().unwrap();
        let _writer = File::create(dir.path().join("log")).unwrap();
        can_be_held(dir.path()).unwrap();
    }
}
