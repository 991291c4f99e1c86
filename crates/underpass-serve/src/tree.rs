//! The files beneath one directory: from a path to what it leads to, and what is kept of it.

#[cfg(feature = "remote")]
mod entries;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_ENCODING;
use underpass::{Errno, FileCache, MapError, Stability};

use crate::current_root::CurrentRoot;
use crate::lookup::FilePath;
use crate::refusal::Refusal;
use crate::representation::{Representation, RepresentationError};
use crate::root::{Found, OpenError, Wait};
use crate::siblings::{Sibling, can_stand_for};
use crate::site_options::SiteOptions;
use crate::state::State;
use crate::target::Target;

/// How long a path may lead to a file that has been replaced; a file in demand is then looked
/// up ten times a second, which costs nothing that shows.
pub(crate) const FRESH_FOR: Duration = Duration::from_millis(100);

thread_local! {
    /// Room for the key that was asked for last.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

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
    /// What the keys of one site begin with; nothing for the first.
    site: Arc<[u8]>,
    /// Entries that are on their way.
    #[cfg(feature = "remote")]
    coming: Arc<entries::Coming>,
}

impl KeptFiles {
    /// For each of `workers`, room for `files_max` files.
    pub(crate) fn of_workers(workers: usize, files_max: NonZeroUsize) -> Vec<Self> {
        let of_workers = (0..workers).map(|_| FileCache::new(files_max, FRESH_FOR)).collect();
        let all = Self {
            of_workers,
            own: 0,
            site: Arc::default(),
            #[cfg(feature = "remote")]
            coming: Arc::default(),
        };
        (0..workers).map(|own| Self { own, ..all.clone() }).collect()
    }

    /// The same for one of several sites, which share the room.
    pub(crate) fn of_site(&self, number: u32) -> Self {
        let site = if number == 0 { Arc::default() } else { site_key(number).into() };
        Self { site, ..self.clone() }
    }

    pub(crate) fn own(&self) -> &FileCache<Representation> {
        &self.of_workers[self.own]
    }

    /// Of the worker's own, the one of a path, unless it is due to be looked up again.
    fn fresh(&self, path: &[u8]) -> Option<Arc<Representation>> {
        if self.site.is_empty() {
            return self.own().fresh(path);
        }
        KEY.with_borrow_mut(|key| {
            key.clear();
            key.extend_from_slice(&self.site);
            key.extend_from_slice(path);
            self.own().fresh(key)
        })
    }

    fn key<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        if self.site.is_empty() { path.into() } else { [&*self.site, path].concat().into() }
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
        self.kept_under(target.as_bytes())
    }

    fn kept_under(&self, key: &[u8]) -> Option<Arc<Representation>> {
        let kept = self.files.fresh(key)?;
        let has_changed = kept.has_changed() || kept.siblings().have_changed();
        (!has_changed).then_some(kept)
    }

    /// Looks a path up again when it is asked for next: another file has it now. So are those for
    /// which it may answer.
    pub(crate) fn forget(&self, path: &[u8]) {
        let slash = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let codings = self.options.codings.iter().map(|coding| coding.ending());
        let stems = codings.chain([&b".html"[..]]).filter_map(|ending| path.strip_suffix(ending));
        for path in stems.chain([path, &path[..slash]]) {
            for files in &*self.files.of_workers {
                files.forget(&self.files.key(path));
                files.forget(&self.files.key(&[STAND_IN, path].concat()));
            }
        }
    }

    /// The file of the site's own that stands in where nothing is. It need not be served itself.
    pub(crate) fn stand_in(
        &self,
        path: &FilePath,
        wait: Wait,
    ) -> Result<Arc<Representation>, Refusal> {
        let (key, path) = ([STAND_IN, path.as_bytes()].concat(), path.as_bytes());
        if let Some(kept) = self.kept_under(&key) {
            return Ok(kept);
        }
        self.with_room(wait, |by| match self.root.get(wait)?.open_beneath(path, wait)? {
            Found::File(file, _) => self.keep(&key, file, path, by, wait),
            Found::Directory(_) => Err(OpenError::Absent.into()),
        })
    }

    /// What a path leads to.
    pub(crate) fn look_up(&self, path: &[u8], wait: Wait) -> Result<Resource, Refusal> {
        self.with_room(wait, |by| self.look_up_once(path, wait, by))
    }

    /// Looks something up. Kept files give way where descriptors or mappings are short, and what
    /// cannot be mapped even so is read.
    fn with_room<T>(
        &self,
        wait: Wait,
        look_up: impl Fn(By) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut by = By::Mapping;
        loop {
            let refusal = match look_up(by) {
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
        let mut directory = None;
        for candidate in self.options.lookup.candidates(path) {
            match root.open_beneath(&candidate, wait) {
                Ok(Found::File(file, _)) => {
                    return Ok(Resource::File(self.keep(path, file, &candidate, by, wait)?));
                }
                Ok(Found::Directory(found)) if *candidate == *path => directory = Some(found),
                Ok(Found::Directory(_)) | Err(OpenError::Absent) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let directory = directory.ok_or(OpenError::Absent)?;
        let is_slashed = path.is_empty() || path.ends_with(b"/");
        Ok(if is_slashed { Resource::Directory(directory) } else { Resource::Unslashed })
    }

    /// The representation of a file just opened: the one kept for the path if the file is the
    /// same, else a new one, which is kept once its validators are as good as they get. Its own
    /// path, `name`, tells its media type, its fields and its siblings.
    fn keep(
        &self,
        path: &[u8],
        file: File,
        name: &[u8],
        by: By,
        wait: Wait,
    ) -> Result<Arc<Representation>, Refusal> {
        let SiteOptions { stability, fields, metadata, .. } = &*self.options;
        let make = |file: OwnedFd| {
            let path = Path::new(OsStr::from_bytes(name));
            let mut made = match by {
                By::Mapping => Representation::of(file, path, *stability, metadata)?,
                By::Reading => Representation::read(file, path, *stability, metadata)?,
            };
            fields.add_to(name, made.headers_mut());
            Ok(made)
        };
        let state = self.state_for_siblings(&file)?;
        let look_for_siblings = |of: &Representation| {
            let Some(state) = state else { return Ok(()) };
            of.siblings().set(self.siblings(of, &state, name, wait, &make)?);
            Ok::<_, Refusal>(())
        };
        if *stability == Stability::Lease {
            // Writers wait for as long as the lease is held: for one response, not for as long
            // as a cache likes.
            let made = make(file.into())?;
            look_for_siblings(&made)?;
            return Ok(Arc::new(made));
        }
        let key = self.files.key(path);
        let representation = self.files.own().refresh(&key, file.into(), make)?;
        look_for_siblings(&representation)?;
        if !(representation.is_settled() && representation.siblings().are_settled()) {
            self.files.own().forget(&key);
        }
        Ok(representation)
    }

    /// The state that siblings of an open file are held against, if there may be any.
    fn state_for_siblings(&self, file: &File) -> Result<Option<State>, RepresentationError> {
        if self.options.codings.is_empty() {
            return Ok(None);
        }
        Ok(Some(State::of(&rustix::fs::fstat(file)?)))
    }

    /// The files that hold `of`, which is at `path`, in a content coding. One that cannot be used
    /// is not there.
    fn siblings(
        &self,
        of: &Representation,
        state: &State,
        path: &[u8],
        wait: Wait,
        make: &impl Fn(OwnedFd) -> Result<Representation, RepresentationError>,
    ) -> Result<Vec<Sibling>, Refusal> {
        let root = self.root.get(wait)?;
        let before = of.siblings().get().unwrap_or_default();
        let mut found = Vec::new();
        for coding in self.options.codings.iter() {
            let (file, stat) = match root.open_beneath(&[path, coding.ending()].concat(), wait) {
                Ok(Found::File(file, stat)) => (file, stat),
                Err(error @ (OpenError::WouldWait | OpenError::Exhausted(_))) => {
                    return Err(error.into());
                }
                Ok(Found::Directory(_)) | Err(_) => continue,
            };
            let its = State::of(&stat);
            let is_same =
                |it: &&Sibling| (it.coding, it.state) == (coding, its) && !it.file.has_changed();
            if !can_stand_for(state, &its) {
                continue;
            } else if let Some(same) = before.iter().find(is_same) {
                found.push(same.clone());
                continue;
            }
            match make(file.into()).map_err(Refusal::from) {
                Ok(mut made) => {
                    made.headers_mut().append(CONTENT_ENCODING, coding.value());
                    found.push(Sibling { coding, state: its, file: Arc::new(made) });
                }
                Err(error) if is_for_want_of_room(&error) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(found)
    }
}

/// No path of a target begins so. What is kept of a page that stands in is not found by its target,
/// which may be hidden.
const STAND_IN: &[u8] = b"\0";

/// What keys of a site begin with, and no others: no path begins with a NUL.
fn site_key(number: u32) -> Vec<u8> {
    [STAND_IN, STAND_IN, &number.to_be_bytes()].concat()
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

#[cfg(test)]
mod tests {
    use underpass_testkit::wait;

    use super::*;
    use crate::metadata_rules::MetadataRules;

    /// A reload gives sites other numbers.
    #[test]
    fn what_a_site_keeps_is_found_under_its_number_each_time() {
        let files = KeptFiles::of_workers(1, NonZeroUsize::new(8).unwrap()).remove(0);
        let sites = [files.clone(), files.of_site(1), files.of_site(2)];
        let rules = MetadataRules::default();
        for site in &sites {
            assert!(site.fresh(b"a").is_none(), "it is not that of another");
            // It has a tenth of a second.
            let is_found = || {
                let file = tempfile::tempfile().unwrap();
                file.set_len(1).unwrap();
                let make = |file| Representation::of(file, Path::new("a"), Stability::None, &rules);
                let kept = site.own().refresh(&site.key(b"a"), file.into(), make).unwrap();
                let found = [(); 3].map(|()| site.fresh(b"a"));
                found.iter().flatten().all(|it| Arc::ptr_eq(it, &kept)).then_some(())?;
                (found.iter().flatten().count() == 3).then_some(())
            };
            wait::until(Duration::from_secs(20), is_found).expect("it is found");
        }
    }
}
