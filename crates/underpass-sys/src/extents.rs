//! Which extents of a file are shared with other files: `ioctl(2)`, `FS_IOC_FIEMAP`.
//!
//! Only what is on the disk has extents: the file is written out first.
//!
//! Source: Documentation/filesystems/fiemap.rst.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// Extents that one call asks for.
const EXTENTS: u32 = 128;

/// `struct fiemap_extent` of linux/fiemap.h.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap` of linux/fiemap.h, with its extents.
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [Extent; EXTENTS as usize],
}

/// Part of a file that one call told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Bytes of it whose extents other files have too.
    pub shared_bytes: u64,
    /// Offset in the file up to which the call told; `None` if that was the last extent.
    pub next: Option<u64>,
}

/// Tells of up to 128 extents of the file from `offset` on.
///
/// # Errors
///
/// `EOPNOTSUPP` and `ENOTTY` where the file system does not tell; those of writing the file out.
pub fn shared(file: BorrowedFd<'_>, offset: u64) -> Result<Part, Errno> {
    let mut request = Request {
        start: offset,
        length: u64::MAX - offset,
        flags: FIEMAP_FLAG_SYNC,
        mapped_extents: 0,
        extent_count: EXTENTS,
        reserved: 0,
        extents: [Extent::default(); EXTENTS as usize],
    };
    // SAFETY: Documentation/filesystems/fiemap.rst: FS_IOC_FIEMAP reads and fills in one struct
    // fiemap followed by room for `fm_extent_count` extents, which `request` is.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &raw mut request) };
    if answer < 0 {
        return Err(last_errno());
    }
    let told = request.mapped_extents.min(EXTENTS) as usize;
    let extents = &request.extents[..told];
    let is_shared = |extent: &&Extent| extent.flags & FIEMAP_EXTENT_SHARED != 0;
    let shared_bytes = extents.iter().filter(is_shared).map(|extent| extent.length).sum();
    let more = extents.last().filter(|extent| extent.flags & FIEMAP_EXTENT_LAST == 0);
    Ok(Part { shared_bytes, next: more.map(|extent| extent.logical + extent.length) })
}

/// `_IOWR('f', 11, struct fiemap)`, whose size is that of its head, 32 bytes.
const FS_IOC_FIEMAP: libc::Ioctl = 0xc020_660b_u32 as libc::Ioctl;
/// Writes the file out first.
const FIEMAP_FLAG_SYNC: u32 = 1;
/// The file has no extent behind this one.
const FIEMAP_EXTENT_LAST: u32 = 1;
/// Other files have it too.
const FIEMAP_EXTENT_SHARED: u32 = 0x2000;

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_new_file_shares_nothing() {
        let mut file = tempfile::tempfile_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        match shared(file.as_fd(), 0) {
            Ok(part) => assert_eq!(part, Part { shared_bytes: 0, next: None }),
            Err(errno) => assert!(matches!(errno, Errno::OPNOTSUPP | Errno::NOTTY), "{errno}"),
        }
    }
}
