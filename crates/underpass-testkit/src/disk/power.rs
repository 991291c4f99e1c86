//! A power cut: what is on a disk's device at an instant, without what waits in the page cache.
//!
//! The loop device writes to its image as soon as it is told to, so the image is the device. Its
//! copy is mounted as after a crash: the journal is replayed. What is being written while it is
//! copied would be torn as no device tears it, so writers are stopped first ([`stop`]), and the
//! journal is not committed by time.
//!
//! Source: ext4(5), `commit`; signal(7), `SIGSTOP`; proc_pid_stat(5).

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Disk, FileSystem, missing, run};
use crate::skip::Missing;
use crate::wait;

impl Disk {
    /// The disk as a power cut would leave it now, mounted elsewhere. Of ext4 only.
    ///
    /// # Errors
    ///
    /// [`Missing`] as for [`Disk::new`].
    pub fn after_power_cut(&self) -> Result<Self, Missing> {
        Self::mounted(FileSystem::Ext4, |image| {
            let copy = ["--sparse=always", "--reflink=never"];
            run(Command::new("cp").args(copy).arg(self.dir.path().join("image")).arg(image))
                .map_err(|error| missing(FileSystem::Ext4, &error))
        })
    }
}

/// Stops a process, and waits until none of its threads is in the kernel any more.
///
/// # Errors
///
/// Those of kill(2) and of reading /proc; [`io::ErrorKind::TimedOut`] if a thread does not stop.
pub fn stop(id: u32) -> io::Result<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    kill_process(pid, Signal::STOP)?;
    wait::until(Duration::from_secs(10), || is_stopped(id).map(|is| is.then_some(())).transpose())
        .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
}

fn is_stopped(id: u32) -> io::Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
        // A thread that ended meanwhile has nothing there.
        let stat = std::fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        if !stat.is_empty() && !state.starts_with(['T', 't']) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fills a disk but for some bytes, with one file.
///
/// # Errors
///
/// Those of fallocate(2).
pub fn fill(disk: &Path, leave_bytes: u64) -> io::Result<()> {
    let free = rustix::fs::statvfs(disk)?;
    let bytes = (free.f_bavail * free.f_frsize).saturating_sub(leave_bytes);
    let file = std::fs::File::create(disk.join("filling"))?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;

    #[test]
    fn a_power_cut_leaves_what_was_synced_and_nothing_else() {
        let disk = crate::require!(Disk::new(FileSystem::Ext4, 64 << 20));
        let write = |name: &str| {
            let mut file = File::create(disk.path().join(name)).unwrap();
            file.write_all(&[7; 100_000]).unwrap();
            file
        };
        let synced = write("synced");
        synced.sync_all().unwrap();
        File::open(disk.path()).unwrap().sync_all().unwrap();
        let unsynced = write("unsynced");
        (&synced).write_all(&[8; 100_000]).unwrap();
        let cut = crate::require!(disk.after_power_cut());
        assert_eq!(fs::read(cut.path().join("synced")).unwrap(), [7; 100_000]);
        let there = fs::read(cut.path().join("unsynced")).unwrap_or_default();
        assert!(there.is_empty(), "{} bytes", there.len());
        assert_eq!(fs::read(disk.path().join("unsynced")).unwrap().len(), 100_000);
        drop(unsynced);
    }

    #[test]
    fn a_filled_disk_has_room_for_what_was_left_and_no_more() {
        let disk = crate::require!(Disk::new(FileSystem::Ext4, 64 << 20));
        fill(disk.path(), 1 << 20).unwrap();
        let mut file = File::create(disk.path().join("a")).unwrap();
        file.write_all(&[0; 512 << 10]).unwrap();
        let error = file.write_all(&[0; 2 << 20]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_process_is_stopped_when_all_its_threads_are() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        stop(child.id()).unwrap();
        let stopped = is_stopped(child.id()).unwrap();
        kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
        let continued = is_stopped(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((stopped, continued), (true, false));
    }
}
