//! Disks made for one test: a file system in a loop-mounted image, its reads slowed at will.
//!
//! The limit applies to the reading process, by its block-I/O cgroup: a throttled disk is slow
//! for this process and the children it starts afterwards. Reads served from the page cache are
//! not slowed; [`Disk::evict`] takes a file out of it first. Everything is undone on drop, also
//! when a test panics, but not when it is killed: `losetup -a` then shows the image.
//!
//! Source: mount(8), loop(4).

pub mod power;
mod throttle;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use self::throttle::Throttle;
use crate::payload::pattern;
use crate::skip::{Capability, Missing, Requirement};

/// A file system that an image is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// No reflinks; the usual one.
    Ext4,
    /// Reflinks (FICLONE). Images have at least 300 MiB.
    Xfs,
    /// Reflinks, and its own checksums. Images have at least 109 MiB.
    Btrfs,
}

impl FileSystem {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// Its name, as mount(8) spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }

    /// The journal of ext4 is committed when it is asked for, and not by time.
    const fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "loop,noatime,commit=300",
            Self::Xfs | Self::Btrfs => "loop,noatime",
        }
    }

    fn make(self, image: &Path) -> Result<(), String> {
        let (program, options): (_, &[&str]) = match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F", "-m", "0"]),
            Self::Xfs => ("mkfs.xfs", &["-q", "-m", "reflink=1"]),
            Self::Btrfs => ("mkfs.btrfs", &["-q"]),
        };
        run(Command::new(program).args(options).arg(image))
    }
}

/// A mounted image in a temporary directory.
#[derive(Debug)]
pub struct Disk {
    throttle: Option<Throttle>,
    /// `major:minor` of the loop device, for the cgroup's files.
    device: String,
    mounted: PathBuf,
    dir: tempfile::TempDir,
}

impl Disk {
    /// Makes and mounts a file system of `size_bytes`, empty.
    ///
    /// # Errors
    ///
    /// [`Missing`] if this is not root, or if the loop device, the file system or its mkfs is
    /// not there.
    pub fn new(kind: FileSystem, size_bytes: u64) -> Result<Self, Missing> {
        Self::mounted(kind, |image| {
            let sized = File::create(image).and_then(|file| file.set_len(size_bytes));
            sized.map_err(|error| missing(kind, &error))?;
            kind.make(image).map_err(|error| missing(kind, &error))
        })
    }

    /// Mounts an image that `make` makes at the path it is given.
    fn mounted(
        kind: FileSystem,
        make: impl FnOnce(&Path) -> Result<(), Missing>,
    ) -> Result<Self, Missing> {
        Capability::Root.meet()?;
        let dir = tempfile::tempdir().map_err(|error| missing(kind, &error))?;
        let (image, mounted) = (dir.path().join("image"), dir.path().join("mounted"));
        std::fs::create_dir(&mounted).map_err(|error| missing(kind, &error))?;
        make(&image)?;
        run(Command::new("mount")
            .args(["-t", kind.name(), "-o", kind.mount_options()])
            .args([&image, &mounted]))
        .map_err(|error| missing(kind, &error))?;
        let mut disk = Self { throttle: None, device: String::new(), mounted, dir };
        disk.device = loop_device(&disk.mounted).map_err(|error| missing(kind, &error))?;
        Throttle::forget(&disk.device).map_err(|error| missing(kind, &error))?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Slows reads from the disk, by this process and by children it starts afterwards.
    ///
    /// # Errors
    ///
    /// [`Missing`] if no cgroup hierarchy controls block I/O here.
    pub fn throttle_reads(&mut self, bytes_per_s: u64) -> Result<(), Missing> {
        self.throttle = None;
        self.throttle = Some(Throttle::new(&self.device, bytes_per_s)?);
        Ok(())
    }

    /// Takes the limit on reads off again.
    pub fn release_reads(&mut self) {
        self.throttle = None;
    }

    /// A file of `len` bytes of the pattern on this disk, none of them in the page cache.
    ///
    /// # Errors
    ///
    /// Those of making it, and of [`Disk::evict`].
    pub fn cold_file(&self, len: u64) -> io::Result<File> {
        let path = self.path().join("cold");
        std::fs::write(&path, pattern(0..len))?;
        let file = File::open(path)?;
        Self::evict(&file)?;
        Ok(file)
    }

    /// Writes a file's pages back and takes them out of the page cache, so that the next read
    /// waits for the disk.
    ///
    /// # Errors
    ///
    /// Those of fsync(2) and posix_fadvise(2).
    pub fn evict(file: impl AsFd) -> io::Result<()> {
        rustix::fs::fsync(&file)?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.throttle = None;
        // Lazily: a descriptor that a test still holds must not keep the mount in the tree.
        if let Err(error) = run(Command::new("umount").arg("-l").arg(&self.mounted)) {
            complain(&format!("{} stays mounted: {error}", self.mounted.display()));
        }
    }
}

/// A directory on a real file system, for files that must be evictable or are on a disk; a
/// temporary directory may be in memory.
///
/// The directory that `UNDERPASS_DISK_DIR` names, otherwise the workspace's target directory.
///
/// # Errors
///
/// Those of creating it.
pub fn disk_dir() -> io::Result<PathBuf> {
    let dir = std::env::var_os("UNDERPASS_DISK_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn missing(kind: FileSystem, error: &dyn std::fmt::Display) -> Missing {
    Missing::new(format!("no {} disk can be mounted: {error}", kind.name()))
}

/// `major:minor` of the loop device behind a mount point.
fn loop_device(mounted: &Path) -> io::Result<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let at = mounted.to_string_lossy();
    let device = mounts.lines().rev().find_map(|line| {
        let (device, rest) = line.split_once(' ')?;
        (rest.split(' ').next()? == at).then_some(device)
    });
    let name = device.and_then(|device| device.strip_prefix("/dev/")).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("no loop device is mounted at {at}"))
    })?;
    Ok(std::fs::read_to_string(format!("/sys/block/{name}/dev"))?.trim().to_owned())
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    let message = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", message.trim())) }
}

/// For drop, where neither an error can be returned nor a panic is welcome.
#[expect(clippy::print_stderr, reason = "a rig that cannot be undone must be reported")]
fn complain(message: &str) {
    eprintln!("underpass-testkit: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_system_is_mounted_and_gone_afterwards() {
        for kind in FileSystem::ALL {
            let disk = crate::require!(Disk::new(kind, 320 << 20));
            let mounted = disk.path().to_owned();
            std::fs::write(mounted.join("a"), "abc").unwrap();
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
            assert!(mounts.contains(&format!("{} {}", mounted.display(), kind.name())), "{mounts}");
            drop(disk);
            let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
            assert!(!mounts.contains(&*mounted.to_string_lossy()) && !mounted.exists(), "{mounts}");
        }
    }
}
