//! Making durable what was written.
//!
//! The snapshot of producers that is named for a segment is written when everything before that
//! segment is durable. So recovery has to look at nothing before the latest one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::StorageError;
use super::index::Index;
use super::names::Kind;
use super::state::Shared;
use super::{Log, epochs, index_file, times};
use crate::open_files::Held;
use crate::whole_file;

/// What is not durable yet.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Segments that were closed, in their order.
    pub(super) sealed: Vec<Sealed>,
    /// Whether files were made.
    pub(super) names: bool,
}

/// A segment that was closed.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) base: i64,
    /// Its file, if it has bytes that are not durable.
    pub(super) file: Option<Held>,
    pub(super) index: Arc<Index>,
    pub(super) times: Vec<times::Entry>,
    /// Where the next segment starts.
    pub(super) next: i64,
    /// What producers had written by then.
    pub(super) producers: Vec<u8>,
}

/// What has to be made durable. No lock is held while it runs.
#[derive(Debug)]
pub(crate) struct SyncJob {
    shared: Arc<Shared>,
    unsynced: Unsynced,
    active: Option<Held>,
    end: i64,
}

/// An epoch whose beginning is to be written down.
#[derive(Debug)]
pub(crate) struct NewEpoch(Arc<Shared>);

impl NewEpoch {
    /// Waits for the disk. No lock of the log is held meanwhile.
    ///
    /// # Errors
    ///
    /// If the file of epochs cannot be replaced.
    pub(crate) fn save(&self) -> Result<(), StorageError> {
        let Self(shared) = self;
        let text = shared.epochs().encode();
        // This syncs the directory too: what recovery has removed from it does not come back.
        let dir = shared.dir();
        let path = dir.join(epochs::FILE);
        let saved = shared.files.with_room(|| whole_file::replace(&path, text.as_bytes()));
        saved.map_err(|error| StorageError::new("write", &path, error))
    }
}

impl Log {
    /// The epoch that is to be written down before the next append, if it is not.
    ///
    /// Nothing else is: so a start after a crash waits for no disk where nothing was lost, and an
    /// epoch of which no one has seen a batch may begin again.
    pub(crate) fn new_epoch(&self) -> Option<NewEpoch> {
        (!self.epoch_is_saved).then(|| NewEpoch(Arc::clone(&self.shared)))
    }

    /// Notes that the epoch is written down.
    pub(crate) const fn note_epoch_saved(&mut self) {
        self.epoch_is_saved = true;
    }

    /// Writes down the epoch, unless it is.
    pub(super) fn save_epoch(&mut self) -> Result<(), StorageError> {
        if let Some(epoch) = self.new_epoch() {
            epoch.save()?;
            self.note_epoch_saved();
        }
        Ok(())
    }

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

    /// Whether too many files are open, of this log or of others, that are not durable.
    pub(crate) fn is_crowded(&self) -> bool {
        self.shared.files.is_crowded()
    }

    /// Whether a segment was closed since [`Self::unsynced`] was asked.
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
            let dir = self.shared.dir();
            self.shared.files.with_room(|| whole_file::sync_directory(&dir))?;
        }
        for segment in sealed {
            segment.finish(&self.shared.dir());
        }
        Ok(self.end)
    }
}

impl Sealed {
    /// Writes what can be made again from the batches: so a failure costs a longer start, or the
    /// first look-up, and nothing stops for it.
    fn finish(&self, dir: &Path) {
        write_indexes(dir, self.base, &self.index, &self.times);
        let path = Kind::Producers.path(dir, self.next);
        if let Err(error) = whole_file::replace(&path, &self.producers) {
            tracing::warn!("cannot write {}: {error}; the next start takes longer", path.display());
        }
    }
}

/// Writes the indexes of a segment. One that cannot be written whole is not there.
pub(super) fn write_indexes(dir: &Path, base: i64, index: &Index, times: &[times::Entry]) {
    let index = (Kind::Index, index_file::encode(index.entries()));
    for (kind, bytes) in [index, (Kind::TimeIndex, index_file::encode_times(times))] {
        let path = kind.path(dir, base);
        if bytes.is_empty() && !path.exists() {
            continue;
        }
        if let Err(error) = write(&path, &bytes) {
            tracing::warn!("cannot write {}: {error}; it is made when needed", path.display());
            // It may never have come into being.
            fs::remove_file(&path).unwrap_or_default();
        }
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_data()
}
