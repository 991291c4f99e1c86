//! What is beneath a directory, as an archive has it: every name that is served, in an order that
//! depends on the names alone.
//!
//! Links are followed as they are when they are asked for, but not to a directory on the way to
//! them, which would never end. What the server may not read is left out, as it is refused.
//!
//! Source: openat2(2); faccessat(2), `AT_EACCESS`.

use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::time::SystemTime;

use rustix::fs::{Access, AtFlags, FileType, Stat};

use crate::listing::read::Place;
use crate::lookup::Lookup;
use crate::root::{Found, OpenError, Root, Wait};
use crate::state::State;

/// How much an archive may hold. A deeper tree than any that people make is a trap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) members: usize,
    pub(super) path_bytes: usize,
    pub(super) depth: usize,
}

/// The most of all.
pub(super) const LIMITS: Limits =
    Limits { members: 1_000_000, path_bytes: 64 * 1024 * 1024, depth: 128 };

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    #[error("it would have more members, or be deeper, than an archive may be here")]
    TooMany,
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The members of an archive.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// One after the other, each relative to the directory that was walked through, which is the
    /// first of them; that of a directory within it ends with a slash.
    paths: Vec<u8>,
    members: Vec<Member>,
    /// Whether no file may change without a sign of it any more.
    are_settled: bool,
}

/// A file or a directory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    path_end: usize,
    pub(super) is_directory: bool,
    /// Whether anyone may execute it.
    pub(super) is_program: bool,
    /// Of its content, in bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// What tells it from the same file at another time.
    pub(super) state: u64,
}

impl Member {
    const fn directory(stat: &Stat) -> Self {
        let (path_end, size, state, modified) = (0, 0, 0, stat.st_mtime);
        Self { path_end, is_directory: true, is_program: true, size, modified, state }
    }

    fn file(stat: &Stat) -> Self {
        Self {
            path_end: 0,
            is_directory: false,
            is_program: stat.st_mode & 0o111 != 0,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: stat.st_mtime,
            state: short(stat),
        }
    }
}

impl Members {
    /// Walks through a directory, but for the paths that are to be left out. May wait for the disk.
    pub(super) fn of(
        place: &Place<'_>,
        limits: Limits,
        is_left_out: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Self, WalkError> {
        let found = Self { are_settled: true, ..Self::default() };
        let stat = rustix::fs::fstat(place.directory).map_err(OpenError::from)?;
        let (root, lookup) = (place.root, place.lookup);
        let now = SystemTime::now();
        let above = vec![identity(&stat)];
        let mut walk = Walk { root, lookup, limits, is_left_out, now, above, found };
        walk.push(b"", Member::directory(&stat))?;
        walk.enter(place.path, place.directory, place.path.len())?;
        Ok(walk.found)
    }

    pub(super) const fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) const fn are_settled(&self) -> bool {
        self.are_settled
    }

    /// A member with its path.
    pub(super) fn get(&self, at: usize) -> Option<(&[u8], &Member)> {
        let member = self.members.get(at)?;
        let start = at.checked_sub(1).map_or(0, |before| self.members[before].path_end);
        Some((&self.paths[start..member.path_end], member))
    }

    /// A digest of everything that bytes of an archive depend on.
    pub(super) fn digest(&self, hasher: &mut impl Hasher) {
        self.paths.hash(hasher);
        for member in &self.members {
            (member.path_end, member.is_directory, member.is_program).hash(hasher);
            (member.size, member.modified, member.state).hash(hasher);
        }
    }
}

/// The state of an open file, or of a name, in short.
pub(super) fn short(stat: &Stat) -> u64 {
    let mut hasher = DefaultHasher::new();
    State::of(stat).hash(&mut hasher);
    hasher.finish()
}

const fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

struct Walk<'a> {
    root: &'a Root,
    lookup: &'a Lookup,
    limits: Limits,
    is_left_out: &'a dyn Fn(&[u8]) -> bool,
    now: SystemTime,
    /// The directories on the way.
    above: Vec<(u64, u64)>,
    found: Members,
}

impl Walk<'_> {
    /// Adds what is in a directory at `path`; members are relative to its first `skipped` bytes.
    fn enter(&mut self, path: &[u8], directory: &OwnedFd, skipped: usize) -> Result<(), WalkError> {
        let place = Place { root: self.root, path, directory, lookup: self.lookup };
        let (room, mut names) = (self.limits.members - self.found.len(), Vec::<CString>::new());
        place.for_each_name(|name, _| {
            names.push(name.to_owned());
            names.len() <= room
        })?;
        names.sort_unstable();
        for name in names {
            // A name that went away meanwhile, or leads nowhere, is not there.
            if let Ok(stat) = place.look_at(&name) {
                self.add(&place, &name, &stat, skipped)?;
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        place: &Place<'_>,
        name: &CStr,
        stat: &Stat,
        skipped: usize,
    ) -> Result<(), WalkError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let may_be_read = || {
            rustix::fs::accessat(place.directory, name, Access::READ_OK, AtFlags::EACCESS).is_ok()
        };
        let slash = if kind.is_dir() { &b"/"[..] } else { b"" };
        let path = [place.path, name.to_bytes(), slash].concat();
        if (self.is_left_out)(&path) {
            return Ok(());
        }
        if kind.is_file() && may_be_read() {
            self.found.are_settled &= State::of(stat).is_settled(self.now);
            return self.push(&path[skipped..], Member::file(stat));
        }
        if !kind.is_dir() || self.above.contains(&identity(stat)) {
            return Ok(());
        }
        let directory = match self.root.open_beneath(&path, Wait::Allowed) {
            Ok(Found::Directory(directory)) => directory,
            Ok(Found::File(..)) | Err(OpenError::Absent | OpenError::Denied) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.push(&path[skipped..], Member::directory(stat))?;
        if self.above.len() > self.limits.depth {
            return Err(WalkError::TooMany);
        }
        self.above.push(identity(stat));
        let entered = self.enter(&path, &directory, skipped);
        self.above.pop();
        match entered {
            Err(WalkError::Open(OpenError::Denied)) => Ok(()),
            entered => entered,
        }
    }

    fn push(&mut self, path: &[u8], member: Member) -> Result<(), WalkError> {
        let Self { found, limits, .. } = self;
        let is_full = found.members.len() == limits.members
            || found.paths.len() + path.len() > limits.path_bytes;
        if is_full {
            return Err(WalkError::TooMany);
        }
        found.paths.extend(path);
        found.members.push(Member { path_end: found.paths.len(), ..member });
        Ok(())
    }
}
