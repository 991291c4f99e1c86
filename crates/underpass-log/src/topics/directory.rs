//! The data directory: whose it is, what made it, and how the last server over it ended.
//!
//! One server at a time writes into it, which a lock on the file `lock` makes sure. The file
//! `clean-shutdown` is written last by a server that ends in order and removed first by the next,
//! so where it is missing after a start, logs may end in the middle of a write.
//!
//! Source: flock(2).

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::uuid::Uuid;
use crate::whole_file;

/// What the files of a data directory are laid out as.
const FORMAT: u32 = 1;

/// The most bytes that are read of what should be a line.
const FORMAT_BYTES_MAX: u64 = 4096;

const FORMAT_FILE: &str = "underpass-log.json";
const LOCK_FILE: &str = "lock";
const CLEAN_FILE: &str = "clean-shutdown";

/// How the last server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// In order: all was written and synced.
    Cleanly,
    /// By a crash, or there was none before.
    Uncleanly,
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    cluster_id: Uuid,
    ended: Ended,
    /// Open as long as the lock is held.
    _lock: File,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DirectoryError {
    /// A file or the directory refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Another server has it.
    #[error(
        "{} is in use by another server: it holds the lock on {}", path.display(),
        path.join(LOCK_FILE).display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It has files, and none that says that they are a log's.
    #[error(
        "{} is not empty and has no {FORMAT_FILE}, so it is not a log's: name another directory",
        path.display()
    )]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },
    /// A file of ours is damaged.
    #[error("{} is damaged: {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// Made by a later version.
    #[error(
        "{} has format {found}, and this program knows format {FORMAT}: use the version that \
         wrote it", path.display()
    )]
    Format {
        /// The file.
        path: PathBuf,
        /// As it says.
        found: u32,
    },
}

/// What the file of the format says.
#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    cluster_id: String,
}

impl DataDirectory {
    /// Takes the directory, making it if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Self, DirectoryError> {
        fs::create_dir_all(path).map_err(io_error("make", path))?;
        let identity_path = path.join(FORMAT_FILE);
        if !identity_path.exists() && !is_fresh(path)? {
            return Err(DirectoryError::NotOurs { path: path.into() });
        }
        let lock = lock(path)?;
        let cluster_id = match read_bounded(&identity_path, FORMAT_BYTES_MAX)? {
            Some(text) => identity(&identity_path, &text)?,
            None => begin(&identity_path)?,
        };
        let ended = forget_end(path)?;
        Ok(Self { path: path.into(), cluster_id, ended, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What clients know the cluster by.
    pub(crate) const fn cluster_id(&self) -> Uuid {
        self.cluster_id
    }

    /// How the last server over it ended.
    pub(crate) const fn ended(&self) -> Ended {
        self.ended
    }

    /// Says that everything is written and synced.
    pub(crate) fn mark_clean(&self) -> Result<(), DirectoryError> {
        let path = self.path.join(CLEAN_FILE);
        whole_file::replace(&path, b"").map_err(io_error("write", &path))
    }
}

/// What to say of a file that refused.
pub(super) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> DirectoryError {
    move |source| DirectoryError::Io { action, path: path.into(), source }
}

/// A whole file as text; `None` if there is none.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<Option<String>, DirectoryError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(io_error("open", path))?,
    };
    let mut text = String::new();
    let mut bounded = io::Read::take(file, bytes_max + 1);
    match io::Read::read_to_string(&mut bounded, &mut text) {
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(damaged(path, "it is not UTF-8"))
        }
        Err(error) => Err(io_error("read", path)(error)),
        Ok(_) if text.len() as u64 > bytes_max => {
            Err(damaged(path, format!("it has more than {bytes_max} bytes")))
        }
        Ok(_) => Ok(Some(text)),
    }
}

pub(super) fn damaged(path: &Path, fault: impl ToString) -> DirectoryError {
    DirectoryError::Damaged { path: path.into(), fault: fault.to_string() }
}

/// Whether nothing is there that somebody could miss: a file system that was just made has a
/// directory for lost files, and a crash may have left the files that a start begins with.
fn is_fresh(path: &Path) -> Result<bool, DirectoryError> {
    for entry in fs::read_dir(path).map_err(io_error("read", path))? {
        let name = entry.map_err(io_error("read", path))?.file_name();
        let begun = name.to_str().and_then(|name| name.strip_suffix(".new")) == Some(FORMAT_FILE);
        if !begun && name != "lost+found" && name != LOCK_FILE {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(directory: &Path) -> Result<File, DirectoryError> {
    let path = directory.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(io_error("open", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(DirectoryError::InUse { path: directory.into() }),
        Err(errno) => Err(io_error("lock", &path)(errno.into())),
    }
}

fn identity(path: &Path, text: &str) -> Result<Uuid, DirectoryError> {
    let identity: Identity = serde_json::from_str(text).map_err(|error| damaged(path, error))?;
    if identity.format != FORMAT {
        return Err(DirectoryError::Format { path: path.into(), found: identity.format });
    }
    identity.cluster_id.parse().map_err(|fault| damaged(path, fault))
}

/// Makes a directory a log's.
fn begin(path: &Path) -> Result<Uuid, DirectoryError> {
    let id = Uuid::random().map_err(|errno| io_error("name", path)(errno.into()))?;
    let identity = Identity { format: FORMAT, cluster_id: id.to_string() };
    let mut text = serde_json::to_vec(&identity).map_err(|error| damaged(path, error))?;
    text.push(b'\n');
    whole_file::replace(path, &text).map_err(io_error("write", path))?;
    Ok(id)
}

/// Takes back that the last server ended in order, before anything is changed.
fn forget_end(directory: &Path) -> Result<Ended, DirectoryError> {
    let path = directory.join(CLEAN_FILE);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ended::Uncleanly),
        removed => removed.map_err(io_error("remove", &path))?,
    }
    whole_file::sync_directory(directory).map_err(io_error("sync", directory))?;
    Ok(Ended::Cleanly)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_cluster_id_and_says_how_the_last_server_ended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/too");
        let first = DataDirectory::open(&path).unwrap();
        let id = first.cluster_id();
        assert_eq!(first.ended(), Ended::Uncleanly);
        first.mark_clean().unwrap();
        drop(first);
        let second = DataDirectory::open(&path).unwrap();
        assert_eq!((second.cluster_id(), second.ended()), (id, Ended::Cleanly));
        drop(second);
        let third = DataDirectory::open(&path).unwrap();
        assert_eq!((third.cluster_id(), third.ended()), (id, Ended::Uncleanly));
    }

    #[test]
    fn a_directory_in_use_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(dir.path()).unwrap();
        held.mark_clean().unwrap();
        let error = DataDirectory::open(dir.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::InUse { .. }), "{error}");
        let path = dir.path().display();
        assert_eq!(
            error.to_string(),
            format!("{path} is in use by another server: it holds the lock on {path}/lock")
        );
        assert!(dir.path().join(CLEAN_FILE).exists(), "the one refused has changed nothing");
        drop(held);
        DataDirectory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_with_files_of_others_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("lost+found")).unwrap();
        fs::write(dir.path().join("letters.txt"), "dear").unwrap();
        let error = DataDirectory::open(dir.path()).unwrap_err();
        assert!(matches!(error, DirectoryError::NotOurs { .. }), "{error}");
        assert!(!dir.path().join(LOCK_FILE).exists());
        fs::remove_file(dir.path().join("letters.txt")).unwrap();
        DataDirectory::open(dir.path()).unwrap();
    }

    #[test]
    fn a_damaged_or_later_format_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FORMAT_FILE);
        let said = |text: &str| {
            fs::write(&path, text).unwrap();
            DataDirectory::open(dir.path()).unwrap_err().to_string()
        };
        let id = "MkU3OEVBNTcwNTJENDM2Qg";
        let later = said(&format!("{{\"format\": 2, \"cluster_id\": \"{id}\"}}"));
        assert!(later.ends_with(
            "has format 2, and this program knows format 1: use the version that wrote it"
        ));
        let wrong_id = said("{\"format\": 1, \"cluster_id\": \"x\"}");
        let too_long = said(&" ".repeat(5000));
        for (said, part) in [
            (said(""), "damaged: EOF"),
            (wrong_id, "damaged: an identifier is 22"),
            (too_long, "more than 4096"),
        ] {
            assert!(said.contains(part), "{said}");
        }
        fs::write(&path, format!("{{\"format\":1,\"cluster_id\":\"{id}\"}}\n")).unwrap();
        assert_eq!(DataDirectory::open(dir.path()).unwrap().cluster_id().to_string(), id);
    }
}
