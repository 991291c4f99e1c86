//! Mapped bytes looked at where they are, and mapped pages given back.
//!
//! A load from a mapping may find bytes that somebody else is changing, so no slice is made:
//! each word is one volatile load, which the compiler neither merges nor leaves out. The same
//! loads serve memory of the process, so that both can be looked at with equal work.
//!
//! Source: mmap(2), madvise(2).

use std::marker::PhantomData;
use std::ops::Range;
use std::ptr;

use rustix::io::Errno;
use rustix::mm::Advice;

use crate::arena::PAGE_LEN;
use crate::region::Region;

const WORD_LEN: usize = size_of::<u64>();

/// Words of memory in their order, each loaded once, in the machine's byte order.
///
/// Bytes that a file lost read as zeros: ask [`Region::broken_at`] afterwards.
#[derive(Debug, Clone)]
pub struct Words<'a> {
    next: *const u64,
    left: usize,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> Words<'a> {
    /// The words of `bytes`; `None` unless they start on a word's boundary and are whole words.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        Self::at(bytes.as_ptr(), bytes.len())
    }

    /// The words of bytes `range` of a region, counted from its start; `None` unless the range
    /// lies within it, starts on a word's boundary and is whole words.
    #[must_use]
    pub fn of_region(region: &'a Region, range: Range<usize>) -> Option<Self> {
        let len = range.end.checked_sub(range.start)?;
        let start = ptr::with_exposed_provenance(region.address() + range.start);
        (range.end <= region.len()).then(|| Self::at(start, len))?
    }

    fn at(start: *const u8, len: usize) -> Option<Self> {
        let next = start.cast::<u64>();
        let is_whole = next.is_aligned() && len.is_multiple_of(WORD_LEN);
        is_whole.then_some(Self { next, left: len / WORD_LEN, memory: PhantomData })
    }
}

impl Iterator for Words<'_> {
    type Item = u64;

    #[inline]
    fn next(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: ptr::read_volatile, "valid for reads", aligned: `left` words from `next` are
        // in memory borrowed for 'a, the process's own or, by mmap(2), a readable mapping.
        let word = unsafe { ptr::read_volatile(self.next) };
        self.next = self.next.wrapping_add(1);
        Some(word)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// Takes the region's pages out of memory: madvise(2), `MADV_PAGEOUT`, Linux 5.4.
///
/// What it answers says nothing of how many pages went: pages that are dirty or that other
/// processes map may stay, and so do all pages of a file that the caller neither owns nor may
/// write. Ask [`cachestat`](crate::cachestat).
///
/// # Errors
///
/// `EINVAL` before Linux 5.4, and for locked pages.
pub fn page_out(region: &Region) -> Result<(), Errno> {
    let start = region.address() - region.address() % PAGE_LEN;
    let len = region.address() - start + region.len();
    let pages = ptr::with_exposed_provenance_mut(start);
    // SAFETY: madvise(2), MADV_PAGEOUT: pages leave memory and come back with the same bytes
    // when touched; the range is mapped while `region` lives.
    unsafe { rustix::mm::madvise(pages, len, Advice::LinuxPageOut) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::region::Access;

    fn region(file: &std::fs::File, len: usize, access: Access) -> Arc<Region> {
        Region::map(file.try_clone().unwrap().into(), 0, len, access, Box::new(())).unwrap()
    }

    #[test]
    fn words_of_a_mapping_are_those_of_the_file() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let region = region(&file, 5_000, Access::Read);
        let words: Vec<u64> = Words::of_region(&region, 4_088..4_104).unwrap().collect();
        let wanted: [[u8; 8]; 2] =
            [[72, 73, 74, 75, 76, 77, 78, 79], [80, 81, 82, 83, 84, 85, 86, 87]];
        assert_eq!(words, wanted.map(u64::from_ne_bytes));
        assert!(Words::of_region(&region, 4_088..5_008).is_none(), "past the end");
        assert!(Words::of_region(&region, 4..12).is_none(), "between words");
        assert!(Words::of_region(&region, 0..12).is_none(), "half a word");
    }

    #[test]
    fn words_of_memory_must_be_aligned_and_whole() {
        let bytes = [7_u8; 64];
        let start = bytes.as_ptr().align_offset(WORD_LEN);
        let whole = Words::of(&bytes[start..start + 16]).unwrap();
        assert_eq!(whole.size_hint(), (2, Some(2)));
        assert_eq!(whole.sum::<u64>(), 2 * u64::from_ne_bytes([7; 8]));
        assert!(Words::of(&bytes[start + 1..start + 17]).is_none());
        assert!(Words::of(&bytes[start..start + 17]).is_none());
    }

    #[test]
    fn stored_pages_that_are_paged_out_come_back_as_they_were() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * 4_096).unwrap();
        let region = region(&file, 8 * 4_096, Access::ReadWrite);
        for page in 0..8_u8 {
            region.copy_in(usize::from(page) * 4_096, &[page; 8]);
        }
        region.sync().unwrap();
        match page_out(&region) {
            Ok(()) => {}
            Err(errno) => assert_eq!(errno, Errno::INVAL, "only an old kernel may refuse"),
        }
        for page in 0..8_u8 {
            let at = usize::from(page) * 4_096;
            let word = Words::of_region(&region, at..at + 8).unwrap().next();
            assert_eq!(word, Some(u64::from_ne_bytes([page; 8])));
        }
    }
}
