//! The served directory: opening what is beneath it, and nothing else.
//!
//! The kernel confines the resolution, symbolic links included, so there is no window between
//! a check and its use; for links that leave the root and come back see `links.rs`. A name is
//! first looked at through a descriptor that opens nothing (`O_PATH`): opening a FIFO would
//! release its writer and opening a device may act on it. If the name changes its type between
//! the look and the opening, `O_NONBLOCK` keeps the call from waiting and the second fstat(2)
//! refuses it.
//!
//! Source: openat2(2), `RESOLVE_BENEATH`, `RESOLVE_NO_MAGICLINKS` (5.6), `RESOLVE_CACHED`
//! (5.12); open(2), `O_PATH`, `O_NONBLOCK`; RFC 9110 §15.5.4, §15.5.5, §15.6.4 (what to answer).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::links::{self, Symlinks};

/// openat2(2): with `RESOLVE_BENEATH` a rename elsewhere can make the kernel give up on a `..`
/// in a link with EAGAIN, and the caller may try again. A tree that is renamed without pause
/// must not hold the thread.
const ATTEMPTS_MAX: usize = 8;

/// The directory that is served, held open: it stays the same when it is renamed.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    path: PathBuf,
    symlinks: Symlinks,
    /// Whether the kernel knows `RESOLVE_CACHED`; where it does not, every look-up may wait.
    can_refuse_to_wait: bool,
}

/// Whether a look-up may wait for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No: what the kernel's name cache cannot answer fails with [`OpenError::WouldWait`].
    Never,
    /// Yes: for a thread on which nothing else waits.
    Allowed,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading, with what fstat(2) says of the open file.
    File(File, Stat),
    /// A directory, as an `O_PATH` descriptor.
    Directory(OwnedFd),
}

/// A directory that cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// It does not exist, is not a directory, or must not be entered.
    #[error("cannot open directory {}", path.display())]
    Open {
        /// The directory asked for.
        path: PathBuf,
        /// What open(2) answered.
        source: Errno,
    },
    /// The kernel lacks openat2(2), or a filter forbids it.
    #[error("cannot confine look-ups to {}: openat2 is refused", path.display())]
    Confine {
        /// The directory asked for.
        path: PathBuf,
        /// What openat2(2) answered.
        source: Errno,
    },
}

/// Why nothing was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no such name, it leads where no link may, or it is neither file nor directory.
    #[error("no such file or directory beneath the root")]
    Absent,
    /// The server's user may not read it.
    #[error("permission denied")]
    Denied,
    /// The answer is not in the kernel's caches and the caller would not wait.
    #[error("the look-up would wait for the disk")]
    WouldWait,
    /// The process or the system is out of descriptors or memory, or the tree is being renamed
    /// too fast; a later request may succeed.
    #[error("out of resources to open a file")]
    Exhausted(#[source] Errno),
    /// Anything else, such as a failing disk.
    #[error("opening failed")]
    Failed(#[source] Errno),
}

impl Root {
    /// Opens the directory to be served.
    ///
    /// # Errors
    ///
    /// [`RootError::Open`] if it is missing, not a directory or not searchable;
    /// [`RootError::Confine`] if the kernel is older than 5.6 or a seccomp filter forbids
    /// openat2(2).
    pub fn open(path: &Path) -> Result<Self, RootError> {
        let open = |source| RootError::Open { path: path.to_path_buf(), source };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(open)?;
        let beneath = ResolveFlags::BENEATH;
        open_at(&directory, b"", OFlags::PATH, beneath).map_err(|source| {
            if source == Errno::ACCESS {
                return open(source);
            }
            RootError::Confine { path: path.to_path_buf(), source }
        })?;
        let cached = open_at(&directory, b"", OFlags::PATH, beneath | ResolveFlags::CACHED);
        let can_refuse_to_wait = !matches!(cached, Err(Errno::INVAL));
        let symlinks = Symlinks::default();
        Ok(Self { directory, path: path.to_path_buf(), symlinks, can_refuse_to_wait })
    }

    /// The same with these links followed, instead of those that lead to a place beneath it.
    #[must_use]
    pub fn following(self, symlinks: Symlinks) -> Self {
        Self { symlinks, ..self }
    }

    /// The directory to which `path` leads now, if it is another. Nothing, also where it leads to
    /// no directory that may be entered.
    pub(crate) fn open_if_replaced(
        &self,
        path: &Path,
        wait: Wait,
    ) -> Result<Option<Self>, OpenError> {
        let resolve = match wait {
            Wait::Never if !self.can_refuse_to_wait => return Err(OpenError::WouldWait),
            Wait::Never => ResolveFlags::CACHED,
            Wait::Allowed => ResolveFlags::empty(),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if wait == Wait::Never => return Err(OpenError::WouldWait),
            Err(_) => return Ok(None),
            Ok(directory) => directory,
        };
        let (held, found) = (rustix::fs::fstat(&self.directory)?, rustix::fs::fstat(&directory)?);
        let is_same = (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino);
        Ok((!is_same).then(|| Self { directory, path: self.path.clone(), ..*self }))
    }

    /// Whether what is in it may be listed.
    pub(crate) fn is_readable(&self) -> bool {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        open_at(&self.directory, b"", flags, ResolveFlags::BENEATH).is_ok()
    }

    /// The path that was opened, as it was given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens `path` beneath the root; the empty path is the root itself, and a path with a slash
    /// at its end is never a file.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; `WouldWait` only with [`Wait::Never`].
    pub fn open_beneath(&self, path: &[u8], wait: Wait) -> Result<Found, OpenError> {
        let seen = self.resolve(path, OFlags::PATH, wait)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&seen)?.st_mode);
        if kind.is_dir() {
            return Ok(Found::Directory(seen));
        }
        if !kind.is_file() {
            return Err(OpenError::Absent);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self.resolve(path, flags, wait)?;
        let stat = rustix::fs::fstat(&opened)?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(OpenError::Absent);
        }
        Ok(Found::File(File::from(opened), stat))
    }

    /// What fstat(2) says of whatever is at `path`, without opening it. May wait.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as for [`Root::open_beneath`].
    pub(crate) fn stat_beneath(&self, path: &[u8]) -> Result<Stat, OpenError> {
        let seen = self.resolve(path, OFlags::PATH, Wait::Allowed)?;
        Ok(rustix::fs::fstat(&seen)?)
    }

    /// Opens a directory to write in, the empty path being the root. It is never one outside,
    /// whatever links are followed to read. May wait.
    ///
    /// # Errors
    ///
    /// [`OpenError`], as for [`Root::open_beneath`].
    pub(crate) fn open_directory(&self, path: &[u8]) -> Result<OwnedFd, OpenError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        if self.symlinks != Symlinks::All {
            return self.resolve(path, flags, Wait::Allowed);
        }
        let inside = links::inside(&self.directory, &self.path, path)?;
        Ok(open_at(&self.directory, &inside, flags, Symlinks::None.resolve())?)
    }

    fn resolve(&self, path: &[u8], flags: OFlags, wait: Wait) -> Result<OwnedFd, OpenError> {
        let resolve = self.symlinks.resolve();
        let is_inside = self.symlinks == Symlinks::Inside;
        if wait == Wait::Never {
            if !self.can_refuse_to_wait {
                return Err(OpenError::WouldWait);
            }
            return match open_at(&self.directory, path, flags, resolve | ResolveFlags::CACHED) {
                Err(Errno::AGAIN) => Err(OpenError::WouldWait),
                // It may come back, which takes a walk to tell.
                Err(Errno::XDEV) if is_inside => Err(OpenError::WouldWait),
                answer => Ok(answer?),
            };
        }
        let mut answer = self.open_patiently(path, flags);
        for _ in 1..ATTEMPTS_MAX {
            if !(is_inside && matches!(answer, Err(Errno::XDEV))) {
                break;
            }
            let inside = links::inside(&self.directory, &self.path, path)?;
            answer = self.open_patiently(&inside, flags);
        }
        Ok(answer?)
    }

    fn open_patiently(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let open = || open_at(&self.directory, path, flags, self.symlinks.resolve());
        let mut answer = open();
        for _ in 1..ATTEMPTS_MAX {
            if !matches!(answer, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
            answer = open();
        }
        answer
    }
}

/// Opens `path` from `directory`, the empty path being the directory itself.
fn open_at(
    directory: &OwnedFd,
    path: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            // openat2(2): EXDEV for an escape, ELOOP also for a magic link. ENXIO and ENODEV
            // are a FIFO, socket or device that took the place of a file.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::XDEV
            | Errno::LOOP
            | Errno::NXIO
            | Errno::NODEV => Self::Absent,
            Errno::ACCESS | Errno::PERM => Self::Denied,
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::INTR => {
                Self::Exhausted(errno)
            }
            _ => Self::Failed(errno),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
