//! A memory control group for the length of one measurement, of version 1 or 2.
//!
//! Pages of files are charged to the group of the process that brought them in, so a file must be
//! out of the page cache before its pages can count here. A group has a name, so a separate
//! process removes it, which outlives a maker that was killed.
//!
//! Source: `Documentation/admin-guide/cgroup-v1/memory.rst`,
//! `Documentation/admin-guide/cgroup-v2.rst`; pidfd_open(2).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::order::Order;
use super::process::{Program, Worker};
use crate::usage::field;

/// A group. Removed when dropped, with an end to the processes in it.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    _keeper: Worker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// Makes a group that may hold `limit_bytes` of memory.
    pub(crate) fn new(program: &Program, limit_bytes: u64) -> io::Result<Self> {
        let mut refusal = io::Error::new(
            io::ErrorKind::NotFound,
            "no control group hierarchy that controls memory is mounted",
        );
        for (parent, version) in parents()? {
            match Self::within(program, &parent, version, limit_bytes) {
                Ok(group) => return Ok(group),
                Err(error) => {
                    let text = format!("no group can be made in {}: {error}", parent.display());
                    refusal = io::Error::new(error.kind(), text);
                }
            }
        }
        Err(refusal)
    }

    fn within(
        program: &Program,
        parent: &Path,
        version: Version,
        limit_bytes: u64,
    ) -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if version == Version::Two {
            std::fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
        }
        sweep(parent);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{NAME}{}-{count}", std::process::id()));
        let keeper = Worker::ready(program, &Order::Keep(path.clone()), &[])?;
        std::fs::create_dir(&path)?;
        let group = Self { path, _keeper: keeper };
        let name = match version {
            Version::One => "memory.limit_in_bytes",
            Version::Two => "memory.max",
        };
        std::fs::write(group.path.join(name), limit_bytes.to_string())?;
        Ok(group)
    }

    /// Moves a process into the group. What it holds already stays charged elsewhere.
    pub(crate) fn add(&self, process: u32) -> io::Result<()> {
        std::fs::write(self.path.join("cgroup.procs"), process.to_string())
    }

    /// Pages of files that were brought in again soon after they had been evicted.
    pub(crate) fn refaults(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(self.path.join("memory.stat"))?;
        field(&text, "workingset_refault_file ").ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "memory.stat has no workingset_refault_file")
        })
    }
}

/// How groups are named, before the number of their maker.
const NAME: &str = "underpass-claims-";

/// Removes groups whose maker and whose keeper were both killed. One that somebody is in stays.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let maker = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-'));
        let maker = maker.and_then(|(maker, _)| maker.parse::<u32>().ok());
        if maker.is_some_and(|maker| !Path::new(&format!("/proc/{maker}")).exists()) {
            std::fs::remove_dir(entry.path()).unwrap_or_default();
        }
    }
}

/// Ends the processes of the group at `path` and removes it, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let mut outcome = Ok(());
    for _ in 0..REMOVALS_MAX {
        outcome = std::fs::remove_dir(path);
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Ok(()) | Err(_) => return outcome,
        }
        for process in std::fs::read_to_string(path.join("cgroup.procs"))?.lines() {
            end(process)?;
        }
    }
    outcome
}

/// More than once, since a process that has ended may be counted in its group for a moment.
const REMOVALS_MAX: usize = 1000;

/// Ends a process and waits until it has ended.
fn end(process: &str) -> io::Result<()> {
    let number = process.parse().ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
    let process = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) => process,
        Err(Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    match rustix::process::pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut ended = [PollFd::new(&process, PollFlags::IN)];
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut ended, None))?;
    Ok(())
}

/// Directories in which a group could be made, best first.
fn parents() -> io::Result<Vec<(PathBuf, Version)>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let memberships = std::fs::read_to_string("/proc/self/cgroup")?;
    Ok(parents_of(&mounts, &memberships, &|path| path.is_dir()))
}

fn parents_of(
    mounts: &str,
    memberships: &str,
    exists: &dyn Fn(&Path) -> bool,
) -> Vec<(PathBuf, Version)> {
    let mut parents = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(at), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (controller, version) = match kind {
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                ("memory", Version::One)
            }
            "cgroup2" => ("", Version::Two),
            _ => continue,
        };
        let root = PathBuf::from(at);
        let own = root.join(own_group(memberships, controller).trim_start_matches('/'));
        match version {
            Version::One if exists(&own) => parents.push((own, version)),
            Version::One => parents.push((root, version)),
            // A group with processes in it hands no controller on, unless it is the root.
            Version::Two => parents.push((root, version)),
        }
    }
    parents
}

/// The path in a line `4:memory:/a/b`, or `0::/a/b` for version 2.
fn own_group<'a>(memberships: &'a str, controller: &str) -> &'a str {
    let path = memberships.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then_some(path)
    });
    path.unwrap_or("/")
}

#[cfg(test)]
pub(crate) mod tests;
