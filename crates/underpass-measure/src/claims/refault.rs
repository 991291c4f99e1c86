//! Whether a mapped page that was evicted comes back through a fault.
//!
//! Advice to drop a file's pages leaves mapped ones where they are; taking them out needs
//! `MADV_PAGEOUT` or a shortage. One major fault may bring many pages back: the disk is read
//! ahead, and what it brought is then mapped by minor faults.
//!
//! Source: madvise(2), `MADV_PAGEOUT`; posix_fadvise(2).

use std::io;

use rustix::fs::Advice;
use underpass_sys::look;
use underpass_sys::region::Access;

use crate::claims::rig::{self, Rig};
use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::usage;

const MAPPED_BYTES: u64 = 4 << 20;

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    let cached = || rig.pages(MAPPED_BYTES).map(|pages| pages.cached);
    rig.specimen.file.sync_all()?;
    let region = rig.map(MAPPED_BYTES, Access::Read)?;
    let first = rig::sum(&region);
    let before = cached()?;
    let range = std::num::NonZeroU64::new(MAPPED_BYTES);
    rustix::fs::fadvise(&rig.specimen.file, 0, range, Advice::DontNeed)?;
    let advised = cached()?;
    look::page_out(&region)?;
    let paged_out = cached()?;
    let (again, spent) = usage::in_a_fresh_thread(|| Ok::<_, io::Error>(rig::sum(&region)))?;
    let back = cached()?;
    if first != again {
        return Err(io::Error::other("the pages came back with other bytes"));
    }
    let mut diary = Diary::default();
    diary.count("mapped and looked at: pages in the cache", before, Unit::Pages);
    let what = "after POSIX_FADV_DONTNEED, which spares mapped pages";
    diary.count(what, advised, Unit::Pages);
    diary.count("after MADV_PAGEOUT", paged_out, Unit::Pages);
    diary.count("looked at again: major faults", spent.major_faults, Unit::Faults);
    diary.count("looked at again: minor faults", spent.minor_faults, Unit::Faults);
    diary.count("looked at again: pages in the cache", back, Unit::Pages);
    Ok(diary.shown(
        judge([before, paged_out, back], spent.major_faults),
        format!(
            "The bytes were the same as before: {back} pages, of which {} began with a major \
             fault; read-ahead fetched the others and minor faults mapped them. To the program a \
             load takes as long as the disk does, and it can do nothing meanwhile.",
            spent.major_faults
        ),
    ))
}

/// By the pages in the cache before and after they were taken out, and after the second look.
fn judge([before, left, back]: [u64; 3], major_faults: u64) -> Verdict {
    if left * 2 > before {
        return Verdict::Unavailable(format!("{left} of {before} pages cannot be evicted here"));
    }
    Verdict::of(major_faults > 0 && back > left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_major_fault_after_an_eviction_shows_it() {
        assert_eq!(judge([1024, 0, 1024], 1), Verdict::Holds);
        assert_eq!(judge([1024, 0, 1024], 0), Verdict::DoesNotHold);
        let verdict = judge([1024, 1024, 1024], 0);
        assert!(matches!(verdict, Verdict::Unavailable(_)));
        let mut diary = Diary::default();
        diary.count("pages", 1024, Unit::Pages);
        let shown = diary.shown(verdict, "A load takes as long as the disk does.");
        assert_eq!((shown.lines.len(), shown.explanation.as_str()), (1, ""));
    }
}
