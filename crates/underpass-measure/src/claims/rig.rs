//! The file that claims are measured on, and what their measurements share.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use underpass_sys::cachestat::Pages;
use underpass_sys::look::Words;
use underpass_sys::region::{Access, Region};

use crate::cache;
use crate::compare::{Program, Specimen};

/// Bytes of the file: read in a moment by any disk, and more than a control group that is short
/// of memory holds.
pub(crate) const FILE_BYTES: u64 = 24 << 20;

/// What measurements use.
pub(super) struct Rig<'a> {
    pub(super) program: &'a Program,
    /// A file of [`FILE_BYTES`].
    pub(super) specimen: &'a Specimen,
}

impl Rig<'_> {
    /// Maps the file's first `bytes`.
    pub(super) fn map(&self, bytes: u64, access: Access) -> io::Result<Arc<Region>> {
        let len = usize::try_from(bytes).map_err(io::Error::other)?;
        let file = self.specimen.file.try_clone()?;
        Ok(Region::map(file.into(), 0, len, access, Box::new(()))?)
    }

    /// Takes the file out of the page cache.
    pub(super) fn empty(&self) -> io::Result<()> {
        cache::empty(&self.specimen.file, FILE_BYTES)?.map_err(io::Error::other)
    }

    /// What the page cache holds of the file's first `bytes`.
    pub(super) fn pages(&self, bytes: u64) -> io::Result<Pages> {
        let pages = cache::pages(&self.specimen.file, bytes)?;
        pages.ok_or_else(|| io::Error::other("cachestat(2) needs Linux 6.5"))
    }

    /// Reads the file with read(2) and adds its words up.
    pub(super) fn read_and_sum(&self) -> io::Result<u64> {
        let (mut sum, mut buffer) = (0_u64, vec![0; 64 << 10]);
        for at in (0..FILE_BYTES).step_by(buffer.len()) {
            self.specimen.file.read_exact_at(&mut buffer, at)?;
            let words = buffer.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word));
            sum = words.fold(sum, u64::wrapping_add);
        }
        Ok(sum)
    }
}

/// Loads every word of a region and adds them up.
pub(super) fn sum(region: &Region) -> u64 {
    let words = Words::of_region(region, 0..region.len() / 8 * 8).into_iter().flatten();
    words.fold(0, u64::wrapping_add)
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
