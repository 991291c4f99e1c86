//! Whether a mapping goes around the page cache: it is made of it.
//!
//! A file that is nowhere in the cache is read through a mapping; afterwards the cache is asked,
//! and read(2) must find every byte there without a disk. A byte stored through the mapping must
//! be what read(2) returns the next moment.
//!
//! Source: mmap(2), `MAP_SHARED`; `Documentation/admin-guide/mm/concepts.rst`, "Page cache".

use std::io;
use std::os::unix::fs::FileExt;

use underpass_sys::region::Access;

use crate::cache::PAGE_BYTES;
use crate::claims::rig::{self, FILE_BYTES, Rig};
use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::usage;

const STORED: [u8; 8] = *b"through!";

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    rig.empty()?;
    let (mapped_sum, mapped) = usage::in_a_fresh_thread(|| {
        Ok::<_, io::Error>(rig::sum(&*rig.map(FILE_BYTES, Access::Read)?))
    })?;
    let cached = rig.pages(FILE_BYTES)?.cached;
    let (read_sum, read) = usage::in_a_fresh_thread(|| rig.read_and_sum())?;
    let is_seen = is_a_store_seen(rig)?;
    if mapped_sum != read_sum {
        return Err(io::Error::other("the mapping and read(2) differ"));
    }
    let mut diary = Diary::default();
    diary.count("pages in the cache before", 0, Unit::Pages);
    diary.fetched("fetched from the disk by loads from a mapping", &mapped);
    diary.count("pages in the cache afterwards", cached, Unit::Pages);
    diary.fetched("fetched from the disk by read(2) after that", &read);
    let answer = if is_seen { "the new word" } else { "the old word" };
    diary.answer("a word stored through a mapping, read(2) the next moment", answer);
    Ok(diary.shown(
        judge(cached, read.disk_read_bytes.unwrap_or(0), is_seen),
        "A mapping shows the pages of the page cache themselves: loads bring them in, read(2) then \
         finds them, and a store is in the file at once. What goes around is the copy into a \
         buffer. Only O_DIRECT goes around the cache.",
    ))
}

fn is_a_store_seen(rig: &Rig<'_>) -> io::Result<bool> {
    let mut before = [0; 8];
    rig.specimen.file.read_exact_at(&mut before, 0)?;
    let region = rig.map(PAGE_BYTES, Access::ReadWrite)?;
    region.copy_in(0, &STORED);
    let mut seen = [0; 8];
    rig.specimen.file.read_exact_at(&mut seen, 0)?;
    region.copy_in(0, &before);
    Ok(seen == STORED)
}

fn judge(cached: u64, fetched_again: u64, is_seen: bool) -> Verdict {
    let went_through = cached * PAGE_BYTES >= FILE_BYTES / 2;
    Verdict::of(!(went_through && fetched_again < FILE_BYTES / 2 && is_seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_left_empty_would_be_a_way_around_it() {
        assert_eq!(judge(8192, 0, true), Verdict::DoesNotHold);
        assert_eq!(judge(0, 32 << 20, true), Verdict::Holds);
        assert_eq!(judge(8192, 0, false), Verdict::Holds);
    }
}
