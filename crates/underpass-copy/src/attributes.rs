//! What a file has other than content: owner, group, mode, ACL and other extended attributes.
//!
//! A file that is replaced keeps them as if its content had been written into it, as cp(1) does:
//! writing takes capabilities off, and set-user-ID bits unless root writes. Where the owner or the
//! group cannot be kept, these bits go, and the new group may do no more than others could.
//!
//! Order matters: chown(2) clears set-user-ID bits and capabilities, and chmod(2) sets the mask of
//! an ACL.
//!
//! Source: chown(2), NOTES; capabilities(7), "File capabilities"; acl(5), "Correspondence between
//! ACL entries and file permission bits"; linux/posix_acl_xattr.h.

use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::buffer::spare_capacity;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Timespec,
    Timestamps, XattrFlags,
};
use rustix::io::Errno;

const ACL: &CStr = c"system.posix_acl_access";
const DEFAULT_ACL: &CStr = c"system.posix_acl_default";

/// A kernel's value has no more (xattr(7), `XATTR_SIZE_MAX`), and neither has a list of names.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// What is kept of a file, other than its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Owner,
    Group,
    Mode,
    Acl,
    Attributes,
    Times,
    Link,
}

/// What could not be kept, and why.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) what: Kept,
    why: io::Error,
}

impl Lost {
    /// For `map_err`.
    pub(crate) fn of<E: Into<io::Error>>(what: Kept) -> impl Fn(E) -> Self {
        move |why| Self { what, why: why.into() }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Kept::Owner => "owner",
            Kept::Group => "group",
            Kept::Mode => "mode",
            Kept::Acl => "ACL",
            Kept::Attributes => "extended attributes",
            Kept::Times => "times",
            Kept::Link => return write!(f, "is a copy and not a hard link: {}", self.why),
        };
        write!(f, "could not get its {what}: {}", self.why)
    }
}

/// The file whose name a new one gets.
#[derive(Debug)]
pub(crate) struct Replaced {
    file: OwnedFd,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Replaced {
    /// Looks for it, and whether it may be replaced.
    pub(crate) fn find(dir: BorrowedFd<'_>, path: &Path) -> Result<Option<Self>, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir, path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        let found = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if kind.is_dir() {
            return Err(Errno::ISDIR);
        } else if !kind.is_file() {
            return Ok(None);
        }
        // Replacing the file does not need this permission, but its owner took it away.
        rustix::fs::accessat(dir, path, Access::WRITE_OK, AtFlags::empty())?;
        if is_mount_point(&file) {
            return Err(Errno::BUSY);
        }
        let (uid, gid) = (found.st_uid, found.st_gid);
        Ok(Some(Self { file, mode: found.st_mode & 0o7777, uid, gid }))
    }

    /// Gives its owner, group and extended attributes to the new file; returns the mode that goes
    /// with them.
    pub(crate) fn keep(&self, new: &File, lost: &mut Vec<Lost>) -> io::Result<u32> {
        let made = rustix::fs::fstat(new)?;
        let &Self { uid, gid, mut mode, .. } = self;
        let (mut is_owner, mut is_group) = (made.st_uid == uid, made.st_gid == gid);
        if !(is_owner && is_group) {
            match fchown(new, Some(uid), Some(gid)) {
                Ok(()) => (is_owner, is_group) = (true, true),
                Err(why) => {
                    is_group = is_group || fchown(new, None, Some(gid)).is_ok();
                    let what = if is_owner { Kept::Group } else { Kept::Owner };
                    lost.push(Lost { what, why });
                }
            }
        }
        lost.extend(copy_attributes(self.file.as_fd(), new, |name| !is_of_content(name)).err());
        if !(is_owner && is_group && rustix::process::geteuid().is_root()) {
            mode &= 0o1777;
        }
        if !is_group {
            mode &= !0o070 | (mode & 0o007) << 3;
        }
        let acl = if is_group { acl_of_path(&self.file) } else { None };
        Ok(set_acl(new, ACL, acl.as_deref(), mode, lost))
    }
}

/// Gives a copy all that another file of ours has.
pub(crate) fn copy_all(from: &File, to: &File) -> io::Result<()> {
    let found = rustix::fs::fstat(from)?;
    let (mode, uid, gid) = (found.st_mode & 0o7777, found.st_uid, found.st_gid);
    let mut lost = Vec::new();
    let mode = Replaced { file: from.try_clone()?.into(), mode, uid, gid }.keep(to, &mut lost)?;
    set_mode(to, mode, &mut lost);
    rustix::fs::futimens(to, &times(&found)).unwrap_or_default();
    Ok(())
}

/// Sets the mode of a file.
pub(crate) fn set_mode(file: &File, mode: u32, lost: &mut Vec<Lost>) {
    let set = rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
    lost.extend(set.map_err(Lost::of(Kept::Mode)).err());
}

/// The mode for a copy that does not get the ACL: its group may do what the file's group may, and
/// not what the mask allows to others.
pub(crate) fn mode_without_acl(file: impl AsFd, mode: u32) -> u32 {
    match mode & 0o070 {
        0 => mode,
        _ => acl(file, ACL).map_or(mode, |acl| without(&acl, mode)),
    }
}

/// Takes bits from the mode of a file that is there, so that it has none but these. A file system
/// that has no modes refuses, and has them for no other file either.
pub(crate) fn narrow(file: &File, mode: u32, most: u32) {
    if mode & 0o777 & !most != 0 {
        set_mode(file, mode & 0o7000 | mode & most & 0o777, &mut Vec::new());
    }
}

/// Gives a copy the mode and the ACLs of its source, and set-user-ID bits only to its owner.
/// `inherits` if the directory's default ACL may have come to the copy.
pub(crate) fn copy_mode(
    from: &File,
    found: &Stat,
    to: &File,
    inherits: bool,
    lost: &mut Vec<Lost>,
) {
    let mut mode = found.st_mode & 0o7777;
    let is_owner = |made: Stat| (made.st_uid, made.st_gid) == (found.st_uid, found.st_gid);
    if mode & 0o6000 != 0 && !rustix::fs::fstat(to).is_ok_and(is_owner) {
        mode &= 0o1777;
    }
    let is_dir = FileType::from_raw_mode(found.st_mode).is_dir();
    if let Some(default) = is_dir.then(|| acl(from, DEFAULT_ACL))
        && (inherits || default.is_some())
    {
        set_acl(to, DEFAULT_ACL, default.as_deref(), mode, lost);
    }
    let acl = acl(from, ACL);
    if inherits || acl.is_some() {
        mode = set_acl(to, ACL, acl.as_deref(), mode, lost);
    }
    set_mode(to, mode, lost);
}

/// The same for what has a name and no content, by an `O_PATH` descriptor; its times too.
pub(crate) fn copy_to_name(
    made: &OwnedFd,
    found: &Stat,
    owner: Option<(u32, u32)>,
    lost: &mut Vec<Lost>,
) {
    let made = by_number(made);
    if let Some((uid, gid)) = owner {
        let owned = std::os::unix::fs::chown(&made, Some(uid), Some(gid));
        lost.extend(owned.map_err(Lost::of(Kept::Owner)).err());
    }
    if !FileType::from_raw_mode(found.st_mode).is_symlink() {
        let set = rustix::fs::chmod(&made, Mode::from_raw_mode(found.st_mode & 0o777));
        lost.extend(set.map_err(Lost::of(Kept::Mode)).err());
    }
    let set = rustix::fs::utimensat(CWD, &made, &times(found), AtFlags::empty());
    lost.extend(set.map_err(Lost::of(Kept::Times)).err());
}

/// The times of a file, for utimensat(2).
pub(crate) fn times(found: &Stat) -> Timestamps {
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    #[expect(clippy::cast_possible_wrap, reason = "less than 10^9")]
    Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec as _),
        last_modification: time(found.st_mtime, found.st_mtime_nsec as _),
    }
}

/// Whether what is made in a directory gets an ACL.
pub(crate) fn has_default_acl(directory: &File) -> bool {
    acl(directory, DEFAULT_ACL).is_some()
}

/// Sets an ACL, or removes one that the directory's default made; returns the mode for it.
fn set_acl(file: &File, name: &CStr, acl: Option<&[u8]>, mode: u32, lost: &mut Vec<Lost>) -> u32 {
    let Some(acl) = acl else {
        // Where there is none, the mode is all there is.
        if let Err(errno @ (Errno::PERM | Errno::ACCESS)) = rustix::fs::fremovexattr(file, name) {
            lost.push(Lost::of(Kept::Acl)(errno));
        }
        return mode;
    };
    match rustix::fs::fsetxattr(file, name, acl, XattrFlags::empty()) {
        Ok(()) => mode,
        Err(errno) => {
            lost.push(Lost::of(Kept::Acl)(errno));
            without(acl, mode)
        }
    }
}

/// acl(5): with an ACL the group bits of the mode are its mask.
fn without(acl: &[u8], mode: u32) -> u32 {
    const HEAD_BYTES: usize = 4;
    const GROUP_OBJ: [u8; 2] = [4, 0];
    let mut entries = acl.get(HEAD_BYTES..).unwrap_or_default().chunks_exact(8);
    let group = entries.find(|entry| entry[..2] == GROUP_OBJ);
    mode & (!0o070 | group.map_or(0, |entry| u32::from(entry[2] & 7) << 3))
}

fn acl(file: impl AsFd, name: &CStr) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    rustix::fs::fgetxattr(file, name, spare_capacity(&mut value)).ok().map(|_| value)
}

fn acl_of_path(file: &OwnedFd) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    rustix::fs::getxattr(by_number(file), ACL, spare_capacity(&mut value)).ok().map(|_| value)
}

/// Copies those extended attributes that are wanted, but no ACL; fails with the first error.
pub(crate) fn copy_attributes(
    from: BorrowedFd<'_>,
    to: &File,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<(), Lost> {
    let from = by_number(&from);
    let mut names = Vec::with_capacity(VALUE_BYTES_MAX);
    match rustix::fs::listxattr(&from, spare_capacity(&mut names)) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        listed => listed.map_err(Lost::of(Kept::Attributes))?,
    };
    let mut answer = Ok(());
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let is_acl = [ACL, DEFAULT_ACL].iter().any(|acl| acl.to_bytes() == name);
        if !is_acl && is_wanted(name) {
            let copied = copy_attribute(&from, to, name);
            answer = answer.and(copied);
        }
    }
    answer.map_err(Lost::of(Kept::Attributes))
}

fn copy_attribute(from: &str, to: &File, name: &[u8]) -> Result<(), Errno> {
    let mut value = Vec::with_capacity(VALUE_BYTES_MAX);
    rustix::fs::getxattr(from, name, spare_capacity(&mut value))?;
    let mut there = Vec::with_capacity(value.len() + 1);
    let same = rustix::fs::fgetxattr(to, name, spare_capacity(&mut there));
    // A label that is right already may be one that only root can set.
    if same.is_ok() && there == value {
        return Ok(());
    }
    rustix::fs::fsetxattr(to, name, &value, XattrFlags::empty())
}

/// Whether an attribute speaks of the content: capabilities go when a file is written, and digests
/// are computed anew. Those of a part are ours.
fn is_of_content(name: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"security.capability", b"security.ima", b"security.evm"];
    names.contains(&name) || name.starts_with(b"user.underpass.")
}

fn is_mount_point(file: &OwnedFd) -> bool {
    let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// open(2), `O_PATH`: extended attributes of such a descriptor are found by this path alone.
fn by_number(file: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}
