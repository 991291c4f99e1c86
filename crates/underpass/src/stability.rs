//! What is done about a file that changes while it is sent.
//!
//! sendfile(2) and splice(2) hand the network references to pages of the page cache. Writing
//! to the file in place before the peer has read them changes bytes that were already "sent";
//! truncating it can turn them to zeros. Replacing a file by rename(2) is always
//! clean, because the old inode keeps its pages.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use rustix::io::Errno;

/// A policy against files that change in mid-send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stability {
    /// Nothing: for files that are only appended to or replaced by rename.
    None,
    /// The file is looked at again (fstat(2): size, mtime, ctime) before the call that would
    /// release the last byte; if it changed, the transfer fails instead of completing.
    ///
    /// Best effort, and the default. Bytes that are already in a socket buffer when they change
    /// are not noticed, nor are stores through a writable mapping of a page that was
    /// already dirty, since they change no timestamp.
    #[default]
    Guard,
    /// A read lease (fcntl(2), `F_SETLEASE`) is held while the file is sent; a writer waits, and
    /// a transfer whose lease was broken fails. Needs the file's owner or `CAP_LEASE`, and no
    /// writer at the start.
    Lease,
    /// Every byte is copied out of the file before it is sent, so that what has been accepted
    /// by the sink cannot change any more. Costs one pass over the bytes.
    Copy,
}

impl Stability {
    /// Every policy, in the order of the enum.
    pub const ALL: &'static [Self] = &[Self::None, Self::Guard, Self::Lease, Self::Copy];

    /// The word for it, as flags spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Guard => "guard",
            Self::Lease => "lease",
            Self::Copy => "copy",
        }
    }
}

impl fmt::Display for Stability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stability {
    type Err = UnknownStability;

    fn from_str(word: &str) -> Result<Self, UnknownStability> {
        Self::ALL.iter().copied().find(|s| s.name() == word).ok_or(UnknownStability)
    }
}

/// A word that names no stability policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stability policy; one of none, guard, lease, copy")]
pub struct UnknownStability;

/// What fstat(2) says of a file's state.
///
/// Since 6.13 a write after a look always changes mtime and ctime; before, one within the same
/// tick of the kernel's clock (1 to 10 ms) may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: i64,
    mtime: (i64, u64),
    ctime: (i64, u64),
    attributes: Attributes,
}

/// What changes ctime and no content: links, permissions, owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Attributes {
    links: u64,
    mode: u32,
    owner: (u32, u32),
}

impl Stamp {
    pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }

    /// The file's size in bytes.
    pub(crate) fn size(&self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }

    /// Whether the content may have been written to between this stamp and a `later` one.
    ///
    /// A file that is replaced by rename loses a link, and with it its ctime: that is not a write.
    /// A ctime that nothing explains is one, by someone who put mtime back afterwards.
    pub(crate) fn was_written_by(&self, later: &Self) -> bool {
        let is_unexplained = self.attributes == later.attributes && self.ctime != later.ctime;
        self.size != later.size || self.mtime != later.mtime || is_unexplained
    }
}

impl From<&rustix::fs::Stat> for Stamp {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self {
            size: stat.st_size,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            ctime: (stat.st_ctime, stat.st_ctime_nsec),
            attributes: Attributes {
                links: stat.st_nlink,
                mode: stat.st_mode,
                owner: (stat.st_uid, stat.st_gid),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_write_in_place_changes_the_stamp_and_a_read_does_not() {
        let file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let before = Stamp::of(file.as_fd()).unwrap();
        file.read_at(&mut [0; 3], 0).unwrap();
        assert_eq!(Stamp::of(file.as_fd()).unwrap(), before);
        underpass_testkit::wait::until_file_times_move();
        file.write_all_at(b"x", 1).unwrap();
        let after = Stamp::of(file.as_fd()).unwrap();
        assert!(before.was_written_by(&after));
    }

    #[test]
    fn a_lost_link_and_a_new_mode_are_no_writes_and_a_time_put_back_is() {
        let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, b"abc").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let stamp = || {
            underpass_testkit::wait::until_file_times_move();
            Stamp::of(file.as_fd()).unwrap()
        };
        let first = stamp();
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        let second = stamp();
        assert!(first != second && !first.was_written_by(&second));
        std::fs::remove_file(&path).unwrap();
        let third = stamp();
        assert!(second != third && !second.was_written_by(&third));
        let modified = file.metadata().unwrap().modified().unwrap();
        file.write_all_at(b"x", 1).unwrap();
        file.set_modified(modified).unwrap();
        assert!(third.was_written_by(&stamp()));
    }

    #[test]
    fn each_policy_is_read_back_from_its_name() {
        for &policy in Stability::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
        assert_eq!("torn".parse::<Stability>(), Err(UnknownStability));
    }
}
