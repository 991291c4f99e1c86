//! Where the files are that the kernel has names for: a path from the root of a file system, joined
//! with where that is mounted, and believed if the file is still there.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::evidence::{FileId, Named};
use crate::proc::{self, Mount};

/// Mounts as processes see them, each read once; by the process's directory.
#[derive(Default)]
pub(super) struct Mounts(BTreeMap<String, Vec<Mount>>);

impl Mounts {
    /// The name by which a process sees a file, of which the kernel has told in which file system
    /// it is, and where. What a container's file system is made of is seen from here at most.
    pub(super) fn name_of(
        &mut self,
        process: u32,
        file: FileId,
        (device, within): &((u32, u32), PathBuf),
    ) -> Option<Named> {
        let directories = [format!("/proc/{process}"), "/proc/self".to_owned()];
        directories.into_iter().find_map(|directory| {
            let root = PathBuf::from(format!("{directory}/root"));
            let read = |directory: &String| std::fs::read(format!("{directory}/mountinfo"));
            let mounts = self.0.entry(directory);
            let mounts = mounts.or_insert_with_key(|directory| {
                read(directory).as_deref().map_or_else(|_| Vec::new(), proc::mounts)
            });
            let of_device = mounts.iter().rev().filter(|mount| mount.device == *device);
            let mut paths =
                of_device.filter_map(|it| Some(it.at.join(within.strip_prefix(&it.root).ok()?)));
            paths.find_map(|path| named(&root, path, file.inode))
        })
    }
}

/// The inode alone: btrfs and overlayfs show another device.
fn named(root: &Path, path: PathBuf, inode: u64) -> Option<Named> {
    let seen = root.join(path.strip_prefix("/").ok()?);
    let metadata = std::fs::symlink_metadata(seen).ok()?;
    (metadata.ino() == inode).then_some(Named { path, bytes: metadata.len() })
}
