//! Symbolic links: which are followed, and those that leave the root and come back.
//!
//! For the kernel (`RESOLVE_BENEATH`) an absolute link leads out, wherever it points, and so does a
//! `..` above the root. Where it says so, the path is resolved here, name by name, each through a
//! descriptor that follows nothing. What comes out is only a name without links, which the kernel
//! then opens beneath the root like any other: whatever is renamed meanwhile, nothing outside is
//! reached.
//!
//! Source: openat2(2), `RESOLVE_NO_SYMLINKS` with `O_PATH` and `O_NOFOLLOW`; readlinkat(2), the
//! empty path; path_resolution(7); proc_pid_fd(5).

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};

use crate::root::OpenError;

/// path_resolution(7): the kernel follows no more, either.
const LINKS_MAX: usize = 40;

/// Names that are looked at for one path. Forty links of the longest kind would be 80,000.
const NAMES_MAX: usize = 1_000;

/// Which symbolic links are followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// Those that lead to a place beneath the root, absolute ones too.
    #[default]
    Inside,
    /// None.
    None,
    /// All, wherever they lead.
    All,
}

impl Symlinks {
    /// Each of them.
    pub const ALL: &'static [Self] = &[Self::Inside, Self::None, Self::All];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::None => "none",
            Self::All => "all",
        }
    }

    /// How the kernel is to resolve a path from the root.
    pub(crate) fn resolve(self) -> ResolveFlags {
        ResolveFlags::NO_MAGICLINKS
            | match self {
                Self::Inside => ResolveFlags::BENEATH,
                Self::None => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
                Self::All => ResolveFlags::empty(),
            }
    }
}

impl fmt::Display for Symlinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no policy about links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give one of inside, none, all")]
pub struct SymlinksError;

impl FromStr for Symlinks {
    type Err = SymlinksError;

    fn from_str(word: &str) -> Result<Self, SymlinksError> {
        Self::ALL.iter().copied().find(|policy| policy.name() == word).ok_or(SymlinksError)
    }
}

/// Where `path` leads, as a path beneath the root that goes through no link. May wait.
///
/// # Errors
///
/// [`OpenError::Absent`] if it leads out; else what looking at a name on the way gave.
pub(crate) fn inside(directory: &OwnedFd, given: &Path, path: &[u8]) -> Result<Vec<u8>, OpenError> {
    let given = std::path::absolute(given).unwrap_or_else(|_| given.into());
    let given = names(given.as_os_str().as_bytes());
    let root = where_now(directory).map_or_else(|| given.clone(), |path| names(&path));
    let mut walk = Walk { directory, given, root, above: 0, at: Vec::new(), rest: Vec::new() };
    walk.rest = rest(path);
    walk.run()?;
    Ok(walk.at)
}

/// The path of an open directory now: a path through which no link leads. It is text, so asking
/// waits for no disk.
fn where_now(directory: &OwnedFd) -> Option<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new()).ok()?.into_bytes();
    path.starts_with(b"/").then_some(path)
}

/// The names in an absolute path.
fn names(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|&byte| byte == b'/');
    names.filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec).collect()
}

/// What is to be walked of a path, the next name last. A slash at the end leaves an empty name.
fn rest(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

struct Walk<'r> {
    directory: &'r OwnedFd,
    /// The path of the root as it was given, and as it is without links.
    given: Vec<Vec<u8>>,
    root: Vec<Vec<u8>>,
    /// How many names of the root's path are still to come: the walk is above the root then, and
    /// may only come back by them.
    above: usize,
    /// Where the walk is, if it is not above the root.
    at: Vec<u8>,
    rest: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), OpenError> {
        let mut links = 0;
        for _ in 0..NAMES_MAX {
            let Some(name) = self.rest.pop() else {
                return if self.above == 0 { Ok(()) } else { Err(OpenError::Absent) };
            };
            let Some(target) = self.step(&name)? else { continue };
            links += 1;
            if links > LINKS_MAX {
                break;
            }
            self.follow(&target);
        }
        Err(OpenError::Absent)
    }

    /// Takes one name, or tells where the link of that name leads.
    fn step(&mut self, name: &[u8]) -> Result<Option<Vec<u8>>, OpenError> {
        match name {
            b"" | b"." => return Ok(None),
            b".." => {
                self.leave();
                return Ok(None);
            }
            _ => {}
        }
        if self.above > 0 {
            if self.root[self.root.len() - self.above] != name {
                return Err(OpenError::Absent);
            }
            self.above -= 1;
            return Ok(None);
        }
        let len = self.at.len();
        if len > 0 {
            self.at.push(b'/');
        }
        self.at.extend_from_slice(name);
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let seen = rustix::fs::openat2(self.directory, &*self.at, flags, Mode::empty(), resolve)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&seen)?.st_mode);
        if kind.is_symlink() {
            self.at.truncate(len);
            return Ok(Some(rustix::fs::readlinkat(&seen, c"", Vec::new())?.into_bytes()));
        }
        if kind.is_dir() || self.rest.is_empty() { Ok(None) } else { Err(OpenError::Absent) }
    }

    /// To the directory above.
    fn leave(&mut self) {
        if self.at.is_empty() {
            // path_resolution(7): above `/` is `/`.
            self.above = (self.above + 1).min(self.root.len());
        }
        let parent = self.at.iter().rposition(|&byte| byte == b'/');
        self.at.truncate(parent.unwrap_or(0));
    }

    /// What is left is that of a link first.
    fn follow(&mut self, target: &[u8]) {
        let mut target_rest = rest(target);
        if target.starts_with(b"/") {
            self.at.clear();
            self.above = self.root.len();
            if let Some(beneath) = strip(&target_rest, &self.given) {
                target_rest.truncate(beneath);
                self.above = 0;
            }
        }
        self.rest.append(&mut target_rest);
    }
}

/// How many of `rest` are left after the names of `prefix`, if it begins with them.
fn strip(rest: &[Vec<u8>], prefix: &[Vec<u8>]) -> Option<usize> {
    let mut left = rest.len();
    for wanted in prefix {
        while let b"" | b"." = rest.get(left.checked_sub(1)?)?.as_slice() {
            left -= 1;
        }
        left -= 1;
        if rest[left] != *wanted {
            return None;
        }
    }
    Some(left)
}

#[cfg(test)]
mod tests;
