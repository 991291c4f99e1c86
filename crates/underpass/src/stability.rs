//! What is done about a file that changes while it is sent.
//!
//! sendfile(2) and splice(2) hand the network references to pages of the page cache. A writer that
//! changes the file in place before the peer has read them changes bytes that were already
//! "sent"; one that truncates it can turn them to zeros. Replacing a file by rename(2) is always
//! clean, because the old inode keeps its pages.

mod samples;

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::str::FromStr;

use rustix::io::Errno;

use self::samples::Samples;

/// A policy against files that change in mid-send.
///
/// | what happens during the sending | `None` | `Guard`, `Copy` | `Lease` |
/// |---|---|---|---|
/// | appended to | whole | whole, up to the length it had | cut |
/// | written anew, and longer (`cp longer over`) | torn | cut | cut |
/// | written in place, or `touch`ed | torn | cut | cut |
/// | truncated | cut | cut | cut |
/// | chmod, link, xattr, mv, replaced by rename | whole | whole | whole |
///
/// "Cut" means that the last bytes are held back and the transfer fails: it is never completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stability {
    /// Nothing: for files that are only appended to or replaced by rename. A file that ends early
    /// is still an error.
    None,
    /// The file is checked again (fstat(2): size and mtime) before the call that would release
    /// the last byte; if it changed, the transfer fails instead of completing. The default.
    ///
    /// A file that became longer counts as appended to, if a few samples of the bytes that were
    /// sent are what they were: up to 8 of 32 bytes each, at equal distances. It is then sent up
    /// to the length it had. `touch` cuts: it looks like a write of the same length.
    ///
    /// # Limits
    ///
    /// It is best effort. Not noticed are:
    ///
    /// - bytes in a socket's buffer that change there, after the call that sent the last one;
    /// - an append together with a write in place that meets no sample, or before the first bytes
    ///   were sent: samples are spread over the whole of what was mapped, so a short range of a
    ///   large file may have none;
    /// - a write whose mtime is put back afterwards, since ctime, which would tell, also changes
    ///   with links, modes, owners and attributes, and those cut nothing;
    /// - stores through another process's writable mapping to a page that was already dirty,
    ///   which change no timestamp;
    /// - before Linux 6.13, a write within the same tick of the kernel's clock (1 to 10 ms) as the
    ///   first look.
    #[default]
    Guard,
    /// A read lease (fcntl(2), `F_SETLEASE`) is held while the file is sent; a writer waits, and
    /// a transfer whose lease was broken fails, appending writers included. Needs the file's owner
    /// or `CAP_LEASE`, and no writer at the start.
    Lease,
    /// Every byte is copied out of the file before it is sent, so that what the sink has accepted
    /// cannot change any more. The file is checked as under `Guard`. Costs one pass over the
    /// bytes.
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

/// What fstat(2) says of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    size: i64,
    mtime: (i64, u64),
}

impl Stamp {
    pub(crate) fn of(file: BorrowedFd<'_>) -> Result<Self, Errno> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }

    pub(crate) fn size(self) -> u64 {
        u64::try_from(self.size).unwrap_or(0)
    }
}

impl From<&rustix::fs::Stat> for Stamp {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self { size: stat.st_size, mtime: (stat.st_mtime, stat.st_mtime_nsec) }
    }
}

/// A range of a file as it was when its sending began, for the policies that look again.
#[derive(Debug)]
pub(crate) struct Baseline {
    stamp: Stamp,
    samples: Samples,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing that concerns its content.
    Nothing,
    /// It was appended to.
    Grown,
    /// It was truncated to this size.
    Shrunk { size: u64 },
    /// It was written to.
    Written,
}

impl Baseline {
    /// The range `range` of a file that has this stamp now.
    pub(crate) fn new(stamp: Stamp, range: Range<u64>) -> Self {
        Self { stamp, samples: Samples::new(range) }
    }

    /// Remembers a few of the bytes `sent`.
    pub(crate) fn note_sent(&self, file: BorrowedFd<'_>, sent: &Range<u64>) {
        self.samples.take(file, sent);
    }

    /// Looks at the file again.
    pub(crate) fn change(&self, file: BorrowedFd<'_>) -> Result<Change, Errno> {
        let now = Stamp::of(file)?;
        Ok(match now.size.cmp(&self.stamp.size) {
            Ordering::Less => Change::Shrunk { size: u64::try_from(now.size).unwrap_or(0) },
            Ordering::Equal if now.mtime == self.stamp.mtime => Change::Nothing,
            Ordering::Greater if self.samples.are_unchanged(file) => Change::Grown,
            Ordering::Equal | Ordering::Greater => Change::Written,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, PermissionsExt};

    use underpass_testkit::disk::disk_dir;
    use underpass_testkit::wait::until_file_times_move;

    use super::*;

    /// What `change` makes of a file of 800,000 times `a`, with samples of its first half.
    fn change_by(change: impl FnOnce(&File, &std::path::Path)) -> Change {
        let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, [b'a'; 800_000]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let baseline = Baseline::new(Stamp::of(file.as_fd()).unwrap(), 0..800_000);
        baseline.note_sent(file.as_fd(), &(0..400_001));
        until_file_times_move();
        change(&file, &path);
        baseline.change(file.as_fd()).unwrap()
    }

    #[test]
    fn what_a_writer_does_is_told_apart_from_what_an_appender_does() {
        let append = |file: &File| file.write_all_at(b"more", 800_000).unwrap();
        assert_eq!(change_by(|file, _| append(file)), Change::Grown);
        let write = |at| change_by(move |file, _| file.write_all_at(b"x", at).unwrap());
        assert_eq!(write(0), Change::Written);
        assert_eq!(write(799_999), Change::Written);
        let anew = change_by(|_, path| std::fs::write(path, [b'b'; 900_000]).unwrap());
        assert_eq!(anew, Change::Written, "longer, and another");
        for at in [0, 31, 400_000, 400_031] {
            let both = change_by(|file, _| {
                file.write_all_at(b"x", at).unwrap();
                append(file);
            });
            assert_eq!(both, Change::Written, "a sample is met at {at}");
        }
        let shrunk = change_by(|file, _| file.set_len(50_000).unwrap());
        assert_eq!(shrunk, Change::Shrunk { size: 50_000 });
    }

    #[test]
    fn a_new_mode_and_a_lost_link_change_nothing() {
        let mode = change_by(|file, _| {
            file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        });
        assert_eq!(mode, Change::Nothing);
        let removed = change_by(|_, path| std::fs::remove_file(path).unwrap());
        assert_eq!(removed, Change::Nothing);
        assert_eq!(change_by(|file, _| drop(file.read_at(&mut [0; 3], 0))), Change::Nothing);
    }

    #[test]
    fn samples_of_a_range_of_any_length_lie_within_it() {
        let file = tempfile::tempfile().unwrap();
        for (start, len) in [(0, 0), (0, 1), (9, 31), (9, 33), (5, 4_096), (7, 1 << 20)] {
            let many = |byte, n| vec![byte; usize::try_from(n).unwrap()];
            file.write_all_at(&many(b'a', start + len), 0).unwrap();
            let baseline = Baseline::new(Stamp::of(file.as_fd()).unwrap(), start..start + len);
            baseline.note_sent(file.as_fd(), &(start..start + len));
            // Around the range, and not in it.
            file.write_all_at(&many(b'b', start), 0).unwrap();
            file.write_all_at(&[b'b'; 100], start + len).unwrap();
            assert_eq!(baseline.change(file.as_fd()), Ok(Change::Grown), "{start}, {len}");
            if len > 0 {
                file.write_all_at(b"b", start).unwrap();
                assert_eq!(baseline.change(file.as_fd()), Ok(Change::Written), "{start}, {len}");
            }
            file.set_len(0).unwrap();
        }
    }

    #[test]
    fn each_policy_is_read_back_from_its_name() {
        for policy in Stability::ALL {
            assert_eq!(policy.to_string().parse(), Ok(*policy));
        }
        assert_eq!("torn".parse::<Stability>(), Err(UnknownStability));
    }
}
