//! Read limits on the devices of disks, by the block-I/O cgroup of this process.
//!
//! Source: `Documentation/admin-guide/cgroup-v1/blkio-controller.rst`,
//! `Documentation/admin-guide/cgroup-v2.rst` (io.max).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::complain;
use crate::skip::Missing;

/// A read limit on one device, taken off on drop.
#[derive(Debug)]
pub(super) enum Throttle {
    /// Version 1 knows limits in every cgroup, the root included, and does not inherit them:
    /// the limit is in the cgroup of this process.
    V1 { limits: PathBuf, device: String },
    /// Version 2 knows none in the root, so this process moves into its own cgroup.
    V2 { device: String },
}

impl Throttle {
    pub(super) fn new(device: &str, bytes_per_s: u64) -> Result<Self, Missing> {
        let found = Self::v1(device, bytes_per_s).transpose();
        let found = found.or_else(|| Self::v2(device, bytes_per_s).transpose());
        match found {
            Some(Ok(throttle)) => Ok(throttle),
            Some(Err(error)) => Err(Missing::new(format!("reads cannot be throttled: {error}"))),
            None => Err(Missing::new("no cgroup hierarchy controls block I/O")),
        }
    }

    /// Takes off what a killed process left on the device; loop devices are used again.
    pub(super) fn forget(device: &str) -> io::Result<()> {
        Self::v1(device, 0).map(drop)
    }

    fn v1(device: &str, bytes_per_s: u64) -> io::Result<Option<Self>> {
        let Some(root) = mount_of("cgroup", Some("blkio"))? else { return Ok(None) };
        let limits = cgroup_of_self(&root, "blkio")?.join("blkio.throttle.read_bps_device");
        std::fs::write(&limits, format!("{device} {bytes_per_s}"))?;
        Ok(Some(Self::V1 { limits, device: device.to_owned() }))
    }

    fn v2(device: &str, bytes_per_s: u64) -> io::Result<Option<Self>> {
        let Some(root) = mount_of("cgroup2", None)? else { return Ok(None) };
        let controllers = std::fs::read_to_string(root.join("cgroup.controllers"))?;
        if !controllers.split_whitespace().any(|controller| controller == "io") {
            return Ok(None);
        }
        Own::limit(&root, device, bytes_per_s)?;
        Ok(Some(Self::V2 { device: device.to_owned() }))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        let undone = match self {
            Self::V1 { limits, device } => std::fs::write(limits, format!("{device} 0")),
            Self::V2 { device } => Own::lift(device),
        };
        if let Err(error) = undone {
            complain(&format!("a read limit stays: {error}"));
        }
    }
}

/// What write(2) to cgroup.procs answers for a process that is not there (any more).
const ESRCH: i32 = rustix::io::Errno::SRCH.raw_os_error();

/// The cgroup of version 2 that this process is in while it has limits. There is one for all of
/// them: a process is in one cgroup at a time, and tests run side by side.
struct Own {
    path: PathBuf,
    /// Where the process was before.
    home: PathBuf,
    limits: usize,
}

static OWN: Mutex<Option<Own>> = Mutex::new(None);

impl Own {
    /// Limits the reads from a device; the first limit moves the process.
    fn limit(root: &Path, device: &str, bytes_per_s: u64) -> io::Result<()> {
        let mut place = Self::lock();
        let mut own = place.take().map_or_else(|| Self::enter(root), Ok)?;
        let limited = own.write(device, &bytes_per_s.to_string());
        own.limits += usize::from(limited.is_ok());
        *place = own.kept_while_used()?;
        limited
    }

    /// Takes the limit on a device off; with the last one the process goes home.
    fn lift(device: &str) -> io::Result<()> {
        let mut place = Self::lock();
        let Some(mut own) = place.take() else { return Ok(()) };
        let lifted = own.write(device, "max");
        own.limits -= 1;
        *place = own.kept_while_used()?;
        lifted
    }

    fn lock() -> MutexGuard<'static, Option<Self>> {
        OWN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(root: &Path) -> io::Result<Self> {
        let home = cgroup_of_self(root, "")?;
        std::fs::write(root.join("cgroup.subtree_control"), "+io")?;
        let path = root.join(format!("underpass-{}", std::process::id()));
        match std::fs::create_dir(&path) {
            // It could not be removed the last time: a process in it was ending.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        std::fs::write(path.join("cgroup.procs"), "0")?;
        Ok(Self { path, home, limits: 0 })
    }

    fn write(&self, device: &str, rate: &str) -> io::Result<()> {
        std::fs::write(self.path.join("io.max"), format!("{device} rbps={rate}"))
    }

    fn kept_while_used(self) -> io::Result<Option<Self>> {
        if self.limits > 0 {
            return Ok(Some(self));
        }
        empty(&self.path, &self.home)?;
        std::fs::remove_dir(&self.path)?;
        Ok(None)
    }
}

/// Moves every process of one cgroup to another.
fn empty(cgroup: &Path, to: &Path) -> io::Result<()> {
    loop {
        // A process that is listed may end, and one that is not moved yet may start another.
        let processes = std::fs::read_to_string(cgroup.join("cgroup.procs"))?;
        if processes.is_empty() {
            return Ok(());
        }
        for process in processes.lines() {
            let moved = std::fs::write(to.join("cgroup.procs"), process);
            let has_ended = |error: &io::Error| error.raw_os_error() == Some(ESRCH);
            moved.or_else(|error| if has_ended(&error) { Ok(()) } else { Err(error) })?;
        }
    }
}

/// Where a file system of this type is mounted, with this option if one is named.
fn mount_of(kind: &str, option: Option<&str>) -> io::Result<Option<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    Ok(mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (at, is_kind) = (fields.next()?, fields.next()? == kind);
        let options = fields.next()?;
        let has_option = option.is_none_or(|wanted| options.split(',').any(|o| o == wanted));
        (is_kind && has_option).then(|| PathBuf::from(at))
    }))
}

/// The cgroup this process is in: a line `7:blkio:/a/b`, or `0::/a/b` for version 2.
fn cgroup_of_self(root: &Path, controller: &str) -> io::Result<PathBuf> {
    let memberships = std::fs::read_to_string("/proc/self/cgroup")?;
    let path = memberships.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|c| c == controller).then_some(path)
    });
    Ok(root.join(path.unwrap_or("/").trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::disk::{Disk, FileSystem};
    use crate::require;

    const FILE_BYTES: usize = 4 << 20;

    /// At that rate the whole file takes 4 s.
    const SLOW: u64 = 1 << 20;

    /// What a read of the whole file must take. The kernel lets a slice or two (0.1 s each) pass,
    /// and a page or another stays in the cache.
    const SLOW_AT_LEAST: Duration = Duration::from_secs(1);

    fn disk_with_file() -> Result<(Disk, File), Missing> {
        let disk = Disk::new(FileSystem::Ext4, 64 << 20)?;
        let file = disk.cold_file(FILE_BYTES as u64).unwrap();
        Ok((disk, file))
    }

    fn time_of_cold_read(file: &File) -> Duration {
        Disk::evict(file).unwrap();
        let start = Instant::now();
        file.read_exact_at(&mut vec![0; FILE_BYTES], 0).unwrap();
        start.elapsed()
    }

    #[test]
    fn a_limit_that_a_killed_process_left_is_taken_off() {
        let mut killed = require!(Disk::new(FileSystem::Ext4, 16 << 20));
        require!(killed.throttle_reads(SLOW));
        let limit = killed.throttle.take().unwrap();
        Throttle::forget(&killed.device).unwrap();
        if let Throttle::V1 { limits, device } = &limit {
            let limits = std::fs::read_to_string(limits).unwrap();
            assert!(!limits.contains(&format!("{device} ")), "{limits}");
        }
    }

    #[test]
    fn a_throttled_disk_is_slow_when_cold_and_fast_again_afterwards() {
        let (mut disk, file) = require!(disk_with_file());
        require!(disk.throttle_reads(SLOW));
        let throttled = time_of_cold_read(&file);
        assert!(throttled > SLOW_AT_LEAST, "{throttled:?}");
        disk.release_reads();
        let free = time_of_cold_read(&file);
        assert!(free < throttled / 2, "{free:?} after {throttled:?}");
    }

    #[test]
    fn a_disk_stays_slow_when_another_is_throttled_and_released() {
        let (mut disk, file) = require!(disk_with_file());
        require!(disk.throttle_reads(SLOW));
        let mut other = require!(Disk::new(FileSystem::Ext4, 16 << 20));
        require!(other.throttle_reads(SLOW));
        let beside = time_of_cold_read(&file);
        other.release_reads();
        let after = time_of_cold_read(&file);
        assert!(beside.min(after) > SLOW_AT_LEAST, "{beside:?}, then {after:?}");
    }
}
