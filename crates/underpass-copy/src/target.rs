//! A file that gets its name only when it is whole.
//!
//! Until then it has no name at all (`O_TMPFILE`), so nothing is left behind however the process
//! ends. On a file system without such files it has a hidden name next to the target, which is
//! removed on errors and signals. With `--resume` it is `TARGET.part`, which stays. Renaming
//! replaces the target in one step and breaks its hard links, as editors and package managers do.
//!
//! At no time can more people read it than its source or the file that it replaces: open(2) makes
//! it with the source's mode, which the umask or the directory's default ACL narrows, and what
//! takes a file's place is its owner's alone until it has that file's mode.
//!
//! Source: open(2), `O_TMPFILE`; linkat(2); flock(2); rename(2); fsync(2), NOTES, on directories.

mod opening;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::attributes::{self, Lost, Replaced};
use crate::hidden::{self, Hidden, make};
use crate::pieces::Pieces;

use self::opening::{hold, nameless, open_existing, open_part};
use crate::stream::flush;

/// Symbolic links that are followed, as in path_resolution(7).
const LINKS_MAX: usize = 40;

/// How a target is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteMode {
    /// Whole or not at all.
    Atomic,
    /// The same, under the first number that is free after the name.
    Numbered,
    /// Under its own name, after truncating it.
    InPlace,
    /// Under its own name, keeping what is there.
    InPlaceResumed,
    /// As `NAME.part`, which stays on failure and is renamed when whole.
    Part,
}

/// A file that is being written.
#[derive(Debug)]
pub(crate) struct Target<'d> {
    file: File,
    dir: BorrowedFd<'d>,
    /// From `dir`.
    path: PathBuf,
    state: State<'d>,
    replaced: Option<Replaced>,
    /// The owner's bits of a part that is finished, if they are fewer than while it is written.
    mode_max: Option<u32>,
    /// Which ranges of it are there, if there are gaps.
    pieces: Option<Pieces>,
}

#[derive(Debug)]
enum State<'d> {
    Unnamed,
    Hidden(Hidden<'d>),
    Part(PathBuf),
    InPlace,
}

impl<'d> Target<'d> {
    /// Opens it for writing. `mode` is the source's, for a file that is made.
    pub(crate) fn open(
        dir: BorrowedFd<'d>,
        path: &Path,
        how: WriteMode,
        mode: Option<u32>,
    ) -> io::Result<Self> {
        let replaced = match how {
            WriteMode::Atomic | WriteMode::Part => Replaced::find(dir, path)?,
            WriteMode::Numbered | WriteMode::InPlace | WriteMode::InPlaceResumed => None,
        };
        let limit = if replaced.is_some() { Some(0o600) } else { mode.map(|mode| mode & 0o777) };
        let made = limit.unwrap_or(0o666);
        let (file, state) = match how {
            WriteMode::Atomic | WriteMode::Numbered => nameless(dir, path, made)?,
            WriteMode::InPlace | WriteMode::InPlaceResumed => {
                let file = match open_existing(dir, path, OFlags::empty()) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => make(dir, path, made)?,
                    there => there?,
                };
                if how == WriteMode::InPlace {
                    file.set_len(0)?;
                }
                (file, State::InPlace)
            }
            WriteMode::Part => open_part(dir, part_name(path), limit)?,
        };
        if matches!(how, WriteMode::Part | WriteMode::InPlaceResumed) {
            hold(&file)?;
        }
        let is_for_owner = how == WriteMode::Part && made & 0o600 != 0o600;
        let mode_max = is_for_owner.then_some(made | 0o077);
        Ok(Self { file, dir, path: path.to_owned(), state, replaced, mode_max, pieces: None })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
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

    /// Where the bytes are if the copy fails now.
    pub(crate) fn kept(&self) -> Option<PathBuf> {
        match &self.state {
            State::Unnamed | State::Hidden(_) => None,
            State::Part(part) => Some(part.clone()),
            State::InPlace => Some(self.path.clone()),
        }
    }

    /// Gives it owner, group and attributes of the file that it replaces; returns the mode too.
    pub(crate) fn keep_replaced(&self, lost: &mut Vec<Lost>) -> io::Result<Option<u32>> {
        self.replaced.as_ref().map(|replaced| replaced.keep(&self.file, lost)).transpose()
    }

    /// Gives it what the file has that it replaces, and its name; with `sync`, both are on the disk
    /// when this returns. Returns what could not be kept.
    pub(crate) fn finish(self, sync: bool) -> io::Result<Vec<Lost>> {
        let mut lost = Vec::new();
        if let Some(mode) = self.keep_replaced(&mut lost)? {
            attributes::set_mode(&self.file, mode, &mut lost);
        } else if let Some(most) = self.mode_max {
            attributes::set_mode(&self.file, self.file.metadata()?.mode() & most, &mut lost);
        }
        self.name(sync)?;
        Ok(lost)
    }

    /// Gives it its name, as it is.
    pub(crate) fn name(self, sync: bool) -> io::Result<()> {
        self.written(sync)?;
        let (dir, path) = (self.dir, &*self.path);
        match self.state {
            State::InPlace => check_name(&self.file, dir, path)?,
            State::Part(part) => {
                check_name(&self.file, dir, &part)?;
                // If the list stays, it is of a whole file, and claims nothing that is not there.
                Pieces::forget(&self.file).unwrap_or_default();
                rustix::fs::renameat(dir, part, dir, path)?;
            }
            State::Hidden(hidden) => hidden.replace(path)?,
            State::Unnamed => match hidden::put(dir, path, |path| link(&self.file, dir, path)) {
                Err(errno) if refuses_links(errno) => return self.hidden()?.name(sync),
                named => named?,
            },
        }
        sync_name(dir, path, sync)
    }

    /// As [`Self::name`], but appends the first free number from `next` on to the name, replaces
    /// nothing, and returns the name.
    pub(crate) fn name_numbered(self, sync: bool, next: &AtomicU64) -> io::Result<PathBuf> {
        self.written(sync)?;
        let mut number = next.load(Ordering::Relaxed);
        let path = loop {
            let mut name = self.path.as_os_str().to_owned();
            name.push(number.to_string());
            let path = PathBuf::from(name);
            let named = match &self.state {
                State::Hidden(hidden) => hidden.name(&path),
                State::Unnamed | State::Part(_) | State::InPlace => {
                    link(&self.file, self.dir, &path)
                }
            };
            match named {
                Ok(()) => break path,
                Err(Errno::EXIST) => number += 1,
                Err(errno) if refuses_links(errno) && matches!(self.state, State::Unnamed) => {
                    return self.hidden()?.name_numbered(sync, next);
                }
                Err(errno) => return Err(errno.into()),
            }
        };
        next.fetch_max(number + 1, Ordering::Relaxed);
        sync_name(self.dir, &path, sync)?;
        Ok(path)
    }

    /// The same content under a hidden name.
    fn hidden(self) -> io::Result<Self> {
        let (file, hidden) = hidden::copy(self.dir, &self.path, &self.file)?;
        Ok(Self { file, state: State::Hidden(hidden), ..self })
    }

    /// Asks for the errors of writing that come late.
    fn written(&self, sync: bool) -> io::Result<()> {
        if sync {
            self.file.sync_all()?;
        }
        flush(&self.file)
    }
}

/// Checks that the file still has the name that it was written under.
fn check_name(file: &File, dir: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let written = rustix::fs::fstat(file)?;
    let named = rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW);
    if named.is_ok_and(|it| (it.st_dev, it.st_ino) == (written.st_dev, written.st_ino)) {
        return Ok(());
    }
    let why = format!("{} was removed or replaced while it was written", path.display());
    Err(io::Error::other(why))
}

fn sync_name(dir: BorrowedFd<'_>, path: &Path, sync: bool) -> io::Result<()> {
    if !sync {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(dir, directory(path), flags, Mode::empty())?;
    Ok(rustix::fs::fsync(directory)?)
}

/// The file that a symbolic link means, even if it is not there yet; the link is not replaced.
pub(crate) fn behind_link(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if !path.is_symlink() {
            return Ok(path);
        }
        path = directory(&path).join(std::fs::read_link(&path)?);
    }
    Err(Errno::LOOP.into())
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

/// Whether a file without a name cannot get one: Android refuses all links, and without /proc there
/// is nothing to link.
const fn refuses_links(errno: Errno) -> bool {
    matches!(errno, Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::NOENT)
}

/// Links a file without a name to `path`.
fn link(file: &File, dir: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let open_file = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    rustix::fs::linkat(CWD, open_file, dir, path, AtFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|it| it.file_name().into_string().unwrap()).collect();
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
            let target = Target::open(CWD, &path, WriteMode::Atomic, Some(0o600)).unwrap();
            target.file().write_all(b"new").unwrap();
            assert_eq!(names(dir.path()), before);
            drop(target);
            assert_eq!(names(dir.path()), before);
            let target = Target::open(CWD, &path, WriteMode::Atomic, Some(0o600)).unwrap();
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
        rustix::fs::chmod(&path, 0o640.into()).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        let pointed = behind_link(&link).unwrap();
        let target = Target::open(CWD, &pointed, WriteMode::Atomic, Some(0o777)).unwrap();
        target.file().write_all(b"new").unwrap();
        target.finish(false).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn a_part_that_is_shorter_than_it_was_is_not_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = Target::open(CWD, &dir.path().join("a"), WriteMode::Part, None).unwrap();
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
        let target = Target::open(CWD, &path, WriteMode::Part, None).unwrap();
        target.file().write_all(b"ne").unwrap();
        assert_eq!(target.kept(), Some(part_name(&path)));
        drop(target);
        assert_eq!(names(dir.path()), ["a.part"]);
        Target::open(CWD, &path, WriteMode::Part, None).unwrap().finish(false).unwrap();
        assert_eq!(
            (names(dir.path()), std::fs::read(&path).unwrap()),
            (vec!["a".into()], b"ne".into())
        );
    }
}
