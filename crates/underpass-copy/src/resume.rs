//! Going on where an earlier copy stopped, after a look at what is there.
//!
//! A file as source is compared with all that is there, a server's with the last 64 KiB of it; a
//! stream has nothing to compare with, and the user is told. What is there stands as
//! `TARGET.part`; a target that is shorter than the source is taken for such a part.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::carry::failed;
use crate::drive::{Drive, Stop};
use crate::error::CopyError;
use crate::patient::Stretch;
use crate::target::part_name;

/// So much of what is there is asked of a server again, to compare.
pub(crate) const OVERLAP_BYTES: u64 = 64 * 1024;

/// The extended attribute of a part that holds the ETag it was begun with.
const VALIDATOR: &str = "user.underpass.validator";

/// Longer validators are not kept.
const VALIDATOR_BYTES_MAX: usize = 256;

const BLOCK_BYTES: usize = 256 * 1024;

/// What an earlier copy left.
#[derive(Debug)]
pub(crate) struct Standing {
    /// Where it stands.
    pub(crate) path: PathBuf,
    /// Its length in bytes.
    pub(crate) have: u64,
}

impl Standing {
    /// Looks for it. `in_place` says that no part is made.
    pub(crate) fn find(target: &Path, in_place: bool) -> Option<Self> {
        let part = part_name(target);
        let there = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            found.is_file().then_some(found.len())
        };
        if !in_place && let Some(have) = there(&part) {
            return Some(Self { path: part, have });
        }
        there(target).map(|have| Self { path: target.to_owned(), have })
    }

    /// What [`keep_validator`] kept.
    pub(crate) fn validator(&self) -> Option<String> {
        let mut value = vec![0; VALIDATOR_BYTES_MAX];
        let len = rustix::fs::getxattr(&self.path, VALIDATOR, &mut value[..]).ok()?;
        value.truncate(len);
        String::from_utf8(value).ok()
    }

    /// Makes a target that is a part one by name, so that it can be gone on with.
    pub(crate) fn become_part(&self, target: &Path) -> Result<(), CopyError> {
        let part = part_name(target);
        if self.path == part {
            return Ok(());
        }
        std::fs::rename(&self.path, &part)
            .map_err(|error| CopyError::open("rename", self.path.display(), error))
    }

    /// Compares the bytes from `from` to its end with what `reader` yields.
    ///
    /// The outer error is of reading, the inner answer the first byte that differs.
    pub(crate) fn compare(
        &self,
        drive: &Drive<'_>,
        from: u64,
        reader: &mut dyn Read,
    ) -> Result<Option<u64>, Stop> {
        let file = File::open(&self.path).map_err(|e| Stop::call("opening what is there", e))?;
        let mut ours = Stretch { file: &file, at: from, end: self.have };
        let (mut one, mut other) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
        loop {
            let at = ours.at;
            let n = ours.read(&mut one).map_err(|e| Stop::call("reading what is there", e))?;
            if n == 0 {
                return Ok(None);
            }
            reader
                .read_exact(&mut other[..n])
                .map_err(|error| failed(drive, "reading the source to compare", error))?;
            if let Some(signal) = drive.interrupt.signal() {
                return Err(Stop::Signal(signal));
            }
            let pairs = one[..n].iter().zip(&other[..n]);
            if let Some(wrong) = pairs.into_iter().position(|(one, other)| one != other) {
                return Ok(Some(at + wrong as u64));
            }
        }
    }
}

/// Keeps a server's validator with a part, to be compared when it is gone on with.
///
/// A file system without extended attributes keeps none; then the overlap alone is compared.
pub(crate) fn keep_validator(part: &File, validator: &str) {
    if validator.len() > VALIDATOR_BYTES_MAX {
        return;
    }
    let kept = rustix::fs::fsetxattr(part, VALIDATOR, validator.as_bytes(), XattrFlags::empty());
    debug_assert_ne!(kept, Err(Errno::BADF), "a part is open");
}
