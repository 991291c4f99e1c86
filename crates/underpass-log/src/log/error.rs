//! What goes wrong with files.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::walk::WalkFault;

/// A call on a file of a log that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct StorageError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StorageError {
    pub(crate) fn new(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { action, path: path.to_owned(), source: source.into() }
    }

    /// Whether it was for want of room: on the disk, of the user's share of it, or for open files.
    /// What is there can be read, and more is appended once there is room.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        use Errno as E;
        let errno = Errno::from_io_error(&self.source);
        matches!(errno, Some(E::NOSPC | E::DQUOT | E::FBIG | E::MFILE | E::NFILE))
    }

    pub(crate) fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// Why there is no plan for a read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReadError {
    /// The log does not have the offset.
    #[error("offset {offset} is not from {start} to {end}")]
    OutOfRange {
        /// The offset asked for.
        offset: i64,
        /// The first offset of the log.
        start: i64,
        /// The offset behind its last.
        end: i64,
    },
    /// The answer needs bytes that are not in memory.
    #[error("the disk has to be waited for")]
    Cold,
    /// A file cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What is in a file is not what was written.
    #[error("{} is damaged at byte {position}", path.display())]
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where the batch starts.
        position: u64,
        /// What is wrong with it.
        source: WalkFault,
    },
}
