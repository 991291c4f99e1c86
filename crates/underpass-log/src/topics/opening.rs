//! Opening and making the partitions of topics.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::catalog::Catalog;
use super::config::{ConfigFault, TopicConfig};
use super::directory::{DirectoryError, Ended, io_error};
use super::{Topic, TopicFault, TopicMap, places};
use crate::chain::Chain;
use crate::flusher::Flusher;
use crate::log::{Log, LogConfig, Start, StorageError};
use crate::open_files::OpenFiles;
use crate::partition::{Partition, Promise};
use crate::uuid::Uuid;
use crate::whole_file;

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("these defaults of topics are not possible")]
    Default(#[from] ConfigFault),
    #[error("topic '{topic}' in topics.json")]
    Config { topic: String, source: ConfigFault },
}

/// Why a partition cannot be opened.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("{} is missing, and topics.json has the partition", .0.display())]
    Missing(PathBuf),
}

/// Partitions opened at a time: most of it is waiting for the disk.
const AT_ONCE: usize = 16;

/// What partitions are made of.
#[derive(Debug)]
pub(super) struct Storehouse {
    data: PathBuf,
    start: Start,
    files: Arc<OpenFiles>,
    promise: Promise,
    flusher: Arc<Flusher>,
}

/// A partition that is to be opened.
struct Wanted {
    topic: Arc<str>,
    index: i32,
    config: Arc<LogConfig>,
}

impl Storehouse {
    pub(super) fn new(
        data: &Path,
        ended: Ended,
        files: Arc<OpenFiles>,
        promise: Promise,
        flusher: Arc<Flusher>,
    ) -> Self {
        let start = match ended {
            Ended::Cleanly => Start::Clean,
            Ended::Uncleanly => Start::Unclean,
        };
        Self { data: data.into(), start, files, promise, flusher }
    }

    /// Opens every partition that is written down.
    pub(super) fn open_all(
        &self,
        catalog: &Catalog,
        defaults: &TopicConfig,
    ) -> Result<TopicMap, OpenError> {
        let mut topics = Vec::with_capacity(catalog.topics.len());
        let mut wanted = Vec::new();
        for (name, entry) in &catalog.topics {
            let fault = |source| OpenError::Config { topic: name.clone(), source };
            let config = Arc::new(defaults.with(&entry.overrides).map_err(fault)?);
            let (topic, of_logs) = (Arc::<str>::from(name.as_str()), Arc::new(config.log()));
            for index in 0..entry.partitions.cast_signed() {
                let (topic, config) = (Arc::clone(&topic), Arc::clone(&of_logs));
                wanted.push(Wanted { topic, index, config });
            }
            topics.push((topic, entry, config));
        }
        let mut opened = in_parallel(&wanted, |wanted| self.open(wanted)).into_iter();
        let published = topics.into_iter().map(|(name, entry, config)| {
            let partitions = opened.by_ref().take(entry.partitions as usize).collect();
            let topic = Topic::new(
                Arc::clone(&name),
                entry.id,
                entry.overrides.clone(),
                config,
                partitions,
            );
            (name, Arc::new(topic))
        });
        Ok(published.collect())
    }

    /// Opens a partition. One that cannot be opened is offline, and does not keep the others from
    /// being served.
    fn open(&self, wanted: &Wanted) -> Arc<Partition> {
        let Wanted { topic, index, config } = wanted;
        let directory = places::partition(&self.data, topic, *index);
        match self.open_log(wanted, &directory) {
            Ok(log) => self.partition(topic, *index, log),
            Err(error) => {
                tracing::error!(
                    "{topic}-{index} is offline, and its files are left as they are: {}; mend \
                     that, or restore the directory from a copy, and start again; or delete the \
                     topic",
                    Chain(&error)
                );
                let log = Log::unopened(&directory, Arc::clone(config), Arc::clone(&self.files));
                let partition = self.partition(topic, *index, log);
                partition.take_offline();
                partition
            }
        }
    }

    fn open_log(&self, wanted: &Wanted, directory: &Path) -> Result<Log, Unopened> {
        let Wanted { topic, index, config } = wanted;
        let (config, files) = (Arc::clone(config), Arc::clone(&self.files));
        let (log, recovery) = match Log::open(directory, config, files, self.start) {
            Err(error) if error.is_missing() && !directory.exists() => {
                return Err(Unopened::Missing(directory.into()));
            }
            opened => opened?,
        };
        if let Some(found) = recovery.told() {
            tracing::warn!("{topic}-{index}: {found}");
        }
        if recovery.is_recovered {
            tracing::debug!("{topic}-{index}: its last batches were compared with their checksums");
        }
        Ok(log)
    }

    fn partition(&self, topic: &Arc<str>, index: i32, log: Log) -> Arc<Partition> {
        let flusher = Arc::clone(&self.flusher);
        Partition::new(Arc::clone(topic), index, log, self.promise, flusher)
    }

    /// Makes partitions of a topic. When this returns they are on the disk, or none is.
    pub(super) fn create(
        &self,
        topic: &Arc<str>,
        id: Uuid,
        indexes: Range<i32>,
        config: &TopicConfig,
    ) -> Result<Vec<Arc<Partition>>, TopicFault> {
        let of_logs = Arc::new(config.log());
        let mut made = Vec::new();
        for index in indexes {
            match self.create_one(topic, id, index, &of_logs) {
                Ok(partition) => made.push(partition),
                Err(fault) => {
                    self.unmake(topic, &made);
                    return Err(fault);
                }
            }
        }
        if let Err(error) = whole_file::sync_directory(&self.data) {
            self.unmake(topic, &made);
            return Err(io_error("sync", &self.data)(error).into());
        }
        Ok(made)
    }

    fn create_one(
        &self,
        topic: &Arc<str>,
        id: Uuid,
        index: i32,
        config: &Arc<LogConfig>,
    ) -> Result<Arc<Partition>, TopicFault> {
        let directory = places::partition(&self.data, topic, index);
        if directory.exists() {
            return Err(TopicFault::InTheWay(directory));
        }
        let made = self.fill(&directory, id, config);
        let log = made.inspect_err(|_| places::remove(&[directory]))?;
        Ok(self.partition(topic, index, log))
    }

    fn fill(&self, directory: &Path, id: Uuid, config: &Arc<LogConfig>) -> Result<Log, TopicFault> {
        let log = Log::create(directory, Arc::clone(config), Arc::clone(&self.files))?;
        // This syncs the directory, and with it the names of the log's files.
        places::write_owner(directory, id).map_err(io_error("write", directory))?;
        Ok(log)
    }

    /// Removes partitions that were just made, and that no one knows of.
    pub(super) fn unmake(&self, topic: &str, made: &[Arc<Partition>]) {
        for partition in made {
            partition.delete();
            places::remove(&[places::partition(&self.data, topic, partition.index())]);
        }
    }
}

/// Does something for each of many, and keeps their order.
pub(super) fn in_parallel<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let done: Vec<Mutex<Option<R>>> = all.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(index) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < all.len())
        {
            *done[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(work(&all[index]));
        }
    };
    thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(all.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let results = done.into_iter().map(|slot| {
        slot.into_inner().unwrap_or_else(PoisonError::into_inner).expect("each was done")
    });
    results.collect()
}

/// Frees what a crash has left: directories of deleted topics, which are returned to be unlinked,
/// and those of a creation that did not come to its end.
pub(super) fn tidy_up(data: &Path, catalog: &Catalog) -> Result<Vec<PathBuf>, OpenError> {
    for (id, remains) in &catalog.deleting {
        for index in 0..remains.partitions.cast_signed() {
            places::set_aside(data, &remains.name, *id, index)
                .map_err(io_error("rename in", data))?;
        }
    }
    if !catalog.deleting.is_empty() {
        whole_file::sync_directory(data).map_err(io_error("sync", data))?;
    }
    let mut gone = Vec::new();
    for entry in fs::read_dir(data).map_err(io_error("read", data))? {
        let entry = entry.map_err(io_error("read", data))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if places::is_set_aside(name) {
            gone.push(entry.path());
        } else if let Some((topic, index)) = places::parse(name)
            && !is_known(catalog, topic, index)
        {
            remove_stray(&entry.path())?;
        }
    }
    Ok(gone)
}

fn is_known(catalog: &Catalog, topic: &str, index: i32) -> bool {
    catalog.topics.get(topic).is_some_and(|entry| index < entry.partitions.cast_signed())
}

/// A creation that did not end has no records yet.
fn remove_stray(directory: &Path) -> Result<(), DirectoryError> {
    match places::has_no_record(directory) {
        Ok(true) => fs::remove_dir_all(directory).map_err(io_error("remove", directory)),
        Ok(false) => {
            tracing::warn!(
                "{} has records, and topics.json does not have the partition: it is left alone",
                directory.display()
            );
            Ok(())
        }
        // A file of that name is not ours.
        Err(error) if error.kind() == ErrorKind::NotADirectory => Ok(()),
        Err(error) => {
            let error = io_error("read", directory)(error);
            tracing::warn!("{}, and topics.json does not have it: it is left alone", Chain(&error));
            Ok(())
        }
    }
}
