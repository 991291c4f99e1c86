//! One partition's files: a log of record batches, its indexes, its recovery.
//!
//! [`Log`] appends and is used by one thread at a time; [`LogReader`] plans reads meanwhile. They
//! know of no connections, and not of tokio.

mod ahead;
mod append;
#[cfg(test)]
mod append_tests;
mod by_time;
#[cfg(test)]
mod by_time_tests;
pub mod check;
#[cfg(test)]
mod check_tests;
mod config;
pub mod dump;
mod epochs;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(fuzzing)]
pub mod fuzzing;
mod incoming;
mod index;
mod index_file;
mod load;
mod look;
mod names;
mod next_read;
mod open;
#[cfg(test)]
mod plan_tests;
mod reader;
mod recovery;
#[cfg(test)]
mod recovery_tests;
mod retention;
#[cfg(test)]
mod retention_tests;
mod roll;
mod segment;
mod state;
mod sync;
mod times;
mod walk;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ahead::Ahead;
pub(crate) use self::config::LogConfig;
pub(crate) use self::error::ReadError;
pub use self::error::StorageError;
pub(crate) use self::incoming::{Incoming, Outcome};
#[cfg(test)]
pub(crate) use self::index::Entry as IndexEntry;
pub(crate) use self::index::Index;
pub(crate) use self::open::Start;
pub(crate) use self::reader::{LogReader, Patience, Plan};
use self::state::{Contents, Shared};
use self::sync::Unsynced;
use crate::batch::HEADER_BYTES;
use crate::open_files::{Held, OpenFiles};
use crate::producers::Producers;

/// The writing half of a log.
#[derive(Debug)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    config: Arc<LogConfig>,
    /// The epoch of this leader, which batches carry.
    epoch: i32,
    /// Whether the file of epochs says when it began.
    epoch_is_saved: bool,
    producers: Producers,
    /// The last segment's file, while what was written to it is not durable.
    file: Option<Held>,
    ahead: Ahead,
    unsynced: Unsynced,
    /// Room for the headers of a run.
    heads: Vec<[u8; HEADER_BYTES]>,
    /// The end at which its indexes and producers were last written for a clean start.
    closed: Option<i64>,
}

impl Log {
    /// Makes `dir` and an empty log in it. The name of `dir` is not durable yet: the caller syncs
    /// the directory that it is in.
    ///
    /// # Errors
    ///
    /// If a file or directory cannot be made.
    pub(crate) fn create(
        dir: &Path,
        config: Arc<LogConfig>,
        files: Arc<OpenFiles>,
    ) -> Result<Self, StorageError> {
        fs::create_dir(dir).map_err(|error| StorageError::new("make", dir, error))?;
        let mut log = Self::with(dir, config, files, Contents::empty(0));
        log.make_active_file()?;
        log.begin_epoch(0);
        log.save_epoch()?;
        // The directory was synced with that, and there is nothing in the file.
        (log.file, log.unsynced) = (None, Unsynced::default());
        Ok(log)
    }

    /// A log of which nothing can be known, and whose files are not touched.
    pub(crate) fn unopened(dir: &Path, config: Arc<LogConfig>, files: Arc<OpenFiles>) -> Self {
        Self::with(dir, config, files, Contents::empty(0))
    }

    fn with(dir: &Path, config: Arc<LogConfig>, files: Arc<OpenFiles>, contents: Contents) -> Self {
        let epoch = contents.epochs.latest().unwrap_or(0);
        let (shared, producers) = Shared::new(dir.to_owned(), files, contents);
        Self {
            shared: Arc::new(shared),
            config,
            epoch,
            epoch_is_saved: true,
            producers,
            file: None,
            ahead: Ahead::default(),
            unsynced: Unsynced::default(),
            heads: Vec::new(),
            closed: None,
        }
    }

    /// Has what is appended from now on carry `epoch`. That it began is written down before its
    /// first batch.
    fn begin_epoch(&mut self, epoch: i32) {
        self.epoch = epoch;
        self.epoch_is_saved = !self.shared.epochs_mut().begin(epoch, self.shared.end());
    }

    /// Those who have written to it idempotently.
    pub(crate) const fn producers(&self) -> &Producers {
        &self.producers
    }

    /// The reading half.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader { shared: Arc::clone(&self.shared) }
    }

    /// Has what is appended and kept from now on follow `config`.
    pub(crate) fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    fn active_size(&self) -> u32 {
        self.shared.segments().last().map_or(0, |active| active.size)
    }

    fn active_path(&self) -> PathBuf {
        self.shared.active_path()
    }
}
