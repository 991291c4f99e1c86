//! The blocks that are served, found again when they change.
//!
//! A query keeps the blocks that it began with: files that are deleted meanwhile stay readable for
//! as long as they are open.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use crate::block::Block;
use crate::damage::Damage;
use crate::directory::{Directory, FindError};
use crate::file::{Backend, Pattern, open_regular};
use crate::meta::Meta;
use crate::query::Loss;

/// Damaged places that are remembered as told. Others are told again at each query.
const TOLD_MAX: usize = 10_000;

/// Why there is nothing to serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlocksError {
    /// No blocks were found.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Blocks were found, and none can be opened.
    #[error(transparent)]
    Open(#[from] Damage),
}

/// Some blocks, open.
#[derive(Debug)]
pub(super) struct Blocks {
    pub(super) blocks: Vec<Block>,
    /// Why others could not be opened.
    pub(super) unopened: Vec<Damage>,
    /// The directory of each that was found, and when it was last changed.
    stamps: Vec<Stamp>,
    told: Mutex<HashSet<(Arc<Path>, u64)>>,
}

/// Blocks that are reduced have chunks of aggregates, which no Prometheus can read.
fn resolution(block: &Block) -> u64 {
    block.meta().map_or(0, Meta::resolution)
}

type Stamp = (PathBuf, Option<SystemTime>);

impl Blocks {
    /// Opens those that can be, and warns of what is wrong with the others and of damage.
    fn open(found: &Directory, backend: Backend) -> Result<Self, Damage> {
        let (mut blocks, mut unopened) = (Vec::new(), Vec::new());
        // Before they are opened: what changes meanwhile is then noticed the next time.
        let stamps = stamps(found);
        for path in &found.blocks {
            match Block::open(path, backend) {
                Ok(block) if resolution(&block) == 0 => {
                    block.damages().iter().for_each(|damage| tracing::warn!("{damage}"));
                    block.advise(Pattern::Random);
                    blocks.push(block);
                }
                Ok(block) => {
                    let (dir, resolution) = (block.dir().display(), resolution(&block));
                    tracing::warn!("{dir} is not served: Thanos has reduced it to {resolution} ms");
                }
                Err(damage) => {
                    tracing::warn!("{damage}; the block is not served");
                    unopened.push(damage);
                }
            }
        }
        match unopened.first().filter(|_| blocks.is_empty()) {
            Some(damage) => Err(damage.clone()),
            None => Ok(Self { blocks, unopened, stamps, told: Mutex::default() }),
        }
    }

    /// Warns of what cannot be read, once a place.
    pub(super) fn tell(&self, loss: &Loss) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (Arc::clone(&loss.damage.file), loss.damage.offset);
        if told.contains(&place) {
            return;
        }
        if told.len() < TOLD_MAX {
            told.insert(place);
        }
        tracing::warn!("{loss}");
    }

    /// The first and last time of all, as far as their `meta.json` say.
    pub(super) fn times(&self) -> Option<(i64, i64)> {
        let metas = || self.blocks.iter().filter_map(Block::meta);
        let min = metas().map(|meta| meta.min_time).min()?;
        Some((min, metas().map(|meta| meta.max_time).max()?))
    }
}

/// A block's files stay as they are, but for its tombstones, which a renamed file replaces; that
/// changes the time of its directory.
fn stamps(found: &Directory) -> Vec<Stamp> {
    let changed = |path: &Path| fs::metadata(path).and_then(|stat| stat.modified()).ok();
    found.blocks.iter().map(|path| (path.clone(), changed(path))).collect()
}

/// The blocks under a path, as they are now.
#[derive(Debug)]
pub(super) struct Current {
    path: PathBuf,
    backend: Backend,
    blocks: RwLock<Arc<Blocks>>,
    /// Whether they could not be found or opened when that was last tried.
    is_stale: Mutex<bool>,
}

impl Current {
    pub(super) fn open(path: &Path, backend: Backend) -> Result<Self, BlocksError> {
        let blocks = Blocks::open(&Directory::find(path)?, backend)?;
        let blocks = RwLock::new(Arc::new(blocks));
        Ok(Self { path: path.into(), backend, blocks, is_stale: Mutex::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn now(&self) -> Arc<Blocks> {
        Arc::clone(&self.blocks.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds and opens the blocks again if they are others than before, or were changed. If that
    /// fails the old ones stay, which is warned of once.
    pub(super) fn refresh(&self) {
        let mut is_stale = self.is_stale.lock().unwrap_or_else(PoisonError::into_inner);
        match self.changed() {
            Ok(Some(blocks)) => {
                tracing::info!("{} blocks from now on", blocks.blocks.len());
                *self.blocks.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(blocks);
                *is_stale = false;
            }
            Ok(None) => *is_stale = false,
            Err(error) if !*is_stale => {
                tracing::warn!("the blocks stay what they were: {error}");
                *is_stale = true;
            }
            Err(_) => {}
        }
    }

    fn changed(&self) -> Result<Option<Blocks>, BlocksError> {
        let found = Directory::find(&self.path)?;
        let now = self.now();
        // The limit on open files that kept a block from being opened may not be reached any more.
        let opens = |damage: &Damage| open_regular(&damage.file).is_ok();
        if stamps(&found) == now.stamps && !now.unopened.iter().any(opens) {
            return Ok(None);
        }
        Ok(Some(Blocks::open(&found, self.backend)?))
    }
}

#[cfg(test)]
mod tests {
    use underpass_testkit::block::Block as Made;

    use super::*;

    const ONE: &str = "01HX0000000000000000000001";
    const TWO: &str = "01HX0000000000000000000002";

    fn make(root: &Path, name: &str) {
        let made = Made::small(2).write(root).unwrap();
        fs::rename(&made.dir, root.join(name)).unwrap();
    }

    fn names(current: &Current) -> Vec<String> {
        current.now().blocks.iter().map(|block| block.name().to_owned()).collect()
    }

    #[test]
    fn blocks_that_come_and_go_are_noticed_and_queries_keep_theirs() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, ONE);
        let current = Current::open(root, Backend::Map).unwrap();
        let before = current.now();
        current.refresh();
        assert!(Arc::ptr_eq(&before, &current.now()), "nothing has changed");
        make(root, TWO);
        current.refresh();
        assert_eq!(names(&current), [ONE, TWO]);
        fs::remove_dir_all(root.join(ONE)).unwrap();
        current.refresh();
        assert_eq!(names(&current), [TWO]);
        fs::remove_dir_all(root.join(TWO)).unwrap();
        current.refresh();
        assert_eq!(names(&current), [TWO], "they stay what they were");
        assert_eq!(before.blocks[0].name(), ONE);
    }

    #[test]
    fn a_block_that_could_not_be_opened_is_tried_again() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, ONE);
        make(root, TWO);
        let (index, aside) = (root.join(TWO).join("index"), root.join("aside"));
        let time = fs::metadata(root.join(TWO)).unwrap().modified().unwrap();
        let put_back_time = || fs::File::open(root.join(TWO)).unwrap().set_modified(time).unwrap();
        fs::rename(&index, &aside).unwrap();
        put_back_time();
        let current = Current::open(root, Backend::Map).unwrap();
        assert_eq!(names(&current), [ONE]);
        assert_eq!(current.now().unopened.len(), 1);
        fs::rename(&aside, &index).unwrap();
        put_back_time();
        current.refresh();
        assert_eq!(names(&current), [ONE, TWO]);
        assert!(current.now().unopened.is_empty());
    }

    #[test]
    fn new_tombstones_are_a_change() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, ONE);
        let current = Current::open(root, Backend::Pread).unwrap();
        assert!(!current.now().blocks[0].tombstones().is_empty());
        let (new, old) = (root.join(ONE).join("tombstones.tmp"), root.join(ONE).join("tombstones"));
        fs::write(&new, [0x01, 0x30, 0xba, 0x30, 1, 0, 0, 0, 0]).unwrap();
        fs::rename(new, old).unwrap();
        current.refresh();
        assert!(current.now().blocks[0].tombstones().is_empty());
    }

    #[test]
    fn a_block_that_thanos_has_reduced_is_not_served() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        make(root, ONE);
        make(root, TWO);
        let meta = |resolution: u32| {
            let thanos = format!(r#"{{"downsample": {{"resolution": {resolution}}}}}"#);
            format!(r#"{{"minTime": 1, "maxTime": 2, "thanos": {thanos}}}"#)
        };
        fs::write(root.join(ONE).join("meta.json"), meta(300_000)).unwrap();
        fs::write(root.join(TWO).join("meta.json"), meta(0)).unwrap();
        assert_eq!(names(&Current::open(root, Backend::Map).unwrap()), [TWO]);
    }

    #[test]
    fn a_path_without_blocks_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = Current::open(root.path(), Backend::Map).unwrap_err().to_string();
        assert!(error.contains("no block"), "{error}");
    }
}
