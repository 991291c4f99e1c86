//! The place of a file: its directory, and a hidden file there until it has its name.
//!
//! All of this may wait for the disk.
//!
//! Source: open(2), `O_EXCL`; fallocate(2), `FALLOC_FL_KEEP_SIZE`; pwritev(2); rename(2),
//! `RENAME_NOREPLACE`; fsync(2), NOTES, on directories; flock(2).

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;
use std::time::SystemTime;

use bytes::Bytes;
use rustix::fs::{
    AtFlags, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat,
};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::{KEPT_PREFIX, PREFIX, Refusal, Upload, Wanted};
use crate::conditional;
use crate::root::Root;
use crate::state::State;

/// Names that are tried: chance alone takes one twice.
const ATTEMPTS_MAX: usize = 8;

/// Where a file is written until it has its name; what is left without one goes.
#[derive(Debug)]
pub(crate) struct Place {
    part: Option<Part>,
    len: u64,
}

#[derive(Debug)]
struct Part {
    directory: OwnedFd,
    name: Vec<u8>,
    file: OwnedFd,
    /// Whether it stays when its place is given up.
    is_kept: bool,
}

impl Place {
    /// Makes the hidden file, with room for what will come, if nothing speaks against that.
    pub(crate) fn make(root: &Root, upload: &Upload, wanted: &Wanted) -> Result<Self, Refusal> {
        Self::make_as(PREFIX, root, upload, wanted)
    }

    /// The same for a file that stays when its place is given up, until it has a name.
    pub(super) fn make_kept(
        root: &Root,
        upload: &Upload,
        wanted: &Wanted,
    ) -> Result<Self, Refusal> {
        let mut place = Self::make_as(KEPT_PREFIX, root, upload, wanted)?;
        place.part.iter_mut().for_each(|part| part.is_kept = true);
        Ok(place)
    }

    /// Opens one that stayed, at its end; [`Refusal::Busy`] if someone writes to it.
    pub(super) fn open(root: &Root, wanted: &Wanted, name: Vec<u8>) -> Result<Self, Refusal> {
        let directory = root.open_directory(&wanted.directory)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&directory, &*name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(Refusal::Unknown),
            file => file?,
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(Refusal::Busy),
            locked => locked.unwrap_or_default(),
        }
        let len = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        Ok(Self { part: Some(Part { directory, name, file, is_kept: true }), len })
    }

    /// From now on it goes when it is given up.
    pub(super) fn unkept(mut self) -> Self {
        self.part.iter_mut().for_each(|part| part.is_kept = false);
        self
    }

    /// The name that it has for now.
    pub(super) fn hidden(&self) -> &[u8] {
        &self.part().name
    }

    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    fn make_as(
        prefix: &[u8],
        root: &Root,
        upload: &Upload,
        wanted: &Wanted,
    ) -> Result<Self, Refusal> {
        let directory = root.open_directory(&wanted.directory)?;
        let there = find(&directory, &wanted.name)?;
        upload.check(there.as_ref(), wanted)?;
        // Those who may not read what it replaces may not read it, either.
        let mode = if there.is_some() { 0o600 } else { 0o666 };
        let part = Part::make(directory, prefix, mode.into())?;
        if let Some(len) = wanted.len.filter(|&len| len > 0) {
            let flags = FallocateFlags::KEEP_SIZE;
            match rustix::fs::fallocate(&part.file, flags, 0, len) {
                // Not every file system can tell beforehand.
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Self { part: Some(part), len: 0 })
    }

    fn part(&self) -> &Part {
        self.part.as_ref().expect("it is there until it is dropped")
    }

    /// Appends all of these.
    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> Result<(), Refusal> {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut slices = &mut *slices;
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            match rustix::io::pwritev(&self.part().file, slices, self.len) {
                Ok(0) => return Err(Refusal::Failed(Errno::IO)),
                Ok(n) => {
                    IoSlice::advance_slices(&mut slices, n);
                    self.len += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Gives it the name that is wanted, once all of it is on the disk, and says whether another
    /// file had that.
    pub(crate) fn name(self, upload: &Upload, wanted: &Wanted) -> Result<bool, Refusal> {
        let Part { directory, name, file, .. } = self.part();
        rustix::fs::fsync(file)?;
        let was_there = {
            // Of two that expect the same state one finds it.
            let _naming = upload.shared.naming.lock().unwrap_or_else(PoisonError::into_inner);
            let there = find(directory, &wanted.name)?;
            upload.check(there.as_ref(), wanted)?;
            match &there {
                Some(there) => {
                    let mode = Mode::from_raw_mode(there.st_mode & 0o777);
                    rustix::fs::fchmod(file, mode)?;
                    rustix::fs::renameat(directory, name, directory, &*wanted.name)?;
                }
                None => rename_to_free(directory, name, &wanted.name)?,
            }
            there.is_some()
        };
        rustix::fs::fsync(directory)?;
        Ok(was_there)
    }
}

/// Another thread removes it: that of a large file takes a while.
impl Drop for Place {
    fn drop(&mut self) {
        let part = self.part.take();
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(part))),
            Err(_) => drop(part),
        }
    }
}

impl Part {
    fn make(directory: OwnedFd, prefix: &[u8], mode: Mode) -> Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        for _ in 0..ATTEMPTS_MAX {
            let mut random = [0; 8];
            getrandom(&mut random, GetRandomFlags::empty())?;
            let number = format!("{:016x}", u64::from_ne_bytes(random));
            let name = [prefix, number.as_bytes()].concat();
            match rustix::fs::openat(&directory, &*name, flags | OFlags::NOFOLLOW, mode) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
                Ok(file) => {
                    // Tells those that tidy up that someone writes to it; where there are no locks,
                    // its age does.
                    let lock = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
                    lock.unwrap_or_default();
                    return Ok(Self { directory, name, file, is_kept: false });
                }
            }
        }
        Err(Errno::EXIST)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        // Of one that has its own name by now there is nothing to remove.
        let gone = rustix::fs::unlinkat(&self.directory, &*self.name, AtFlags::empty());
        debug_assert_ne!(gone, Err(Errno::BADF), "the directory is open");
    }
}

impl Upload {
    /// Whether a file may take the place of what is there.
    fn check(&self, there: Option<&Stat>, wanted: &Wanted) -> Result<(), Refusal> {
        let is_file = |it: &Stat| FileType::from_raw_mode(it.st_mode).is_file();
        if let Some(other) = there.filter(|it| !is_file(it)) {
            let is_directory = FileType::from_raw_mode(other.st_mode).is_dir();
            return Err(if is_directory { Refusal::Directory } else { Refusal::NotAFile });
        }
        let current =
            there.map(|it| State::of(it).validators(SystemTime::now(), wanted.entity_tags));
        if !conditional::allow_change(&wanted.headers, current.as_ref()) {
            return Err(Refusal::Precondition);
        }
        if there.is_some() && !self.may_replace { Err(Refusal::Exists) } else { Ok(()) }
    }
}

/// What has the name now.
fn find(directory: &OwnedFd, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok(Some(there)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Replaces nothing, also if another process has made something of that name meanwhile.
fn rename_to_free(directory: &OwnedFd, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    let flags = RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(directory, from, directory, to, flags) {
        // rename(2), EINVAL: not every file system has this flag. The hidden name goes later.
        Err(Errno::INVAL | Errno::NOSYS) => {
            rustix::fs::linkat(directory, from, directory, to, AtFlags::empty())
        }
        named => named,
    }
}

#[cfg(test)]
mod tests;
