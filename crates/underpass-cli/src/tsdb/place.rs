//! Which blocks are read, and how: the flags that every command of `tsdb` has.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use underpass_daemon::limits::raise_open_files;
use underpass_tsdb::directory::{Directory, FindError, LeftOut, Reason};
use underpass_tsdb::{Backend, Block, Damage, Section};

use crate::exit::say;

/// Where blocks are.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// A block, a directory of blocks, or a data directory.
    #[arg(value_name = "PATH", default_value = "data")]
    pub(crate) path: PathBuf,

    /// How files are read.
    #[arg(long, value_name = "HOW", default_value = "map")]
    read: Read,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Read {
    /// Through memory maps: the kernel brings in the pages that are touched.
    Map,
    /// By pread(2), a system call for each piece.
    Pread,
}

impl Place {
    pub(crate) const fn backend(&self) -> Backend {
        match self.read {
            Read::Map => Backend::Map,
            Read::Pread => Backend::Pread,
        }
    }

    /// Finds the blocks, and says on standard error what is not read.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub(crate) fn find(&self) -> anyhow::Result<Directory> {
        // Each block has an open file or two. Where the limit stays, the first too many says so.
        let _limit = raise_open_files();
        let found = Directory::find(&self.path).map_err(with_cause)?;
        found.left_out.iter().for_each(|left| say(&told(left)));
        Ok(found)
    }

    /// Opens the block of this name, or at this path.
    ///
    /// # Errors
    ///
    /// If there is no such block.
    pub(crate) fn named(&self, name: &str) -> anyhow::Result<Block> {
        let found = self.find()?;
        let is_named = |path: &&PathBuf| path.file_name().is_some_and(|found| found == name);
        if let Some(path) = found.blocks.iter().find(is_named) {
            return Ok(Block::open(path, self.backend())?);
        }
        let there = Directory::find(Path::new(name)).ok().map(|found| found.blocks);
        match there.as_deref() {
            Some([path]) => Ok(Block::open(path, self.backend())?),
            Some(_) | None => anyhow::bail!(
                "{name} is not a block in {}, nor the path of one; 'underpass tsdb list {}' lists \
                 them",
                self.path.display(),
                self.path.display()
            ),
        }
    }

    /// Opens the block whose samples are the latest, and tells what is wrong with those that could
    /// be later: they cannot be opened, or do not say when they are of.
    ///
    /// # Errors
    ///
    /// If there is none, or none can be opened.
    pub(crate) fn latest(&self) -> anyhow::Result<(Block, Vec<Damage>)> {
        let (blocks, damages) = self.open()?;
        let start = |block: &Block| block.meta().map(|meta| meta.min_time);
        let of_others = |damage: &Damage| matches!(damage.section, Section::File | Section::Meta);
        let damages = damages.into_iter().filter(of_others).collect();
        Ok((blocks.into_iter().max_by_key(start).context("there is no block")?, damages))
    }

    /// Opens all blocks. Those that cannot be opened are among the damages, and the others are
    /// still there.
    ///
    /// # Errors
    ///
    /// If there is none, or none can be opened.
    pub(crate) fn open(&self) -> anyhow::Result<(Vec<Block>, Vec<Damage>)> {
        let (mut blocks, mut damages) = (Vec::new(), Vec::new());
        for path in self.find()?.blocks {
            match Block::open(&path, self.backend()) {
                Ok(block) => {
                    damages.extend_from_slice(block.damages());
                    blocks.push(block);
                }
                Err(damage) => damages.push(damage),
            }
        }
        if blocks.is_empty() {
            let first = damages.into_iter().next().context("there is no block")?;
            return Err(first.into());
        }
        Ok((blocks, damages))
    }
}

fn with_cause(error: FindError) -> anyhow::Error {
    let head = match &error {
        FindError::Nothing { left_out, .. } => left_out.iter().map(told).collect::<Vec<_>>(),
        FindError::Read { .. } | FindError::Tenants { .. } | _ => Vec::new(),
    };
    head.iter().for_each(|line| say(line));
    error.into()
}

fn told(left: &LeftOut) -> String {
    let (path, bytes) = (left.path.display(), left.bytes);
    let reason = match left.reason {
        Reason::Head => {
            "samples of the head, which are in no block yet; a snapshot of the running server \
             (/api/v1/admin/tsdb/snapshot) has them in one"
        }
        Reason::Temporary => "a block that was not finished, or is being deleted",
        Reason::Unfinished => {
            "no meta.json, so it was not finished; to read it anyway, give it as PATH"
        }
    };
    format!("underpass tsdb: note: {path} is not read ({bytes} bytes): {reason}")
}
