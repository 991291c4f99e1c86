//! A file that gets its name only when it is whole.
//!
//! Until then it has no name at all (`O_TMPFILE`), so nothing is left behind however the process
//! ends. On a file system without such files it has a hidden name next to the target, which is
//! removed on errors and signals. With `--resume` it is `TARGET.part`, which stays. Renaming
//! replaces the target in one step and breaks its hard links, as editors and package managers do.
//!
//! Source: open(2), `O_TMPFILE`; linkat(2); flock(2); rename(2); fsync(2), NOTES, on directories.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Access, AtFlags, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::pieces::Pieces;

/// How a target is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// Whole or not at all.
    Atomic,
    /// Under its own name, after truncating it.
    InPlace,
    /// Under its own name, keeping what is there.
    InPlaceResumed,
    /// As `NAME.part`, which stays on failure and is renamed when whole.
    Part,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Target {
    file: File,
    path: PathBuf,
    state: State,
    /// The mode of the finished file, if it has to be set.
    mode: Option<u32>,
    /// Which ranges of it are there, if there are gaps.
    pieces: Option<Pieces>,
}

#[derive(Debug)]
enum State {
    Unnamed,
    /// Removed on drop.
    Hidden(tempfile::TempPath),
    Part(PathBuf),
    InPlace,
}

impl Target {
    /// Opens it for writing. `mode` is the source's, for a new target.
    pub(crate) fn open(path: &Path, how: WriteMode, mode: Option<u32>) -> io::Result<Self> {
        let path = behind_link(path)?;
        let there = match std::fs::metadata(&path) {
            Ok(there) => {
                // Replacing the file does not need this permission, but its owner took it away.
                rustix::fs::access(&path, Access::WRITE_OK)?;
                Some(there)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        // An existing file keeps its mode, as with cp(1).
        let mode = match &there {
            Some(there) => Some(there.mode() & 0o7777),
            None => mode.map(|mode| mode & 0o777),
        };
        // open(2) applies the umask to a new file's mode.
        let is_made_so = how == WriteMode::Atomic && there.is_none();
        let (file, state) = match how {
            WriteMode::Atomic => nameless(&path, if is_made_so { mode } else { None })?,
            WriteMode::InPlace | WriteMode::InPlaceResumed => {
                let mut options = File::options();
                options.read(true).write(true).create(true);
                options.truncate(how == WriteMode::InPlace);
                (options.open(&path)?, State::InPlace)
            }
            WriteMode::Part => {
                let part = part_name(&path);
                let mut options = File::options();
                options.read(true).write(true).create(true).truncate(false);
                (options.open(&part)?, State::Part(part))
            }
        };
        if matches!(how, WriteMode::Part | WriteMode::InPlaceResumed) {
            hold(&file)?;
        }
        let mode = match there {
            None if is_made_so => None,
            None => mode.map(masked),
            Some(_) => mode,
        };
        Ok(Self { file, path, state, mode, pieces: None })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Which ranges of it are there, if there are gaps.
    pub(crate) const fn pieces(&self) -> Option<&Pieces> {
        self.pieces.as_ref()
    }

    /// Continues with what is there: `have` bytes, or `pieces`. Anything after that is cut off.
    pub(crate) fn resume(&mut self, have: u64, pieces: Option<Pieces>) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        if len < have {
            let why = format!("it had {have} bytes a moment ago, and has {len} now");
            return Err(io::Error::other(why));
        }
        if pieces.is_none() {
            if len > have {
                self.file.set_len(have)?;
            }
            Pieces::forget(&self.file)?;
        }
        self.pieces = pieces;
        Ok(())
    }

    /// Sets the mode that the finished file gets.
    pub(crate) fn set_mode(&mut self, mode: u32) {
        self.mode = Some(mode);
    }

    /// Where the bytes are if the copy fails now.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        match &self.state {
            State::Unnamed | State::Hidden(_) => None,
            State::Part(part) => Some(part.clone()),
            State::InPlace => Some(self.path.clone()),
        }
    }

    /// Gives it its name; with `sync`, bytes and name are on the disk when this returns.
    pub(crate) fn finish(self, sync: bool) -> io::Result<()> {
        self.complete(sync)?;
        match self.state {
            State::InPlace => check_name(&self.file, &self.path)?,
            State::Part(part) => {
                check_name(&self.file, &part)?;
                Pieces::forget(&self.file)?;
                std::fs::rename(part, &self.path)?;
            }
            State::Hidden(hidden) => hidden.persist(&self.path).map_err(|error| error.error)?,
            State::Unnamed => name(&self.file, &self.path)?,
        }
        sync_name(&self.path, sync)
    }

    /// As [`Self::finish`], but appends the first free number from `next` on to the name, replaces
    /// nothing, and returns the name.
    pub(crate) fn finish_numbered(self, sync: bool, next: &AtomicU64) -> io::Result<PathBuf> {
        self.complete(sync)?;
        let mut hidden = if let State::Hidden(hidden) = self.state { Some(hidden) } else { None };
        let mut number = next.load(Ordering::Relaxed);
        let path = loop {
            let mut name = self.path.as_os_str().to_owned();
            name.push(number.to_string());
            let path = PathBuf::from(name);
            let named = match hidden.take() {
                Some(temporary) => temporary.persist_noclobber(&path).map_err(|refused| {
                    hidden = Some(refused.path);
                    refused.error
                }),
                None => link(&self.file, &path).map_err(io::Error::from),
            };
            match named {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        };
        next.fetch_max(number + 1, Ordering::Relaxed);
        sync_name(&path, sync)?;
        Ok(path)
    }

    fn complete(&self, sync: bool) -> io::Result<()> {
        if let Some(mode) = self.mode {
            self.file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        if sync { self.file.sync_all() } else { Ok(()) }
    }
}

/// Locks out other copies to the same file: two writers would produce neither's bytes.
fn hold(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => {
            let why = "another copy is writing it; wait for that one, or stop it";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
        }
        // Not every file system has locks.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Checks that the file still has the name that it was written under.
fn check_name(file: &File, path: &Path) -> io::Result<()> {
    let written = file.metadata()?;
    let is_it = |it: &std::fs::Metadata| (it.dev(), it.ino()) == (written.dev(), written.ino());
    if std::fs::metadata(path).as_ref().is_ok_and(is_it) {
        return Ok(());
    }
    let why = format!("{} was removed or replaced while it was written", path.display());
    Err(io::Error::other(why))
}

fn sync_name(path: &Path, sync: bool) -> io::Result<()> {
    if sync { File::open(directory(path))?.sync_all() } else { Ok(()) }
}

/// The file that a symbolic link points to: replacing the link itself would break it.
pub(crate) fn behind_link(path: &Path) -> io::Result<PathBuf> {
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if !is_link {
        return Ok(path.to_owned());
    }
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // The link dangles: the file is made where it points.
            let pointed = std::fs::read_link(path)?;
            Ok(directory(path).join(pointed))
        }
        found => found,
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// `NAME.part`, next to the file.
pub(crate) fn part_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn nameless(path: &Path, mode: Option<u32>) -> io::Result<(File, State)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
    let mode = mode.unwrap_or(0o666);
    match rustix::fs::open(directory(path), flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => Ok((fd.into(), State::Unnamed)),
        // open(2): EISDIR before 3.11, EOPNOTSUPP where the file system has none.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let hidden = tempfile::Builder::new()
                .prefix(&hidden_prefix(path))
                .permissions(std::fs::Permissions::from_mode(mode))
                .tempfile_in(directory(path))?;
            let (file, hidden) = hidden.into_parts();
            Ok((file, State::Hidden(hidden)))
        }
        Err(errno) => Err(errno.into()),
    }
}

fn hidden_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_else(|| OsStr::new("copy")));
    prefix.push(".");
    prefix
}

/// Links a file without a name to `path`.
fn link(file: &File, path: &Path) -> Result<(), Errno> {
    let open_file = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, open_file.as_str(), CWD, path, AtFlags::SYMLINK_FOLLOW)
}

/// As [`link`], but replaces what may be there.
fn name(file: &File, path: &Path) -> io::Result<()> {
    match link(file, path) {
        Err(Errno::EXIST) => {}
        answer => return Ok(answer?),
    }
    // linkat(2) replaces nothing: a hidden name comes first, and rename(2) does it.
    let hidden = tempfile::Builder::new()
        .prefix(&hidden_prefix(path))
        .make_in(directory(path), |to| Ok(link(file, to)?))?;
    hidden.into_temp_path().persist(path).map_err(|error| error.error)
}

/// A mode less the umask.
fn masked(mode: u32) -> u32 {
    // umask(2) can only be read by setting it, for all threads; /proc shows it.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let umask = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))
        .and_then(|octal| u32::from_str_radix(octal.trim(), 8).ok())
        .unwrap_or(0o022);
    mode & !umask
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_has_a_name_before_the_end_and_the_old_file_stands_until_then() {
        let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        let path = dir.path().join("a");
        for old in [None, Some("old")] {
            if let Some(old) = old {
                std::fs::write(&path, old).unwrap();
            }
            let before = names(dir.path());
            let target = Target::open(&path, WriteMode::Atomic, Some(0o600)).unwrap();
            target.file().write_all(b"new").unwrap();
            assert_eq!(names(dir.path()), before);
            drop(target);
            assert_eq!(names(dir.path()), before);
            let target = Target::open(&path, WriteMode::Atomic, Some(0o600)).unwrap();
            target.file().write_all(b"new").unwrap();
            target.finish(true).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"new");
            assert_eq!(names(dir.path()), ["a"]);
        }
    }

    #[test]
    fn an_old_file_keeps_its_mode_and_a_link_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        let target = Target::open(&link, WriteMode::Atomic, Some(0o777)).unwrap();
        target.file().write_all(b"new").unwrap();
        target.finish(false).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_part_that_is_shorter_than_it_was_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = Target::open(&dir.path().join("a"), WriteMode::Part, None).unwrap();
        target.file().write_all(b"new").unwrap();
        let error = target.resume(4, None).unwrap_err();
        assert_eq!(error.to_string(), "it had 4 bytes a moment ago, and has 3 now");
        target.resume(2, None).unwrap();
        assert_eq!(target.file().metadata().unwrap().len(), 2);
    }

    #[test]
    fn a_part_stays_when_the_copy_fails_and_goes_when_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let target = Target::open(&path, WriteMode::Part, None).unwrap();
        target.file().write_all(b"ne").unwrap();
        assert_eq!(target.kept(), Some(part_name(&path)));
        drop(target);
        assert_eq!(names(dir.path()), ["a.part"]);
        Target::open(&path, WriteMode::Part, None).unwrap().finish(false).unwrap();
        assert_eq!(
            (names(dir.path()), std::fs::read(&path).unwrap()),
            (vec!["a".into()], b"ne".to_vec())
        );
    }
}
