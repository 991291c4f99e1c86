//! Copies a file to a file, and keeps its holes.
//!
//! What `SEEK_DATA` finds is moved; a hole is left out, and the length is set at the end. The
//! first piece is offered to the file system as a reflink; if it declines, the pieces go by
//! copy_file_range(2), which shares extents or copies inside the kernel.
//!
//! tmpfs looks at each page to answer `SEEK_HOLE`, which takes 2 % of the time of the copy: a file
//! there that has a block for each of its pages has no holes, and is not asked.
//!
//! Source: lseek(2), "Seeking file data and holes"; ioctl_ficlonerange(2); copy_file_range(2).

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use underpass::{Error, ErrorKind, Method, Policy, Sink, Stability};

use crate::drive::{Drive, file_source};
use crate::stop::Stop;

/// statfs(2), `TMPFS_MAGIC`.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

/// Copies `len` bytes at `from` of `source` to `at` of `sink`, which has only holes or nothing
/// after that; returns how many of the bytes are holes.
pub(crate) fn copy(
    drive: &mut Drive<'_>,
    (source, from): (&File, u64),
    (sink, at): (&File, u64),
    len: u64,
) -> Result<u64, Stop> {
    let end = from + len;
    let look = || source.metadata().map_err(Stop::when("looking at the source"));
    let before = look()?;
    let wanted = drive.policy;
    let mut place = from;
    let mut holes = 0;
    if drive.policy == Policy::Auto {
        drive.policy = Policy::Prefer(Method::Clone);
    }
    let is_dense = is_dense_in_memory(source, &before);
    while place < end {
        let (start, stop) = match is_dense {
            true => (place, end),
            false => data(source, place, end).map_err(Stop::when("seeking data"))?,
        };
        holes += start - place;
        drive.done += start - place;
        if start < stop {
            let moved = file_source(source, start, stop - start)
                .and_then(|data| drive.transfer(data, Sink::file(sink, at + (start - from))));
            if drive.ledger.of(Method::Clone).bytes == 0 {
                drive.policy = wanted;
            }
            if let Err(stop) = moved {
                drive.policy = wanted;
                return Err(stop);
            }
        }
        place = stop;
    }
    drive.policy = wanted;
    let after = look()?;
    let fail = |kind| {
        let (moved, wanted) = (drive.done, Some(drive.done));
        let mut error = Error::new(Method::Copy, kind);
        (error.moved, error.wanted) = (moved, wanted);
        Err(Stop::Engine(error))
    };
    // A source that is truncated after its last data was found looks as if it ended in a hole.
    if after.len() < end {
        return fail(ErrorKind::Truncated { missing: end - after.len() });
    }
    let is_written = (before.len(), before.modified().ok()) != (after.len(), after.modified().ok());
    if is_written && drive.stability != Stability::None {
        return fail(ErrorKind::Changed);
    }
    let size = sink.metadata().map_err(Stop::when("looking at the sink"))?.len();
    if size < at + len {
        sink.set_len(at + len).map_err(Stop::when("setting the length of the sink"))?;
    }
    Ok(holes)
}

fn is_dense_in_memory(file: &File, found: &Metadata) -> bool {
    // stat(2): blocks of 512 bytes.
    let is_dense = found.blocks().saturating_mul(512) >= found.len();
    is_dense && rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == TMPFS)
}

/// The next range of data at or after `place`; empty at `end` if only a hole is left.
fn data(file: &File, place: u64, end: u64) -> Result<(u64, u64), Errno> {
    let start = match rustix::fs::seek(file, SeekFrom::Data(place)) {
        Ok(start) => start.min(end),
        // lseek(2), ENXIO: a hole to the end of the file.
        Err(Errno::NXIO) => return Ok((end, end)),
        // lseek(2), EINVAL: the file system has no holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((place, end)),
        Err(errno) => return Err(errno),
    };
    match rustix::fs::seek(file, SeekFrom::Hole(start)) {
        Ok(stop) => Ok((start, stop.clamp(start, end))),
        // The file was truncated meanwhile: the transfer finds out by how much.
        Err(Errno::NXIO) => Ok((start, end)),
        Err(errno) => Err(errno),
    }
}
