//! The files beneath one directory: from a path to what it leads to, and what is kept of it.

use std::ffi::OsStr;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use underpass::{FileCache, Stability};

use crate::refusal::Refusal;
use crate::representation::{Representation, RepresentationError};
use crate::root::{Found, OpenError, Root, Wait};
use crate::target::Target;

/// The file that answers for a directory, if it is there.
const INDEX: &[u8] = b"index.html";

/// How long a path may lead to a file that has been replaced; a file in demand is then looked
/// up ten times a second, which costs nothing that shows.
const FRESH_FOR: Duration = Duration::from_millis(100);

/// The part of the service that threads which may wait hold on to.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Root,
    pub(crate) files: FileCache<Representation>,
    stability: Stability,
}

/// What a target leads to.
pub(crate) enum Resource {
    File(Arc<Representation>),
    /// A directory without an index, asked for with the slash.
    Directory(OwnedFd),
    /// A directory asked for without the slash.
    Unslashed,
}

impl Tree {
    /// The tree beneath `root`, of which up to `open_files_max` files are kept open and mapped.
    pub(crate) fn new(root: Root, open_files_max: NonZeroUsize, stability: Stability) -> Self {
        Self { root, files: FileCache::new(open_files_max, FRESH_FOR), stability }
    }

    /// The file kept for a target, unless its path is due to be looked up again, or sending it
    /// has found that it was changed in place.
    pub(crate) fn kept(&self, target: &Target<'_>) -> Option<Arc<Representation>> {
        let kept = self.files.fresh(target.as_bytes())?;
        let is_as_described = kept.file().is_none_or(|file| !file.has_changed());
        is_as_described.then_some(kept)
    }

    /// What a path leads to.
    pub(crate) fn look_up(&self, path: &[u8], wait: Wait) -> Result<Resource, Refusal> {
        if !(path.is_empty() || path.ends_with(b"/")) {
            return match self.root.open_beneath(path, wait)? {
                Found::File(file, _) => Ok(Resource::File(self.keep(path, file, path)?)),
                Found::Directory(_) => Ok(Resource::Unslashed),
            };
        }
        let index = [path, INDEX].concat();
        match self.root.open_beneath(&index, wait) {
            Ok(Found::File(file, _)) => {
                return Ok(Resource::File(self.keep(path, file, INDEX)?));
            }
            Ok(Found::Directory(_)) | Err(OpenError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        match self.root.open_beneath(path, wait)? {
            Found::Directory(directory) => Ok(Resource::Directory(directory)),
            Found::File(..) => Err(OpenError::Absent.into()),
        }
    }

    /// The representation of a file just opened: the one kept for the path if the file is the
    /// same, else a new one, which is kept once its validators are as good as they get.
    fn keep(
        &self,
        path: &[u8],
        file: File,
        name: &[u8],
    ) -> Result<Arc<Representation>, RepresentationError> {
        let name = Path::new(OsStr::from_bytes(name));
        let make = |file| Representation::of(file, name, self.stability);
        if self.stability == Stability::Lease {
            // Writers wait for as long as the lease is held: for one response, not for as long
            // as a cache likes.
            return make(file.into()).map(Arc::new);
        }
        let representation = self.files.refresh(path, file.into(), make)?;
        if !representation.is_settled() {
            self.files.forget(path);
        }
        Ok(representation)
    }
}
