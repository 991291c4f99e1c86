//! Folders: every file whole or not at all, with modes, ACLs, times, links and holes.
//!
//! What cannot be copied is reported and counted, and the rest is copied; a signal ends everything.
//! Where a file system has no room for something other than content, the content arrives, and a
//! note says what was lost. Folders get their mode and times last, since filling them changes both;
//! until then they are their owner's alone. Without `--owners`, set-user-ID bits are kept only on
//! the user's own files, and devices are left out.
//!
//! Nothing is followed that takes an entry's place meanwhile: each name is looked up in a folder
//! that is open, and what is opened must be what was found. Only some folders on the way down stay
//! open; the others are found again as `..` of those below them.
//!
//! Source: inode(7); openat(2), `O_NOFOLLOW`; utimensat(2); link(2); mknod(2); cp(1) on where a
//! folder is copied to.

mod entry;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::attributes::{self, Kept, Lost};
use crate::drive::Drive;
use crate::error::{CopyError, Usage};
use crate::stop::Stop;
use crate::target::behind_link;

use self::entry::open;

/// Folders that are open at a time, with their copies.
const OPEN_MAX: usize = 8;

const NAMES_BYTES: usize = 32 * 1024;

/// What is wanted other than modes, times and links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) attributes: bool,
    pub(crate) owners: bool,
    pub(crate) atomic: bool,
    pub(crate) sync: bool,
}

/// The copy of a folder and all that is in it.
pub(crate) struct Walk<'d, 'w> {
    drive: &'d mut Drive<'w>,
    wanted: Wanted,
    from: &'d Path,
    to: &'d Path,
    /// The entry at hand, from the root.
    path: PathBuf,
    /// Down to the entry; the root stays open.
    folders: Vec<Folder>,
    /// Where the first of several names of a file went, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    pub(crate) entries: u64,
    pub(crate) failed: u64,
    /// Entries that lost something that was asked for.
    pub(crate) incomplete: u64,
    pub(crate) holes: u64,
}

/// A folder that is being copied.
struct Folder {
    /// `None` while many others are open.
    ends: Option<Rc<Ends>>,
    found: Stat,
    made: Stat,
    /// The copy's default ACL goes to what is made in it.
    inherits: bool,
    /// The folder that the user named as DST, and which keeps what it has.
    is_filled: bool,
    names: std::vec::IntoIter<OsString>,
}

struct Ends {
    from: File,
    to: File,
}

/// A name in an open folder.
#[derive(Clone, Copy)]
struct At<'a> {
    dir: BorrowedFd<'a>,
    name: &'a Path,
}

/// Where something is copied to: into `to` if that is a folder, as with cp(1).
pub(crate) fn destination(from: &Path, to: &Path) -> Result<PathBuf, CopyError> {
    let cannot = |path: &Path, error| CopyError::open("open", path.display(), error);
    let found = from.symlink_metadata().map_err(|error| cannot(from, error))?;
    let place = if to.is_dir() {
        to.join(last_name(from))
    } else if found.is_dir() && to.symlink_metadata().is_ok() {
        return Err(CopyError::Usage(Usage::Taken(to.display().to_string())));
    } else if !found.is_dir() && to.as_os_str().as_bytes().ends_with(b"/") {
        return Err(CopyError::Usage(Usage::NoDirectory(to.display().to_string())));
    } else if found.is_file() {
        behind_link(to).map_err(|error| cannot(to, error))?
    } else {
        to.to_owned()
    };
    let both = || (from.display().to_string(), place.display().to_string());
    if !found.is_dir() {
        let is_it = |it: Metadata| (it.dev(), it.ino()) == (found.dev(), found.ino());
        if place.symlink_metadata().is_ok_and(is_it) {
            let (from, to) = both();
            return Err(CopyError::Usage(Usage::SameFile(from, to)));
        }
        return Ok(place);
    }
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let parent = parent.canonicalize().map_err(|error| cannot(parent, error))?;
    if parent.starts_with(from.canonicalize().map_err(|error| cannot(from, error))?) {
        let (from, to) = both();
        return Err(CopyError::Usage(Usage::IntoItself(from, to)));
    }
    Ok(place)
}

/// The name that a copy gets in a folder; `.` for what has none, so that the folder is filled.
fn last_name(path: &Path) -> &OsStr {
    let bytes = path.as_os_str().as_bytes();
    let names = bytes.rsplit(|&byte| byte == b'/');
    match names.into_iter().find(|name| !name.is_empty()) {
        None | Some(b"..") => OsStr::new("."),
        Some(name) => OsStr::from_bytes(name),
    }
}

impl<'d, 'w> Walk<'d, 'w> {
    pub(crate) fn new(
        drive: &'d mut Drive<'w>,
        wanted: Wanted,
        from: &'d Path,
        to: &'d Path,
    ) -> Self {
        let (path, folders, links) = (PathBuf::new(), Vec::new(), HashMap::new());
        let (entries, failed, incomplete, holes) = (0, 0, 0, 0);
        Self { drive, wanted, from, to, path, folders, links, entries, failed, incomplete, holes }
    }

    /// Copies everything. Returns an error only for a signal; others are reported and counted.
    pub(crate) fn run(&mut self) -> Result<(), Stop> {
        let (from, to) = (At { dir: CWD, name: self.from }, At { dir: CWD, name: self.to });
        self.entry(from, to)?;
        while let Some(folder) = self.folders.last_mut() {
            let Some(name) = folder.names.next() else {
                self.leave()?;
                continue;
            };
            let Some(ends) = folder.ends.clone() else { break };
            let (depth, name) = (self.folders.len(), Path::new(&name));
            self.path.push(name);
            let (from, to) =
                (At { dir: ends.from.as_fd(), name }, At { dir: ends.to.as_fd(), name });
            self.entry(from, to)?;
            if self.folders.len() == depth {
                self.path.pop();
            }
        }
        Ok(())
    }

    fn entry(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Stop> {
        self.entries += 1;
        let copied = self.copy(from, to);
        self.judge(copied)
    }

    /// Counts and reports a failure, other than by a signal.
    fn judge(&mut self, answer: Result<(), Stop>) -> Result<(), Stop> {
        if let Some(signal) = self.drive.interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        if let Err(why) = answer {
            self.failed += 1;
            let from = under(self.from, &self.path);
            self.drive.note(format!("{} was not copied: {why}", from.display()));
        }
        Ok(())
    }

    /// Reports what the copy of the entry has lost.
    fn tell(&mut self, lost: Vec<Lost>) {
        let Wanted { owners, attributes, .. } = self.wanted;
        let is_asked = |lost: &Lost| match lost.what {
            Kept::Owner => owners,
            Kept::Attributes => attributes,
            Kept::Group | Kept::Mode | Kept::Acl | Kept::Times | Kept::Link => false,
        };
        self.incomplete += u64::from(lost.iter().any(is_asked));
        let to = under(self.to, &self.path);
        for lost in lost {
            self.drive.note(format!("note: {} {lost}", to.display()));
        }
    }

    fn copy(&mut self, from: At<'_>, to: At<'_>) -> Result<(), Stop> {
        let found = rustix::fs::statat(from.dir, from.name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Stop::when("looking at it"))?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_dir() {
            return self.enter(from, to, &found);
        }
        let mut lost = Vec::new();
        let first = self.links.get(&identity(&found)).filter(|_| found.st_nlink > 1);
        match first.map(|first| self.hard_link(first, to)) {
            Some(Ok(())) => return Ok(()),
            // The content arrives as a second copy.
            Some(Err(errno)) => lost.push(Lost::of(Kept::Link)(errno)),
            None => {}
        }
        match kind {
            FileType::RegularFile => self.file(from, to, &found, &mut lost)?,
            FileType::Symlink => self.link(from, to, &found, &mut lost)?,
            FileType::Fifo | FileType::Socket => self.node(to, &found, &mut lost)?,
            FileType::CharacterDevice | FileType::BlockDevice if self.wanted.owners => {
                self.node(to, &found, &mut lost)?;
            }
            FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Directory
            | FileType::Unknown => {
                let why = "it is a device, which only --owners copies";
                let why = io::Error::new(io::ErrorKind::Unsupported, why);
                return Err(Stop::call("looking at it", why));
            }
        }
        if found.st_nlink > 1 {
            self.links.entry(identity(&found)).or_insert_with(|| self.path.clone());
        }
        self.tell(lost);
        Ok(())
    }

    /// Opens a folder and makes its copy; the walk continues in it.
    fn enter(&mut self, from: At<'_>, to: At<'_>, found: &Stat) -> Result<(), Stop> {
        let (source, found) = open(from, OFlags::DIRECTORY, found)?;
        let made = match rustix::fs::mkdirat(to.dir, to.name, Mode::RWXU) {
            Err(Errno::EXIST) => false,
            made => made.map(|()| true).map_err(Stop::when("making the directory"))?,
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let copy = match rustix::fs::openat(to.dir, to.name, flags, Mode::empty()) {
            // openat(2): NOTDIR of a link too.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let why = io::Error::other("something else has its name");
                return Err(Stop::call("making the directory", why));
            }
            opened => File::from(opened.map_err(Stop::when("opening its copy"))?),
        };
        let there = rustix::fs::fstat(&copy).map_err(Stop::when("looking at its copy"))?;
        let root = self.folders.first().map_or(&there, |root| &root.made);
        if [root, &there].into_iter().any(|copy| identity(copy) == identity(&found)) {
            return Err(Stop::call("opening it", io::Error::other("it is the copy itself")));
        }
        let is_filled = self.folders.is_empty() && to.name.as_os_str().as_bytes().ends_with(b"/.");
        if !made && !is_filled {
            attributes::narrow(&copy, there.st_mode, found.st_mode | 0o700);
        }
        let names = names(&source).map_err(Stop::when("listing it"))?.into_iter();
        let inherits = attributes::has_default_acl(&copy);
        let ends = Some(Rc::new(Ends { from: source, to: copy }));
        self.folders.push(Folder { ends, found, made: there, inherits, is_filled, names });
        if let Some(far) = self.folders.len().checked_sub(OPEN_MAX + 1).filter(|far| *far > 0) {
            self.folders[far].ends = None;
        }
        Ok(())
    }

    /// Finishes a folder, and opens the one above it again if it was closed.
    fn leave(&mut self) -> Result<(), Stop> {
        let Some(Folder { ends: Some(ends), found, inherits, is_filled, .. }) = self.folders.pop()
        else {
            return Ok(());
        };
        if !is_filled {
            let mut lost = Vec::new();
            self.keep(&ends.from, &found, &ends.to, inherits, &mut lost);
            self.tell(lost);
        }
        if self.wanted.sync {
            let synced = ends.to.sync_all().map_err(Stop::when("writing it to disk"));
            self.judge(synced)?;
        }
        self.path.pop();
        let Some(above) = self.folders.last_mut().filter(|above| above.ends.is_none()) else {
            return Ok(());
        };
        match ends.above(above) {
            Ok(opened) => above.ends = Some(Rc::new(opened)),
            Err(stop) => {
                // The way back is lost, save the root.
                self.judge(Err(stop))?;
                self.folders.truncate(1);
                self.path.clear();
            }
        }
        Ok(())
    }
}

impl Ends {
    /// Opens the folder above, which must be the one that these were found in.
    fn above(&self, above: &Folder) -> Result<Self, Stop> {
        let up = |dir: &File, found| {
            let at = At { dir: dir.as_fd(), name: Path::new("..") };
            open(at, OFlags::DIRECTORY, found).map(|(folder, _)| folder)
        };
        Ok(Self { from: up(&self.from, &above.found)?, to: up(&self.to, &above.made)? })
    }
}

/// All names in an open folder, since it may be closed before all are copied.
fn names(folder: &File) -> Result<Vec<OsString>, Errno> {
    let mut buffer = Vec::with_capacity(NAMES_BYTES);
    let mut entries = RawDir::new(folder, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

const fn identity(found: &Stat) -> (u64, u64) {
    (found.st_dev, found.st_ino)
}

fn under(root: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { root.to_owned() } else { root.join(path) }
}
