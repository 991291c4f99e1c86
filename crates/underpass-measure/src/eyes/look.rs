//! The looking itself: the same loops over words, whether of a buffer or of a mapping.
//!
//! Nothing here may be quicker for one way than for the other but what is to be measured: both
//! load every word by [`Words`], and both look at the same places in the same order.
//!
//! Source: read(2), mmap(2).

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use underpass_sys::look::Words;
use underpass_sys::region::{Access, Region};

use crate::cache::PAGE_BYTES;
use crate::chance::Chance;
use crate::eyes::{Order, Task, Way};
use crate::terms::Cache;

/// Bytes of a call in sequence.
const STRIDE_BYTES: u64 = 64 << 10;

const WORD_BYTES: u64 = 8;

/// Places looked at in random order: enough to time them, and few enough for a cold disk.
const WARM_PLACES_MAX: u64 = 32_768;
const COLD_PLACES_MAX: u64 = 512;

/// The word that is searched for, which is in no ordinary file.
const SOUGHT: u64 = 0x5f3a_91c7_e06d_24b8;

/// Which bytes are looked at, in order.
#[derive(Debug)]
pub(super) struct Places {
    task: Task,
    starts: Vec<u64>,
    /// Bytes a place, but for the last of a file.
    piece: u64,
    /// End of the last.
    end: u64,
}

/// What the looking came to; the same for both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    sum: u64,
    found: u64,
    /// Whether the file had fewer bytes than it should.
    pub(super) is_broken: bool,
}

impl Places {
    /// The places in the first `bytes` of a file, a multiple of the page size.
    pub(super) fn new(task: Task, order: Order, cache: Cache, bytes: u64) -> Self {
        let max = match cache {
            Cache::Warm => WARM_PLACES_MAX,
            Cache::Cold => COLD_PLACES_MAX,
        };
        let (starts, piece) = match (task, order) {
            (_, Order::Sequential) => ((0..bytes).step_by(64 << 10).collect(), STRIDE_BYTES),
            (Task::Sum, Order::Random) => {
                let pages = shuffled(bytes / PAGE_BYTES, max);
                (pages.into_iter().map(|page| page * PAGE_BYTES).collect(), PAGE_BYTES)
            }
            (Task::Search, Order::Random) => {
                let mut random = Chance::from_state(1);
                let words = bytes / WORD_BYTES;
                let starts = (0..max).map(|_| random.below(words) * WORD_BYTES).collect();
                (starts, WORD_BYTES)
            }
        };
        Self { task, starts, piece, end: bytes }
    }

    /// All of them in one piece.
    pub(super) fn whole(bytes: u64) -> Self {
        Self { task: Task::Sum, starts: vec![0], piece: bytes, end: bytes }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.starts.len() as u64
    }

    /// Bytes looked at, in sum.
    pub(super) fn bytes(&self) -> u64 {
        self.iter().map(|(_, len)| len as u64).sum()
    }

    /// Bytes of the buffer that one is read into.
    pub(super) const fn piece_bytes(&self) -> u64 {
        self.piece
    }

    /// Start and length of each.
    fn iter(&self) -> impl Iterator<Item = (u64, usize)> {
        self.starts.iter().map(|&start| {
            let len = self.piece.min(self.end - start);
            (start, usize::try_from(len).expect("a piece is in memory"))
        })
    }
}

impl Answer {
    const fn none() -> Self {
        Self { sum: 0, found: 0, is_broken: false }
    }

    #[inline]
    fn add(&mut self, task: Task, words: Words<'_>) {
        match task {
            Task::Sum => self.sum = words.fold(self.sum, u64::wrapping_add),
            // A look-up's word is what it was after; comparing is all there is to be done.
            Task::Search => {
                for word in words {
                    self.found += u64::from(word == SOUGHT);
                }
            }
        }
    }
}

/// Looks at the places of the file; `at_end` is called while its memory is still in use.
///
/// # Errors
///
/// Those of read(2), mmap(2) and `at_end`.
pub(super) fn at(
    file: &File,
    way: Way,
    places: &Places,
    at_end: impl FnOnce() -> io::Result<()>,
) -> io::Result<Answer> {
    match way {
        Way::Read | Way::Whole => read(file, places, at_end),
        Way::Mapping => mapping(file, places, at_end),
    }
}

fn read(
    file: &File,
    places: &Places,
    at_end: impl FnOnce() -> io::Result<()>,
) -> io::Result<Answer> {
    let piece = usize::try_from(places.piece).map_err(io::Error::other)?;
    let mut memory = vec![0; piece + size_of::<u64>()];
    let start = memory.as_ptr().align_offset(size_of::<u64>());
    let buffer = &mut memory[start..start + piece];
    let mut answer = Answer::none();
    for (at, len) in places.iter() {
        let n = file.read_at(&mut buffer[..len], at)?;
        answer.is_broken |= n < len;
        answer.add(places.task, Words::of(&buffer[..len]).expect("the buffer is aligned"));
    }
    at_end()?;
    Ok(answer)
}

fn mapping(
    file: &File,
    places: &Places,
    at_end: impl FnOnce() -> io::Result<()>,
) -> io::Result<Answer> {
    let len = usize::try_from(places.end).map_err(io::Error::other)?;
    let region = Region::map(file.try_clone()?.into(), 0, len, Access::Read, Box::new(()))?;
    let mut answer = Answer::none();
    for (at, len) in places.iter() {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        answer.add(places.task, words(&region, at..at + len));
    }
    at_end()?;
    answer.is_broken = region.broken_at().is_some();
    Ok(answer)
}

fn words(region: &Region, range: Range<usize>) -> Words<'_> {
    Words::of_region(region, range).expect("places are words within the region")
}

/// The numbers below `count` in a random order, the first `max` of them: the same in every run, and
/// no pattern that read-ahead could find.
fn shuffled(count: u64, max: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).collect();
    let mut random = Chance::from_state(2);
    for at in (1..numbers.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1)).expect("it is below a usize");
        numbers.swap(at, other);
    }
    numbers.truncate(usize::try_from(max).unwrap_or(usize::MAX));
    numbers
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sequential_places_cover_the_file_once_and_random_pages_are_all_different() {
        let places = Places::new(Task::Sum, Order::Sequential, Cache::Warm, 150_000 / 4096 * 4096);
        let all: Vec<_> = places.iter().collect();
        assert_eq!(all, [(0, 65_536), (65_536, 65_536), (131_072, 16_384)]);
        let places = Places::new(Task::Sum, Order::Random, Cache::Warm, 40 * 4096);
        let pages: BTreeSet<_> = places.iter().collect();
        assert_eq!((places.count(), pages.len()), (40, 40));
        assert_eq!(places.bytes(), 40 * 4096);
        let cold = Places::new(Task::Sum, Order::Random, Cache::Cold, 4096 * 4096);
        assert_eq!(cold.count(), COLD_PLACES_MAX);
    }

    #[test]
    fn both_ways_see_what_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        let mut bytes = vec![0; 20 * 4096];
        bytes[8..16].copy_from_slice(&5_u64.to_ne_bytes());
        bytes[81_912..81_920].copy_from_slice(&SOUGHT.to_ne_bytes());
        file.write_all_at(&bytes, 0).unwrap();
        for way in [Way::Read, Way::Mapping] {
            for order in [Order::Sequential, Order::Random] {
                let places = Places::new(Task::Sum, order, Cache::Warm, 20 * 4096);
                let sum = at(&file, way, &places, || Ok(())).unwrap();
                assert_eq!(sum.sum, SOUGHT.wrapping_add(5), "{way:?} {order:?}");
            }
            let places = Places::new(Task::Search, Order::Sequential, Cache::Warm, 20 * 4096);
            assert_eq!(at(&file, way, &places, || Ok(())).unwrap().found, 1, "{way:?}");
        }
    }

    #[test]
    fn a_file_that_became_shorter_is_broken_both_ways() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * 4096).unwrap();
        let places = Places::new(Task::Sum, Order::Random, Cache::Warm, 16 * 4096);
        for way in [Way::Read, Way::Mapping] {
            assert!(at(&file, way, &places, || Ok(())).unwrap().is_broken, "{way:?}");
        }
    }
}
