//! What is known of the watched processes, apart from what they did: programs, mappings, names of
//! files and devices.
//!
//! Plain data, gathered elsewhere, so that every judgement can be made from values written by
//! hand. What could not be learned is absent; nothing here means "probably".
//!
//! Source: proc_pid_maps(5), proc_pid_mountinfo(5).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evidence::FileId;

/// File systems that show stat(2) another device than the one their pages belong to.
const DISGUISING: [&str; 2] = ["overlay", "btrfs"];

/// File systems whose files the kernel makes up as they are read.
const MADE_UP: [&str; 5] = ["proc", "sysfs", "cgroup", "cgroup2", "securityfs"];

/// Where tables are that programs read and map for themselves, and read again.
const TABLES: [&str; 5] =
    ["/etc", "/usr/lib/locale", "/usr/share/locale", "/usr/share/mime", "/usr/share/zoneinfo"];

/// Where libraries are, and their names' ends.
const LIBRARIES: [&str; 6] =
    ["/lib", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib"];
const OF_LIBRARIES: [&str; 10] =
    ["cache", "cnf", "conf", "dat", "jar", "jsa", "mo", "py", "pyc", "so"];

/// More of a library is not read for its own sake.
const OWN_BYTES_MAX: u64 = 1 << 20;

/// A watched process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Program {
    /// The name of its executable, such as `nginx`.
    pub(crate) name: String,
    /// Files that it mapped and that are not part of the program: constants of an executable or a
    /// library are also in a file, and are not its payload; nor is what it shares and writes.
    pub(crate) mapped: BTreeSet<FileId>,
    /// A library that encrypts in user space, such as `libssl.so.3`, if one is loaded.
    pub(crate) tls_library: Option<String>,
    /// What its code runs on, if that matters.
    pub(crate) runtime: Option<Runtime>,
    /// Whether it has an io_uring open.
    pub(crate) uses_uring: bool,
}

/// What a program's code runs on, by which its way to sendfile(2) is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Runtime {
    Go,
    Java,
}

/// What an interface is told by: an index is of one network alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InterfaceKey {
    /// The inode of its network namespace; 0 if that was not seen.
    pub(crate) network: u64,
    /// Its index there.
    pub(crate) index: u32,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Interface {
    /// Its name, such as `eth0`.
    pub(crate) name: String,
    /// Whether packets sent through it come back to this machine (`lo`).
    pub(crate) is_loopback: bool,
    /// Whether it takes packets in scattered pieces (`tx-scatter-gather`), if it says.
    pub(crate) has_scatter_gather: Option<bool>,
}

/// All that is known apart from the evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Context {
    /// The processes, by number.
    pub(crate) programs: BTreeMap<u32, Program>,
    /// The interfaces.
    pub(crate) interfaces: BTreeMap<InterfaceKey, Interface>,
    /// Files of which a page may be executed: programs and libraries.
    pub(crate) program_files: BTreeSet<FileId>,
    /// Where files are.
    pub(crate) paths: BTreeMap<FileId, PathBuf>,
    /// How long files are.
    pub(crate) sizes: BTreeMap<FileId, u64>,
    /// Whether the watch began before the program did.
    pub(crate) is_from_start: bool,
    /// Types of mounted file systems, by device.
    pub(crate) file_systems: BTreeMap<(u32, u32), String>,
}

impl Context {
    /// The path of a file, or its device and inode.
    pub(crate) fn name_of(&self, file: FileId) -> String {
        if let Some(path) = self.paths.get(&file).or_else(|| self.disguised(file)) {
            return path.display().to_string();
        }
        if file == FileId::NOT_SEEN {
            return "files that were not seen open".to_owned();
        }
        format!("inode {} of device {}:{}", file.inode, file.major, file.minor)
    }

    /// The path whose inode this is under another device, if there is exactly one.
    fn disguised(&self, file: FileId) -> Option<&PathBuf> {
        let is_possible = |file: FileId| {
            self.is_disguised(file) || !self.file_systems.contains_key(&(file.major, file.minor))
        };
        let mut found = None;
        let mut next = self.paths.range(FileId::regular(0, 0, 0)..).next();
        // There are few devices, and many files.
        while let Some((at, _)) = next {
            let here = FileId { inode: file.inode, ..*at };
            let path = self.paths.get(&here).filter(|_| is_possible(here));
            if path.is_some() && std::mem::replace(&mut found, path).is_some() {
                return None;
            }
            let last = Bound::Excluded(FileId { inode: u64::MAX, ..*at });
            next = self.paths.range((last, Bound::Unbounded)).next();
        }
        found
    }

    /// Whether the kernel makes up what is read of a file.
    pub(crate) fn is_made_up(&self, file: FileId) -> bool {
        let file_system = self.file_systems.get(&(file.major, file.minor));
        file_system.is_some_and(|name| MADE_UP.contains(&name.as_str()))
    }

    /// Whether a file is of the system's own, such as a table of locales, by where it is and its
    /// name: what is served from there has others.
    pub(crate) fn is_of_system(&self, file: FileId) -> bool {
        self.paths.get(&file).is_some_and(|path| is_table(path) || is_of_library(path))
    }

    /// Whether this many bytes of a file are what a program reads of the system for itself: of a
    /// library once, of tables whenever it needs them.
    pub(crate) fn is_read_for_itself(&self, file: FileId, bytes: u64) -> bool {
        let size = self.sizes.get(&file).copied().unwrap_or(OWN_BYTES_MAX);
        let is_own = |path: &PathBuf| is_table(path) || is_of_library(path) && bytes <= size;
        bytes < OWN_BYTES_MAX && self.paths.get(&file).is_some_and(is_own)
    }

    /// Whether a file may have another device where its pages are seen.
    pub(crate) fn is_disguised(&self, file: FileId) -> bool {
        let file_system = self.file_systems.get(&(file.major, file.minor));
        file_system.is_some_and(|name| DISGUISING.contains(&name.as_str()))
    }

    /// The name of a process's program, or its number.
    pub(crate) fn program_of(&self, process: u32) -> String {
        match self.programs.get(&process) {
            Some(program) if !program.name.is_empty() => program.name.clone(),
            Some(_) | None => format!("process {process}"),
        }
    }

    /// The name of an interface, or its index.
    pub(crate) fn interface_name(&self, key: InterfaceKey) -> String {
        let known = self.interfaces.get(&key);
        known.map_or_else(|| format!("interface {}", key.index), |known| known.name.clone())
    }

    /// Names of the programs of some processes, each once, with the count of processes.
    pub(crate) fn programs_of(&self, processes: &BTreeSet<u32>) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for process in processes {
            *counts.entry(self.program_of(*process)).or_default() += 1;
        }
        let named = counts.into_iter().map(|(name, count)| match count {
            1 => name,
            _ => format!("{name} ({count} processes)"),
        });
        named.collect::<Vec<_>>().join(", ")
    }
}

fn is_table(path: &Path) -> bool {
    TABLES.iter().any(|place| path.starts_with(place))
}

fn is_of_library(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let end = path.extension().unwrap_or_default().to_string_lossy();
    let is_one = OF_LIBRARIES.contains(&&*end) || name.contains(".so.");
    // The image of a Java runtime, which is anywhere.
    let is_image = name == "modules" && path.parent().is_some_and(|place| place.ends_with("lib"));
    is_image || is_one && LIBRARIES.iter().any(|place| path.starts_with(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(major: u32, minor: u32, inode: u64) -> FileId {
        FileId::regular(major, minor, inode)
    }

    #[test]
    fn a_file_is_named_by_its_device_and_inode_and_never_by_another_files_inode() {
        let mut context = Context::default();
        context.file_systems.insert((8, 1), "ext4".into());
        context.paths.insert(key(8, 1, 7), "/srv/a".into());
        assert_eq!(context.name_of(key(8, 1, 7)), "/srv/a");
        assert_eq!(context.name_of(key(8, 2, 7)), "inode 7 of device 8:2");
        assert_eq!(context.name_of(key(8, 1, 8)), "inode 8 of device 8:1");
    }

    #[test]
    fn overlayfs_and_btrfs_show_other_devices_and_their_files_are_found_if_the_inode_is_unique() {
        let mut context = Context::default();
        context.file_systems.insert((0, 40), "overlay".into());
        context.paths.insert(key(0, 40, 7), "/merged/a".into());
        assert_eq!(context.name_of(key(8, 1, 7)), "/merged/a");
        context.paths.insert(key(0, 99, 7), "/subvolume/b".into());
        assert_eq!(context.name_of(key(8, 1, 7)), "inode 7 of device 8:1");
    }
}
