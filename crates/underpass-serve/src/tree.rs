//! The files beneath one directory: from a path to what it leads to, and what is kept of it.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use underpass::{Errno, FileCache, MapError, Stability};

use crate::current_root::CurrentRoot;
use crate::refusal::Refusal;
use crate::representation::{Representation, RepresentationError};
use crate::root::{Found, OpenError, Wait};
use crate::site_options::SiteOptions;
use crate::target::Target;

/// The file that answers for a directory, if it is there.
const INDEX: &[u8] = b"index.html";

/// How long a path may lead to a file that has been replaced; a file in demand is then looked
/// up ten times a second, which costs nothing that shows.
pub(crate) const FRESH_FOR: Duration = Duration::from_millis(100);

/// The part of the service that threads which may wait hold on to.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Arc<CurrentRoot>,
    pub(crate) files: KeptFiles,
    pub(crate) options: Arc<SiteOptions>,
}

/// The files that a worker keeps open, with those of the others: what one lacks, another may keep.
#[derive(Debug, Clone)]
pub(crate) struct KeptFiles {
    of_workers: Arc<[FileCache<Representation>]>,
    own: usize,
}

impl KeptFiles {
    /// For each of `workers`, room for `files_max` files.
    pub(crate) fn of_workers(workers: usize, files_max: NonZeroUsize) -> Vec<Self> {
        let of_workers = (0..workers).map(|_| FileCache::new(files_max, FRESH_FOR)).collect();
        let all = Self { of_workers, own: 0 };
        (0..workers).map(|own| Self { own, ..all.clone() }).collect()
    }

    pub(crate) fn own(&self) -> &FileCache<Representation> {
        &self.of_workers[self.own]
    }

    /// Closes files of all workers, the half that was used least recently, and says whether there
    /// was any.
    pub(crate) fn give_way(&self) -> bool {
        self.of_workers.iter().map(FileCache::give_way).sum::<usize>() > 0
    }
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
    pub(crate) const fn new(
        root: Arc<CurrentRoot>,
        files: KeptFiles,
        options: Arc<SiteOptions>,
    ) -> Self {
        Self { root, files, options }
    }

    /// The file kept for a target, unless its path is due to be looked up again, or sending it
    /// has found that it was changed in place.
    pub(crate) fn kept(&self, target: &Target<'_>) -> Option<Arc<Representation>> {
        let kept = self.files.own().fresh(target.as_bytes())?;
        (!kept.has_changed()).then_some(kept)
    }

    /// What a path leads to. Kept files give way where descriptors or mappings are short, and what
    /// cannot be mapped even so is read.
    pub(crate) fn look_up(&self, path: &[u8], wait: Wait) -> Result<Resource, Refusal> {
        let mut by = By::Mapping;
        loop {
            let refusal = match self.look_up_once(path, wait, by) {
                Err(refusal) => refusal,
                found => return found,
            };
            if is_for_want_of_room(&refusal) && self.files.give_way() {
                continue;
            }
            if by == By::Reading || !is_to_be_read(&refusal) {
                return Err(refusal);
            }
            if wait == Wait::Never {
                return Err(OpenError::WouldWait.into());
            }
            by = By::Reading;
        }
    }

    fn look_up_once(&self, path: &[u8], wait: Wait, by: By) -> Result<Resource, Refusal> {
        if !self.options.lookup.serves(path) {
            return Err(Refusal::Hidden);
        }
        let root = self.root.get(wait)?;
        if !(path.is_empty() || path.ends_with(b"/")) {
            return match root.open_beneath(path, wait)? {
                Found::File(file, _) => Ok(Resource::File(self.keep(path, file, path, by)?)),
                Found::Directory(_) => Ok(Resource::Unslashed),
            };
        }
        let index = [path, INDEX].concat();
        match root.open_beneath(&index, wait) {
            Ok(Found::File(file, _)) => {
                return Ok(Resource::File(self.keep(path, file, INDEX, by)?));
            }
            Ok(Found::Directory(_)) | Err(OpenError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        match root.open_beneath(path, wait)? {
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
        by: By,
    ) -> Result<Arc<Representation>, RepresentationError> {
        // Patterns are for files, an index by its name among them.
        let file_path = if path.is_empty() || path.ends_with(b"/") {
            Cow::Owned([path, name].concat())
        } else {
            Cow::Borrowed(path)
        };
        let name = Path::new(OsStr::from_bytes(name));
        let SiteOptions { stability, fields, .. } = &*self.options;
        let make = |file: OwnedFd| {
            let mut made = match by {
                By::Mapping => Representation::of(file, name, *stability)?,
                By::Reading => Representation::read(file, name, *stability)?,
            };
            fields.add_to(&file_path, made.headers_mut());
            Ok(made)
        };
        if *stability == Stability::Lease {
            // Writers wait for as long as the lease is held: for one response, not for as long
            // as a cache likes.
            return make(file.into()).map(Arc::new);
        }
        let representation = self.files.own().refresh(path, file.into(), make)?;
        if !representation.is_settled() {
            self.files.own().forget(path);
        }
        Ok(representation)
    }
}

/// How to get at the bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Mapping,
    Reading,
}

/// Whether the file is to be read, because it cannot be mapped or says that it is empty.
fn is_to_be_read(refusal: &Refusal) -> bool {
    let Refusal::Represent(error) = refusal else { return false };
    match error {
        RepresentationError::Sizeless | RepresentationError::Map(MapError::TooMany { .. }) => true,
        RepresentationError::Map(MapError::Call { call, .. }) => *call == "mmap",
        RepresentationError::Map(_)
        | RepresentationError::Look(_)
        | RepresentationError::Read(_) => false,
    }
}

/// Whether descriptors, mappings or memory are short.
pub(crate) fn is_for_want_of_room(refusal: &Refusal) -> bool {
    let (Refusal::Open(OpenError::Exhausted(errno))
    | Refusal::Represent(RepresentationError::Map(MapError::Call { errno, .. }))) = refusal
    else {
        let is_too_many = |error: &MapError| matches!(error, MapError::TooMany { .. });
        return matches!(refusal, Refusal::Represent(RepresentationError::Map(error))
            if is_too_many(error));
    };
    matches!(*errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}
