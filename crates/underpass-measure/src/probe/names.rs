//! Where the files are that the kernel has names for: a path from the root of a file system, joined
//! with where that is mounted, and believed if the file is still there.
//!
//! Source: proc_pid_mountinfo(5).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::evidence::{FileId, Named};

/// A mount: the device, what of it is mounted, and where.
struct Mount {
    device: (u32, u32),
    root: PathBuf,
    at: PathBuf,
}

/// Mounts as processes see them, each read once.
#[derive(Default)]
pub(super) struct Mounts(BTreeMap<u32, Vec<Mount>>);

impl Mounts {
    /// The path by which a process sees a file, of which the kernel has told where it is in its
    /// file system.
    pub(super) fn name_of(&mut self, process: u32, file: FileId, within: &Path) -> Option<Named> {
        let mounts = self.0.entry(process).or_insert_with(|| {
            let table = std::fs::read(format!("/proc/{process}/mountinfo"));
            table.or_else(|_| std::fs::read("/proc/self/mountinfo")).map_or_else(
                |_| Vec::new(),
                |table| table.split(|&byte| byte == b'\n').filter_map(mount).collect(),
            )
        });
        let of_device =
            mounts.iter().rev().filter(|mount| mount.device == (file.major, file.minor));
        let mut paths = of_device.filter_map(|mount| {
            let rest = within.strip_prefix(&mount.root).ok()?;
            Some(mount.at.join(rest))
        });
        // As long as the process is there; what its namespace has is not ours.
        let root = PathBuf::from(format!("/proc/{process}/root"));
        let root = if root.exists() { root } else { "/".into() };
        paths.find_map(|path| {
            let seen = root.join(path.strip_prefix("/").ok()?);
            let metadata = std::fs::symlink_metadata(seen).ok()?;
            // btrfs and overlayfs show another device.
            let is_it = metadata.ino() == file.inode;
            is_it.then_some(Named { path, bytes: metadata.len() })
        })
    }
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ').skip(2);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescaped(fields.next()?))));
    let device = (major.parse().ok()?, minor.parse().ok()?);
    Some(Mount { device, root: path()?, at: path()? })
}

/// Blanks and the like are three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(&byte) = field.get(at) {
        let digits = field.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_has_a_device_a_root_and_a_place_with_blanks() {
        let line = b"36 35 98:0 /mnt1 /mnt\\040two rw,noatime master:1 - ext3 /dev/root rw";
        let mount = mount(line).unwrap();
        assert_eq!(mount.device, (98, 0));
        assert_eq!((mount.root, mount.at), ("/mnt1".into(), "/mnt two".into()));
    }
}
