//! One entry of a folder: a file, a link, or what has no content.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use underpass::{Sink, Source};

use super::{At, Walk, identity};
use crate::attributes::{self, Kept, Lost};
use crate::hidden;
use crate::holes;
use crate::sizes::is_true_size;
use crate::stop::Stop;
use crate::target::{Target, WriteMode};

impl Walk<'_, '_> {
    pub(super) fn file(
        &mut self,
        from: At<'_>,
        to: At<'_>,
        found: &Stat,
        lost: &mut Vec<Lost>,
    ) -> Result<(), Stop> {
        let (source, found) = &open(from, OFlags::empty(), found)?;
        let writing = Stop::when("writing its copy");
        let how = if self.wanted.atomic { WriteMode::Atomic } else { WriteMode::InPlace };
        if how == WriteMode::InPlace {
            make_way(to, found).map_err(writing)?;
        }
        let target = Target::open(to.dir, to.name, how, Some(0o600)).map_err(writing)?;
        self.content(source, found, target.file())?;
        target.keep_replaced(lost).map_err(writing)?;
        let inherits = self.folders.last().is_none_or(|folder| folder.inherits);
        self.keep(source, found, target.file(), inherits, lost);
        target.name(self.wanted.sync).map_err(Stop::when("naming its copy"))
    }

    fn content(&mut self, source: &File, found: &Stat, copy: &File) -> Result<(), Stop> {
        let len = u64::try_from(found.st_size).unwrap_or(0);
        if !is_true_size(source, len) {
            let source = Source::stream(source);
            return self.drive.transfer(source, Sink::file(copy, 0)).map(|_| ());
        }
        self.holes += holes::copy(self.drive, (source, 0), (copy, 0), len)?;
        Ok(())
    }

    /// Gives a copy the owner and attributes that are wanted, the mode and the times.
    pub(super) fn keep(
        &self,
        from: &File,
        found: &Stat,
        to: &File,
        inherits: bool,
        lost: &mut Vec<Lost>,
    ) {
        if self.wanted.owners {
            let owned = fchown(to, Some(found.st_uid), Some(found.st_gid));
            lost.extend(owned.map_err(Lost::of(Kept::Owner)).err());
        }
        if self.wanted.attributes {
            lost.extend(attributes::copy_attributes(from.as_fd(), to, |_| true).err());
        }
        attributes::copy_mode(from, found, to, inherits, lost);
        let set = rustix::fs::futimens(to, &attributes::times(found));
        lost.extend(set.map_err(Lost::of(Kept::Times)).err());
    }

    /// Makes one more name of a file, whose first copy is at this path from the root.
    pub(super) fn hard_link(&self, first: &Path, to: At<'_>) -> Result<(), Errno> {
        let root = self.folders.first().and_then(|root| root.ends.as_ref()).ok_or(Errno::NOENT)?;
        let mut dir = None::<OwnedFd>;
        for name in first.parent().into_iter().flatten() {
            let above = dir.as_ref().map_or_else(|| root.to.as_fd(), AsFd::as_fd);
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = Some(rustix::fs::openat(above, name, flags, Mode::empty())?);
        }
        let dir = dir.as_ref().map_or_else(|| root.to.as_fd(), AsFd::as_fd);
        let name = first.file_name().unwrap_or_default();
        hidden::put(to.dir, to.name, |path| {
            rustix::fs::linkat(dir, name, to.dir, path, AtFlags::empty())
        })
    }

    pub(super) fn link(
        &self,
        from: At<'_>,
        to: At<'_>,
        found: &Stat,
        lost: &mut Vec<Lost>,
    ) -> Result<(), Stop> {
        let making = Stop::when("making the link");
        let pointed = rustix::fs::readlinkat(from.dir, from.name, Vec::new()).map_err(making)?;
        hidden::put(to.dir, to.name, |path| rustix::fs::symlinkat(&*pointed, to.dir, path))
            .map_err(making)?;
        self.keep_of_name(to, found, lost).map_err(making)
    }

    /// Makes a FIFO, a socket's name or a device.
    pub(super) fn node(&self, to: At<'_>, found: &Stat, lost: &mut Vec<Lost>) -> Result<(), Stop> {
        let kind = FileType::from_raw_mode(found.st_mode);
        hidden::put(to.dir, to.name, |path| {
            rustix::fs::mknodat(to.dir, path, kind, Mode::RUSR | Mode::WUSR, found.st_rdev)
        })
        .and_then(|()| self.keep_of_name(to, found, lost))
        .map_err(Stop::when("making it"))
    }

    /// As [`Self::keep`], for what cannot be opened.
    fn keep_of_name(&self, to: At<'_>, found: &Stat, lost: &mut Vec<Lost>) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(to.dir, to.name, flags, Mode::empty())?;
        let kind = |stat: &Stat| FileType::from_raw_mode(stat.st_mode);
        if kind(&rustix::fs::fstat(&made)?) != kind(found) {
            // It was replaced, and what is there now is not ours.
            return Err(Errno::STALE);
        }
        let owner = self.wanted.owners.then_some((found.st_uid, found.st_gid));
        attributes::copy_to_name(&made, found, owner, lost);
        Ok(())
    }
}

/// Opens what was found; never a link's target, and without waiting for a FIFO's writer. Returns
/// what it is now: a file that was made since may have the number of one that was removed.
pub(super) fn open(at: At<'_>, more: OFlags, found: &Stat) -> Result<(File, Stat), Stop> {
    let opening = Stop::when("opening it");
    let flags = OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC | more;
    let replaced = || Stop::call("opening it", io::Error::other("it was replaced meanwhile"));
    let open = |more| rustix::fs::openat(at.dir, at.name, flags | more, Mode::empty());
    let file = match open(OFlags::NONBLOCK) {
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(replaced()),
        // fcntl(2), "Leases": its holder is told, and has to be waited for.
        Err(Errno::AGAIN) => open(OFlags::empty()),
        opened => opened,
    };
    let file = File::from(file.map_err(opening)?);
    let opened = rustix::fs::fstat(&file).map_err(Stop::when("looking at it"))?;
    let kind = |it: &Stat| FileType::from_raw_mode(it.st_mode);
    let is_it = identity(&opened) == identity(found) && kind(&opened) == kind(found);
    if is_it { Ok((file, opened)) } else { Err(replaced()) }
}

/// Removes a link in the place of a file that is written in place, and refuses the file itself.
fn make_way(to: At<'_>, found: &Stat) -> io::Result<()> {
    let there = match rustix::fs::statat(to.dir, to.name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        there => there?,
    };
    if identity(&there) == identity(found) {
        return Err(io::Error::other("both are the same file"));
    }
    if FileType::from_raw_mode(there.st_mode).is_symlink() {
        rustix::fs::unlinkat(to.dir, to.name, AtFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    #[test]
    fn what_took_the_place_of_what_was_found_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let at = At { dir: CWD, name: &path };
        for flags in [OFlags::empty(), OFlags::DIRECTORY] {
            for swap in ["rm -r c && mkfifo a", "ln -s b a", "mkfifo a", "mkdir a", "echo >a"] {
                let make = match flags.is_empty() {
                    true => std::fs::write(&path, "").and_then(|()| std::fs::write(&other, "")),
                    false => std::fs::create_dir(&path).and_then(|()| std::fs::create_dir(&other)),
                };
                make.unwrap();
                let found = rustix::fs::stat(&path).unwrap();
                open(at, flags, &found).unwrap();
                let script = format!("mv a c && {swap}");
                let mut shell = std::process::Command::new("sh");
                shell.args(["-c", &script]).current_dir(dir.path());
                assert!(shell.status().unwrap().success());
                let error = open(at, flags, &found).unwrap_err().to_string();
                assert!(error.contains("it was replaced meanwhile"), "{swap}: {error}");
                std::fs::remove_dir_all(dir.path()).unwrap();
                std::fs::create_dir(dir.path()).unwrap();
            }
        }
    }
}
