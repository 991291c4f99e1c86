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
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::figure::Figure;
use crate::{cache, usage};

const MAPPED_BYTES: u64 = 4 << 20;

/// What was counted.
#[derive(Debug, Clone, Copy)]
struct Seen {
    cached_before: u64,
    cached_paged_out: u64,
    major_faults: u64,
    cached_again: u64,
}

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    let bytes = MAPPED_BYTES;
    let cached = |rig: &Rig<'_>| -> io::Result<Option<u64>> {
        Ok(cache::pages(&rig.specimen.file, bytes)?.map(|pages| pages.cached))
    };
    rig.specimen.file.sync_all()?;
    let region = rig.map(MAPPED_BYTES, Access::Read)?;
    let first = rig::sum(&region);
    let Some(cached_before) = cached(rig)? else {
        return Ok(Shown::unavailable("cachestat(2) needs Linux 6.5"));
    };
    rustix::fs::fadvise(&rig.specimen.file, 0, std::num::NonZeroU64::new(bytes), Advice::DontNeed)?;
    let cached_advised = cached(rig)?.unwrap_or(0);
    look::page_out(&region)?;
    let cached_paged_out = cached(rig)?.unwrap_or(0);
    let (again, spent) = usage::in_a_fresh_thread(|| Ok::<_, io::Error>(rig::sum(&region)))?;
    let cached_again = cached(rig)?.unwrap_or(0);
    if first != again {
        return Err(io::Error::other("the pages came back with other bytes"));
    }
    let seen =
        Seen { cached_before, cached_paged_out, major_faults: spent.major_faults, cached_again };
    let pages = |count| (Figure::count(count), Unit::Pages);
    let lines = [
        ("mapped and looked at: pages in the cache", pages(cached_before)),
        ("after POSIX_FADV_DONTNEED, which spares mapped pages", pages(cached_advised)),
        ("after MADV_PAGEOUT", pages(cached_paged_out)),
        ("looked at again: major faults", (Figure::count(spent.major_faults), Unit::Faults)),
        ("looked at again: minor faults", (Figure::count(spent.minor_faults), Unit::Faults)),
        ("looked at again: pages in the cache", pages(cached_again)),
    ];
    let lines = lines.map(|(what, (figure, unit))| Line::new(what, figure, unit)).into();
    Ok(Shown {
        lines,
        verdict: judge(&seen),
        explanation: format!(
            "The bytes were the same as before: {cached_again} pages, of which {} began with a \
             major fault; read-ahead fetched the others and minor faults mapped them. To the \
             program a load takes as long as the disk does, and it can do nothing meanwhile.",
            spent.major_faults
        ),
    })
}

fn judge(seen: &Seen) -> Verdict {
    if seen.cached_paged_out * 2 > seen.cached_before {
        let Seen { cached_paged_out: left, cached_before: all, .. } = seen;
        return Verdict::Unavailable(format!("{left} of {all} pages cannot be evicted here"));
    }
    let came_back = seen.cached_again > seen.cached_paged_out;
    if seen.major_faults > 0 && came_back { Verdict::Holds } else { Verdict::DoesNotHold }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_major_fault_after_an_eviction_shows_it() {
        let seen = |cached_paged_out, major_faults, cached_again| Seen {
            cached_before: 1024,
            cached_paged_out,
            major_faults,
            cached_again,
        };
        assert_eq!(judge(&seen(0, 1, 1024)), Verdict::Holds);
        assert_eq!(judge(&seen(0, 0, 1024)), Verdict::DoesNotHold);
        assert!(matches!(judge(&seen(1024, 0, 1024)), Verdict::Unavailable(_)));
    }
}
