//! Hidden names next to a target, for what gets its own name in one step.
//!
//! link(2), symlink(2) and mknod(2) replace nothing: what takes the place of something is made
//! under a hidden name, and rename(2) puts it there. The name begins with the target's, which is
//! cut, because the target's may have the 255 bytes that are allowed; eCryptfs allows 143.
//!
//! Source: rename(2); path_resolution(7); pathconf(3), `NAME_MAX`.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::attributes;

/// How much of the target's name a hidden name has.
const NAME_BYTES_MAX: usize = 100;

/// Names that are tried; another process may have left some of them.
const ATTEMPTS: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Something under a hidden name, which is removed on drop.
#[derive(Debug)]
pub(crate) struct Hidden<'d> {
    dir: BorrowedFd<'d>,
    path: PathBuf,
}

impl<'d> Hidden<'d> {
    /// Makes it next to `target`, a path from `dir`.
    pub(crate) fn make<T>(
        dir: BorrowedFd<'d>,
        target: &Path,
        make: impl Fn(&Path) -> Result<T, Errno>,
    ) -> Result<(T, Self), Errno> {
        for _ in 0..ATTEMPTS {
            let path = target.with_file_name(name(target));
            match make(&path) {
                Err(Errno::EXIST) => {}
                made => return made.map(|made| (made, Self { dir, path })),
            }
        }
        Err(Errno::EXIST)
    }

    /// Gives it the target's name, in place of what has it.
    pub(crate) fn replace(self, target: &Path) -> Result<(), Errno> {
        rustix::fs::renameat(self.dir, &self.path, self.dir, target)
    }

    /// Gives it a name that is free.
    pub(crate) fn name(&self, path: &Path) -> Result<(), Errno> {
        let (dir, hidden) = (self.dir, &self.path);
        match rustix::fs::renameat_with(dir, hidden, dir, path, RenameFlags::NOREPLACE) {
            // rename(2), EINVAL: not every file system has this flag.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(dir, hidden, dir, path, AtFlags::empty())
            }
            named => named,
        }
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Of two names of one file rename(2) removes neither; otherwise the name is gone by then.
        let gone = rustix::fs::unlinkat(self.dir, &self.path, AtFlags::empty());
        debug_assert_ne!(gone, Err(Errno::BADF), "the directory is open");
    }
}

/// Makes something under the target's name, in place of what has it.
pub(crate) fn put(
    dir: BorrowedFd<'_>,
    target: &Path,
    make: impl Fn(&Path) -> Result<(), Errno>,
) -> Result<(), Errno> {
    match make(target) {
        Err(Errno::EXIST) => Hidden::make(dir, target, make)?.1.replace(target),
        made => made,
    }
}

/// Copies an unnamed file to a hidden one.
pub(crate) fn copy<'d>(
    dir: BorrowedFd<'d>,
    target: &Path,
    file: &File,
) -> io::Result<(File, Hidden<'d>)> {
    let (mut copy, hidden) = Hidden::make(dir, target, |path| make(dir, path, 0o600))?;
    io::copy(&mut &*file, &mut copy)?;
    attributes::copy_all(file, &copy)?;
    Ok((copy, hidden))
}

fn name(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(".{name}.{}-{number}", std::process::id())
}

/// Makes a file; the umask or the directory's default ACL narrows its mode.
pub(crate) fn make(dir: BorrowedFd<'_>, path: &Path, mode: u32) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::from_raw_mode(mode)).map(File::from)
}
