//! Folders: every file whole or not at all, with modes, times, links and holes.
//!
//! What cannot be copied is reported and counted, and the rest is copied; a signal ends everything.
//! Folders get their mode and times last, since filling them changes both. Without `--owners`,
//! set-user-ID bits are kept only on the user's own files; with it, owners are set first, because
//! chown(2) removes these bits and capabilities. Sockets and devices are left out.
//!
//! Source: inode(7); utimensat(2); chown(2), NOTES; link(2); xattr(7); cp(1) on where a folder is
//! copied to.

use std::collections::HashMap;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::attributes;
use crate::drive::Drive;
use crate::error::{CopyError, Usage};
use crate::holes;
use crate::stop::Stop;
use crate::target::{Target, WriteMode};

/// Larger lists of names, and larger values, are reported as failures.
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// What is kept as well as modes, times and links.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) attributes: bool,
    pub(crate) owners: bool,
}

/// The copy of one folder.
pub(crate) struct Walk<'d, 'w> {
    drive: &'d mut Drive<'w>,
    wanted: Kept,
    with_sync: bool,
    /// Where the first of several names of a file went, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    pub(crate) entries: u64,
    pub(crate) failed: u64,
    pub(crate) holes: u64,
}

/// Where a folder is copied to: into `to` if that is a folder, as with cp(1).
pub(crate) fn destination(from: &Path, to: &Path) -> Result<PathBuf, CopyError> {
    let cannot = |path: &Path, error| CopyError::open("open", path.display(), error);
    let place = if to.is_dir() {
        match from.canonicalize().map_err(|error| cannot(from, error))?.file_name() {
            Some(name) => to.join(name),
            None => to.to_owned(),
        }
    } else if to.symlink_metadata().is_ok() {
        return Err(CopyError::Usage(Usage::Taken(to.display().to_string())));
    } else {
        to.to_owned()
    };
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    let parent = parent.canonicalize().map_err(|error| cannot(parent, error))?;
    if parent.starts_with(from.canonicalize().map_err(|error| cannot(from, error))?) {
        let (from, to) = (from.display().to_string(), place.display().to_string());
        return Err(CopyError::Usage(Usage::IntoItself(from, to)));
    }
    Ok(place)
}

impl<'d, 'w> Walk<'d, 'w> {
    pub(crate) fn new(drive: &'d mut Drive<'w>, wanted: Kept, with_sync: bool) -> Self {
        let links = HashMap::new();
        Self { drive, wanted, with_sync, links, entries: 0, failed: 0, holes: 0 }
    }

    /// Copies one entry and what is in it. Returns an error only for a signal; others are reported
    /// and counted.
    pub(crate) fn entry(&mut self, from: &Path, to: &Path) -> Result<(), Stop> {
        if let Some(signal) = self.drive.interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        self.entries += 1;
        let Err(why) = self.copy(from, to) else { return Ok(()) };
        // What a signal ended has not failed.
        if let Some(signal) = self.drive.interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        self.failed += 1;
        self.drive.note(format!("{} was not copied: {why}", from.display()));
        Ok(())
    }

    fn copy(&mut self, from: &Path, to: &Path) -> Result<(), Stop> {
        let found = std::fs::symlink_metadata(from).map_err(Stop::when("looking at it"))?;
        let kind = found.file_type();
        if kind.is_dir() {
            return self.directory(from, to, &found);
        }
        let identity = (found.dev(), found.ino());
        if found.nlink() > 1
            && let Some(first) = self.links.get(&identity)
        {
            return replace(to, |to| std::fs::hard_link(first, to)).map_err(Stop::when("linking"));
        }
        if kind.is_symlink() {
            self.link(from, to, &found).map_err(Stop::when("making the link"))?;
        } else if kind.is_fifo() {
            replace(to, |to| make_fifo(to, &found))
                .and_then(|()| self.own(to, &found))
                .map_err(Stop::when("making the FIFO"))?;
        } else if kind.is_file() {
            self.file(from, to, &found)?;
        } else {
            let why = io::Error::new(io::ErrorKind::Unsupported, "it is a socket or device");
            return Err(Stop::call("looking at it", why));
        }
        if found.nlink() > 1 {
            self.links.insert(identity, to.to_owned());
        }
        Ok(())
    }

    fn directory(&mut self, from: &Path, to: &Path, found: &Metadata) -> Result<(), Stop> {
        match std::fs::create_dir(to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && to.is_dir() => {}
            made => made.map_err(Stop::when("making the directory"))?,
        }
        let entries = std::fs::read_dir(from).map_err(Stop::when("listing it"))?;
        for entry in entries {
            let entry = entry.map_err(Stop::when("listing it"))?;
            self.entry(&entry.path(), &to.join(entry.file_name()))?;
        }
        let finish = || {
            let made = File::open(to)?;
            if self.wanted.owners {
                fchown(&made, Some(found.uid()), Some(found.gid()))?;
            }
            if self.wanted.attributes {
                copy_attributes(&File::open(from)?, &made)?;
            }
            made.set_permissions(Permissions::from_mode(self.mode(found)))?;
            made.set_times(times(found)?)?;
            if self.with_sync { made.sync_all() } else { Ok(()) }
        };
        finish().map_err(Stop::when("setting its owner, mode and times"))
    }

    fn file(&mut self, from: &Path, to: &Path, found: &Metadata) -> Result<(), Stop> {
        let source = File::open(from).map_err(Stop::when("opening it"))?;
        if std::fs::symlink_metadata(to).is_ok_and(|there| there.is_symlink()) {
            // Its target may be outside of the folder.
            std::fs::remove_file(to).map_err(Stop::when("replacing a link"))?;
        }
        let writing = Stop::when("writing its copy");
        let target = Target::open(CWD, to, WriteMode::Atomic, Some(0o600)).map_err(writing)?;
        let mut lost = Vec::new();
        self.holes += holes::copy(self.drive, (&source, 0), (target.file(), 0), found.len())?;
        target.keep_replaced(&mut lost).map_err(writing)?;
        if self.wanted.owners {
            fchown(target.file(), Some(found.uid()), Some(found.gid()))
                .map_err(Stop::when("setting its owner"))?;
        }
        if self.wanted.attributes {
            copy_attributes(&source, target.file())
                .map_err(Stop::when("copying its attributes"))?;
        }
        attributes::set_mode(target.file(), self.mode(found), &mut lost);
        let times = times(found).map_err(writing)?;
        target.file().set_times(times).map_err(writing)?;
        target.name(self.with_sync).map_err(writing)
    }

    fn link(&self, from: &Path, to: &Path, found: &Metadata) -> io::Result<()> {
        let pointed = std::fs::read_link(from)?;
        replace(to, |to| std::os::unix::fs::symlink(&pointed, to))?;
        self.own(to, found)?;
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps {
            last_access: time(found.atime(), found.atime_nsec()),
            last_modification: time(found.mtime(), found.mtime_nsec()),
        };
        Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives a link or FIFO its owner.
    fn own(&self, to: &Path, found: &Metadata) -> io::Result<()> {
        if self.wanted.owners { lchown(to, Some(found.uid()), Some(found.gid())) } else { Ok(()) }
    }

    fn mode(&self, found: &Metadata) -> u32 {
        let is_own = found.uid() == rustix::process::geteuid().as_raw();
        found.mode() & if is_own || self.wanted.owners { 0o7777 } else { 0o1777 }
    }
}

/// Makes a name, in place of a file or link that has it already.
fn replace(to: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    match make(to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            std::fs::remove_file(to)?;
            make(to)
        }
        made => made,
    }
}

fn make_fifo(to: &Path, found: &Metadata) -> io::Result<()> {
    let mode = Mode::from_raw_mode(found.mode() & 0o777);
    Ok(rustix::fs::mknodat(CWD, to, FileType::Fifo, mode, 0)?)
}

fn times(found: &Metadata) -> io::Result<FileTimes> {
    Ok(FileTimes::new().set_accessed(found.accessed()?).set_modified(found.modified()?))
}

/// Copies the extended attributes of one open file to another.
fn copy_attributes(from: &File, to: &File) -> io::Result<()> {
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let len = match rustix::fs::flistxattr(from.as_fd(), &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        len => len?,
    };
    let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
    for name in names[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let len = rustix::fs::fgetxattr(from.as_fd(), name, &mut value[..])?;
        rustix::fs::fsetxattr(to.as_fd(), name, &value[..len], XattrFlags::empty())?;
    }
    Ok(())
}
