//! Opens or makes the file that a target is written to.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::{State, directory};
use crate::attributes;
use crate::hidden::{Hidden, make};

/// Opens a file that is there; neither a link's target nor a FIFO that has taken its place.
pub(super) fn open_existing(dir: BorrowedFd<'_>, path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let open = |access| rustix::fs::openat(dir, path, flags | access, Mode::empty());
    let file = match open(OFlags::RDWR) {
        Err(Errno::ACCESS) => open(OFlags::WRONLY),
        opened => opened,
    };
    let file = File::from(file?);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "it is not a regular file"))
}

/// Opens a part for its owner, who has to open it again to continue it. One that is there becomes
/// as narrow as the limit, if there is one; another user's is for what all may read.
pub(super) fn open_part<'d>(
    dir: BorrowedFd<'d>,
    part: PathBuf,
    limit: Option<u32>,
) -> io::Result<(File, State<'d>)> {
    let mode = limit.unwrap_or(0o666) | 0o600;
    let file = match make(dir, &part, mode) {
        // proc(5), protected_regular: in /tmp the kernel refuses another user's with O_CREAT.
        Err(Errno::EXIST) => open_existing(dir, &part, OFlags::CREATE)?,
        made => made?,
    };
    let found = file.metadata()?;
    if mode & 0o004 == 0 && found.uid() != rustix::process::geteuid().as_raw() {
        let why = format!(
            "{} belongs to another user, who could read the copy; remove it first",
            part.display()
        );
        return Err(io::Error::other(why));
    }
    if limit.is_some() {
        attributes::narrow(&file, found.mode(), mode);
    }
    Ok((file, State::Part(part)))
}

/// Locks out other copies to the same file: two writers would produce neither's bytes.
pub(super) fn hold(file: &File) -> io::Result<()> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::AGAIN) => {
            let why = "another copy is writing it; wait for that one, or stop it";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
        }
        // Not every file system has locks.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Makes a file without a name, or a hidden one where there are none.
pub(super) fn nameless<'d>(
    dir: BorrowedFd<'d>,
    path: &Path,
    mode: u32,
) -> io::Result<(File, State<'d>)> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::TMPFILE;
    match rustix::fs::openat(dir, directory(path), flags, Mode::from_raw_mode(mode)) {
        Ok(fd) => Ok((fd.into(), State::Unnamed)),
        // open(2): EISDIR before 3.11, EOPNOTSUPP where the file system has none.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {
            let (file, hidden) = Hidden::make(dir, path, |path| make(dir, path, mode))?;
            Ok((file, State::Hidden(hidden)))
        }
        Err(errno) => Err(errno.into()),
    }
}
