//! What a directory holds of names that are served, and what is known of each.
//!
//! A name is looked at only if that decides something: the kind of most is in the directory, and
//! size and date are needed of those on the page, unless the list is sorted by them. Links are
//! looked at first, since one that leads nowhere is not counted.
//!
//! Source: getdents64(2), `d_type`; fstatat(2), `AT_SYMLINK_NOFOLLOW`.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::lookup::Lookup;
use crate::root::{OpenError, Root};

/// A directory that is being listed, or walked through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) root: &'a Root,
    /// Empty, or with a slash at its end.
    pub(crate) path: &'a [u8],
    pub(crate) directory: &'a OwnedFd,
    pub(crate) lookup: &'a Lookup,
}

/// How much of a directory is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) names: usize,
    pub(super) bytes: usize,
}

/// The names of a directory.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(super) names: Vec<Name>,
    /// Whether there are more than the limits allow.
    pub(super) are_cut: bool,
}

/// A name that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(super) bytes: Box<[u8]>,
    pub(super) is_directory: bool,
    /// If it was looked at.
    pub(super) seen: Option<Seen>,
}

/// What a look at a name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

impl Name {
    /// In bytes; that of a directory means nothing.
    pub(super) fn size(&self) -> Option<u64> {
        self.seen.filter(|_| !self.is_directory).map(|seen| seen.size)
    }

    pub(super) fn modified(&self) -> Option<i64> {
        self.seen.map(|seen| seen.modified)
    }

    /// `None` for what is never served.
    fn of(name: &CStr, stat: &Stat) -> Option<Self> {
        let is_directory = is_directory(FileType::from_raw_mode(stat.st_mode))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let seen = Some(Seen { size, modified: stat.st_mtime });
        Some(Self { bytes: name.to_bytes().into(), is_directory, seen })
    }
}

/// Whether what is served is a directory; `None` for what is not.
fn is_directory(kind: FileType) -> Option<bool> {
    (kind.is_file() || kind.is_dir()).then(|| kind.is_dir())
}

impl Place<'_> {
    /// Calls `take` for each name that is served, if it were a file or a directory, with its kind
    /// as the directory has it, until it says that it has enough. May wait for the disk.
    ///
    /// # Errors
    ///
    /// [`OpenError::Denied`] if the directory may be entered but not read; else as for
    /// [`Root::open_beneath`].
    pub(crate) fn for_each_name(
        &self,
        mut take: impl FnMut(&CStr, FileType) -> bool,
    ) -> Result<(), OpenError> {
        // open(2): an O_PATH descriptor resolves names but lists none.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(self.directory, c".", flags, Mode::empty())?;
        for found in Dir::new(readable)? {
            let found = found?;
            let name = found.file_name();
            let is_served = !matches!(name.to_bytes(), b"." | b"..")
                && self.lookup.serves_name(self.path, name.to_bytes());
            if is_served && !take(name, found.file_type()) {
                break;
            }
        }
        Ok(())
    }

    /// What a request for the name would lead to.
    pub(crate) fn look_at(&self, name: &CStr) -> Result<Stat, OpenError> {
        let stat = rustix::fs::statat(self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return self.root.stat_beneath(&[self.path, name.to_bytes()].concat());
        }
        Ok(stat)
    }

    /// The names that `is_wanted`, all of them looked at if `all_are_looked_at`. A name that goes
    /// away meanwhile is not there.
    pub(super) fn read(
        &self,
        limits: Limits,
        all_are_looked_at: bool,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Names, OpenError> {
        let (mut found, mut looked_at, mut bytes) = (Names::default(), 0, 0);
        self.for_each_name(|name, kind| {
            if !is_wanted(name.to_bytes()) {
                return true;
            }
            looked_at += 1;
            bytes += name.count_bytes();
            if looked_at > limits.names || bytes > limits.bytes {
                found.are_cut = true;
                return false;
            }
            let is_to_be_looked_at =
                all_are_looked_at || matches!(kind, FileType::Symlink | FileType::Unknown);
            found.names.extend(if is_to_be_looked_at {
                self.look_at(name).ok().and_then(|stat| Name::of(name, &stat))
            } else {
                let bytes = name.to_bytes();
                let named = |is_directory| Name { bytes: bytes.into(), is_directory, seen: None };
                is_directory(kind).map(named)
            });
            true
        })?;
        Ok(found)
    }

    /// The same name looked at, if it was not yet.
    pub(super) fn with_look(&self, name: &Name) -> Option<Name> {
        if name.seen.is_some() {
            return Some(name.clone());
        }
        let text = std::ffi::CString::new(&*name.bytes).ok()?;
        let stat = self.look_at(&text).ok()?;
        Name::of(&text, &stat)
    }
}
