//! The topics of a data directory.
//!
//! Requests read a map that is replaced when something changes; what changes it does so one at a
//! time, on the disk first. A topic is there when `topics.json` names it, and its files were made
//! before; it is gone when the file has it among those being deleted, and its files go then.
//!
//! All that changes something waits for the disk: call it on a thread that may.

mod catalog;
pub(crate) mod config;
mod directory;
mod fault;
mod name;
mod opening;
mod places;
pub(crate) mod retention;
pub(crate) mod setting;
mod topic;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;

pub(crate) use catalog::{ALL_PARTITIONS_MAX, PARTITIONS_MAX};
use catalog::{Catalog, Entry, Remains};
use config::{Overrides, TopicConfig};
use directory::DataDirectory;
pub(crate) use fault::TopicFault;
pub(crate) use opening::OpenError;
use opening::Storehouse;
pub(crate) use topic::Topic;

use crate::chain::Chain;
use crate::flusher::Flusher;
use crate::open_files::OpenFiles;
use crate::partition::{Partition, Promise, Status};
use crate::uuid::Uuid;
use crate::whole_file;
use crate::wire::ErrorCode;

/// Topics by their names.
pub(crate) type TopicMap = HashMap<Arc<str>, Arc<Topic>>;

/// All topics, and the directory they are in.
#[derive(Debug)]
pub(crate) struct Topics {
    directory: DataDirectory,
    /// What holds for a topic until something is set for it.
    defaults: TopicConfig,
    /// Held while something is changed.
    catalog: Mutex<Catalog>,
    published: RwLock<Arc<TopicMap>>,
    storehouse: Storehouse,
}

impl Topics {
    /// Takes a data directory and opens all that is in it.
    pub(crate) fn open(
        path: &Path,
        defaults: TopicConfig,
        files: Arc<OpenFiles>,
        promise: Promise,
        flusher: Arc<Flusher>,
    ) -> Result<Self, OpenError> {
        let directory = DataDirectory::open(path)?;
        let catalog = Catalog::load(path)?;
        let storehouse = Storehouse::new(path, directory.ended(), files, promise, flusher);
        let gone = opening::tidy_up(path, &catalog)?;
        let published = storehouse.open_all(&catalog, &defaults)?;
        // What nothing refers to may take its time.
        thread::spawn(move || places::remove(&gone));
        Ok(Self {
            directory,
            defaults,
            catalog: Mutex::new(catalog),
            published: RwLock::new(Arc::new(published)),
            storehouse,
        })
    }

    /// What clients know the cluster by.
    pub(crate) const fn cluster_id(&self) -> Uuid {
        self.directory.cluster_id()
    }

    /// Where everything is.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What holds for a topic until something is set for it.
    pub(crate) const fn defaults(&self) -> &TopicConfig {
        &self.defaults
    }

    /// All topics as they are now.
    pub(crate) fn snapshot(&self) -> Arc<TopicMap> {
        Arc::clone(&self.published.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The topic of a name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.published.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// The topic of an identifier.
    pub(crate) fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        self.snapshot().values().find(|topic| topic.id() == id).map(Arc::clone)
    }

    /// All topics, in the order of their names.
    pub(crate) fn list(&self) -> Vec<Arc<Topic>> {
        let mut topics: Vec<_> = self.snapshot().values().map(Arc::clone).collect();
        topics.sort_by(|one, other| one.name().cmp(other.name()));
        topics
    }

    /// Whether a topic could be made now.
    pub(crate) fn check_new(
        &self,
        name: &str,
        partitions: u32,
        overrides: &Overrides,
    ) -> Result<(), TopicFault> {
        self.check_entry(&self.lock(), name, partitions, overrides)
    }

    fn check_entry(
        &self,
        catalog: &Catalog,
        name: &str,
        partitions: u32,
        overrides: &Overrides,
    ) -> Result<(), TopicFault> {
        name::check(name)?;
        if catalog.topics.contains_key(name) {
            return Err(TopicFault::Exists(name.into()));
        }
        if let Some(other) = catalog.topics.keys().find(|other| name::collide(name, other)) {
            return Err(TopicFault::Collides { name: name.into(), other: other.clone() });
        }
        check_count(catalog, partitions, partitions)?;
        self.defaults.with(overrides)?;
        Ok(())
    }

    /// Makes a topic.
    pub(crate) fn create(
        &self,
        name: &str,
        partitions: u32,
        overrides: Overrides,
    ) -> Result<Arc<Topic>, TopicFault> {
        let mut catalog = self.lock();
        self.check_entry(&catalog, name, partitions, &overrides)?;
        let id =
            Uuid::random().map_err(|errno| TopicFault::Identifier(name.into(), errno.into()))?;
        let config = Arc::new(self.defaults.with(&overrides)?);
        let name: Arc<str> = name.into();
        let made = self.storehouse.create(&name, id, 0..partitions.cast_signed(), &config)?;
        let entry = Entry { id, partitions, overrides: overrides.clone() };
        self.store(&mut catalog, |catalog| {
            catalog.topics.insert(name.to_string(), entry);
        })
        .inspect_err(|_| self.storehouse.unmake(&name, &made))?;
        Ok(self.publish(Topic::new(name, id, overrides, config, made)))
    }

    /// Adds partitions to a topic, so that there are `count`.
    pub(crate) fn grow(&self, name: &str, count: u32) -> Result<Arc<Topic>, TopicFault> {
        let mut catalog = self.lock();
        let topic = self.get(name).ok_or_else(|| TopicFault::Unknown(name.into()))?;
        let had = check_growth(&catalog, &topic, count)?;
        let new = had.cast_signed()..count.cast_signed();
        let made = self.storehouse.create(topic.name(), topic.id(), new, topic.config())?;
        self.store(&mut catalog, |catalog| {
            if let Some(entry) = catalog.topics.get_mut(name) {
                entry.partitions = count;
            }
        })
        .inspect_err(|_| self.storehouse.unmake(name, &made))?;
        let partitions = topic.partitions().iter().map(Arc::clone).chain(made).collect();
        let (overrides, config) = (topic.overrides().clone(), Arc::clone(topic.config()));
        let name = Arc::clone(topic.name());
        Ok(self.publish(Topic::new(name, topic.id(), overrides, config, partitions)))
    }

    /// Whether a topic could have `count` partitions.
    pub(crate) fn check_grow(&self, name: &str, count: u32) -> Result<(), TopicFault> {
        let catalog = self.lock();
        let topic = self.get(name).ok_or_else(|| TopicFault::Unknown(name.into()))?;
        check_growth(&catalog, &topic, count).map(drop)
    }

    /// Sets what `change` makes of what was set for a topic.
    pub(crate) fn configure<E: From<TopicFault>>(
        &self,
        name: &str,
        change: impl FnOnce(&mut Overrides) -> Result<(), E>,
    ) -> Result<Arc<Topic>, E> {
        let mut catalog = self.lock();
        let topic = self.get(name).ok_or_else(|| TopicFault::Unknown(name.into()))?;
        let mut overrides = topic.overrides().clone();
        change(&mut overrides)?;
        let config = Arc::new(self.defaults.with(&overrides).map_err(TopicFault::from)?);
        self.store(&mut catalog, |catalog| {
            if let Some(entry) = catalog.topics.get_mut(name) {
                entry.overrides.clone_from(&overrides);
            }
        })?;
        let of_logs = Arc::new(config.log());
        for partition in topic.partitions() {
            partition.log().set_config(Arc::clone(&of_logs));
        }
        let (name, partitions) = (Arc::clone(topic.name()), topic.partitions().to_vec());
        Ok(self.publish(Topic::new(name, topic.id(), overrides, config, partitions)))
    }

    /// Deletes a topic: those who wait for it are told, and its files are unlinked.
    pub(crate) fn delete(&self, name: &str) -> Result<Arc<Topic>, TopicFault> {
        let mut catalog = self.lock();
        let topic = self.get(name).ok_or_else(|| TopicFault::Unknown(name.into()))?;
        let count = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
        self.store(&mut catalog, |catalog| {
            catalog.topics.remove(name);
            let remains = Remains { name: name.into(), partitions: count };
            catalog.deleting.insert(topic.id(), remains);
        })?;
        self.withdraw(name);
        topic.partitions().iter().for_each(|partition| retire(partition));
        if let Err(error) = self.set_aside(&topic) {
            tracing::warn!("topic {name} is deleted, and its files stay: {error}");
            return Ok(topic);
        }
        // What is set aside is found by its name, so the next file need not have it.
        catalog.deleting.remove(&topic.id());
        drop(catalog);
        places::remove(&places::aside(self.path(), topic.id(), count.cast_signed()));
        Ok(topic)
    }

    fn set_aside(&self, topic: &Topic) -> std::io::Result<()> {
        for partition in topic.partitions() {
            let to = places::aside_path(self.path(), topic.id(), partition.index());
            let (path, index) = (self.path(), partition.index());
            let rename = || places::set_aside(path, topic.name(), topic.id(), index);
            partition.reader().rename(&to, rename)?;
        }
        whole_file::sync_directory(self.path())
    }

    /// Closes all logs, and says that the end was an orderly one if it was.
    pub(crate) fn close(&self) -> Result<(), OpenError> {
        let _catalog = self.lock();
        let topics = self.list();
        let partitions: Vec<_> = topics.iter().flat_map(|topic| topic.partitions()).collect();
        let closed = opening::in_parallel(&partitions, |partition| close(partition));
        if closed.into_iter().all(|is_closed| is_closed) {
            self.directory.mark_clean()?;
        }
        Ok(())
    }

    /// Writes down a change, or takes it back.
    fn store(
        &self,
        catalog: &mut Catalog,
        change: impl FnOnce(&mut Catalog),
    ) -> Result<(), TopicFault> {
        let before = catalog.clone();
        change(catalog);
        catalog.store(self.path()).inspect_err(|_| *catalog = before)?;
        Ok(())
    }

    fn publish(&self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        self.replace_map(|map| {
            map.insert(Arc::clone(topic.name()), Arc::clone(&topic));
        });
        topic
    }

    fn withdraw(&self, name: &str) {
        self.replace_map(|map| {
            map.remove(name);
        });
    }

    fn replace_map(&self, change: impl FnOnce(&mut TopicMap)) {
        let mut map = TopicMap::clone(&self.snapshot());
        change(&mut map);
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    fn lock(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The directories of the partitions that a data directory is to have; none if it does not say.
pub(crate) fn partition_directories(data: &Path) -> Vec<PathBuf> {
    let catalog = Catalog::load(data).unwrap_or_default();
    let of_topic = |(name, entry): (&String, &Entry)| {
        let place = |index| places::partition(data, name, index);
        (0..entry.partitions.cast_signed()).map(place).collect::<Vec<_>>()
    };
    catalog.topics.iter().flat_map(of_topic).collect()
}

/// What is wrong with a topic's name, if something is.
pub(crate) fn check_name(name: &str) -> Option<ErrorCode> {
    name::check(name).err().map(|fault| TopicFault::from(fault).code())
}

/// Whether there may be as many more partitions.
fn check_count(catalog: &Catalog, of_topic: u32, more: u32) -> Result<(), TopicFault> {
    if !(1..=PARTITIONS_MAX).contains(&of_topic) {
        return Err(TopicFault::Partitions(of_topic.into()));
    }
    let all = catalog.partitions().saturating_add(more);
    if all > ALL_PARTITIONS_MAX {
        return Err(TopicFault::TooMany { wanted: more, all });
    }
    Ok(())
}

/// How many partitions a topic has, if it may have `count`.
fn check_growth(catalog: &Catalog, topic: &Topic, count: u32) -> Result<u32, TopicFault> {
    let had = u32::try_from(topic.partitions().len()).unwrap_or(u32::MAX);
    if count <= had {
        let name = topic.name().to_string();
        return Err(TopicFault::NotMore { name, had, wanted: count.into() });
    }
    check_count(catalog, count, count - had)?;
    Ok(had)
}

/// Has everyone leave who uses a partition, and waits for the append that is under way: it may
/// make a file, and the name of the directory is about to be free.
fn retire(partition: &Partition) {
    partition.delete();
    drop(partition.log());
}

/// Whether all of a partition is on the disk.
fn close(partition: &Partition) -> bool {
    if partition.status() != Status::Online {
        return false;
    }
    let closed = partition.log().close();
    if let Err(error) = &closed {
        tracing::error!("{partition} is looked through at the next start: {}", Chain(error));
    }
    closed.is_ok()
}

#[cfg(test)]
mod tests;
