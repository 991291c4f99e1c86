//! The file that claims are measured on, and what their measurements share.
//!
//! The file has no name: when the process ends, however it does, it is gone. A separate
//! process opens it through /proc.
//!
//! Source: open(2), `O_TMPFILE`; proc(5), `/proc/pid/fd`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use underpass_sys::look::Words;
use underpass_sys::region::{Access, Region};

use crate::claims::Given;
use crate::eyes::Eyes;

/// Bytes of the file: several times the processor's caches, and read in a moment by any disk.
pub(super) const FILE_BYTES: u64 = 64 << 20;

/// Bytes of each call where a file is moved or read in pieces.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// What measurements use.
pub(super) struct Rig<'a> {
    pub(super) given: &'a Given<'a>,
    /// [`FILE_BYTES`] of words that are all different.
    pub(super) file: File,
    /// What was seen of the file, if it was measured here, or why it was not.
    pub(super) eyes: Result<Eyes, String>,
}

impl<'a> Rig<'a> {
    pub(super) fn new(given: &'a Given<'a>) -> io::Result<Self> {
        let file = tempfile::tempfile_in(given.directory)?;
        let mut piece = vec![0; 1 << 20];
        let mut word = 0_u64;
        for at in (0..FILE_BYTES).step_by(piece.len()) {
            for bytes in piece.chunks_exact_mut(8) {
                word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            file.write_all_at(&piece, at)?;
        }
        file.sync_all()?;
        Ok(Self { given, file, eyes: Err("nothing was looked at".into()) })
    }

    /// A path by which another process of this user opens the file.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// Maps the file's first `bytes`.
    pub(super) fn map(&self, bytes: usize, access: Access) -> io::Result<Arc<Region>> {
        map(&self.file, bytes, access)
    }
}

/// Maps the first `bytes` of a file.
pub(super) fn map(file: &File, bytes: usize, access: Access) -> io::Result<Arc<Region>> {
    Ok(Region::map(file.try_clone()?.into(), 0, bytes, access, Box::new(()))?)
}

/// Loads every word of a region and adds them up.
pub(super) fn sum(region: &Region) -> u64 {
    Words::of_region(region, 0..region.len() / 8 * 8).map_or(0, |words| add(words))
}

/// Adds words up.
pub(super) fn add(words: Words<'_>) -> u64 {
    words.fold(0, u64::wrapping_add)
}

/// Memory for words, which [`Words::of`] takes.
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(super) fn new(len: usize) -> Self {
        let memory = vec![0; len + size_of::<u64>()];
        let start = memory.as_ptr().align_offset(size_of::<u64>());
        Self { memory, start, len }
    }

    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

/// Reads the file's first `bytes` into `buffer`, again and again, and adds its words up.
pub(super) fn read_and_sum(file: &File, bytes: u64, buffer: &mut [u8]) -> io::Result<u64> {
    let mut sum = 0_u64;
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(buffer.len());
        file.read_exact_at(&mut buffer[..len], at)?;
        sum = sum.wrapping_add(Words::of(&buffer[..len]).map_or(0, add));
        at += len as u64;
    }
    Ok(sum)
}

/// Time that `work` takes, in nanoseconds: the median of several batches of `times` each.
pub(super) fn nanoseconds_each(times: u32, mut work: impl FnMut()) -> f64 {
    let mut batches: Vec<Duration> = (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..times {
                work();
            }
            start.elapsed()
        })
        .collect();
    batches.sort_unstable();
    batches[BATCHES / 2].as_secs_f64() * 1e9 / f64::from(times)
}

const BATCHES: usize = 21;
