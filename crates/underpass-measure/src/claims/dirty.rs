//! Whether pages that were changed through a mapping reach the disk by writeback.
//!
//! A store marks its page dirty and does nothing else; unmapping writes nothing either. The page
//! cache counts dirty pages, and a read that goes around it shows what the disk has.
//!
//! Source: msync(2), fsync(2), open(2) (`O_DIRECT`);
//! `Documentation/admin-guide/sysctl/vm.rst`, `dirty_expire_centisecs`.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use underpass_sys::region::{Access, Region};

use crate::cache::PAGE_BYTES;
use crate::claims::rig::Rig;
use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::figure::{Figure, float};

const STORED_PAGES: usize = 256;

const STORED_BYTES: u64 = STORED_PAGES as u64 * PAGE_BYTES;

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    rig.specimen.file.sync_all()?;
    let waiting = || rig.pages(STORED_BYTES).map(|pages| pages.dirty + pages.writeback);
    let region = rig.map(STORED_BYTES, Access::ReadWrite)?;
    let before = waiting()?;
    store(&region, *b"written1");
    let stored = waiting()?;
    let start = Instant::now();
    region.sync()?;
    let msync = start.elapsed();
    let synced = waiting()?;
    store(&region, *b"written2");
    drop(region);
    let unmapped = waiting()?;
    let start = Instant::now();
    rig.specimen.file.sync_data()?;
    let fdatasync = start.elapsed();
    let flushed = waiting()?;
    let on_disk = on_disk(rig);
    let mut diary = Diary::default();
    diary.count("dirty pages before", before, Unit::Pages);
    diary.count("dirty pages after a store into each of 256", stored, Unit::Pages);
    diary.count("dirty pages after msync(2)", synced, Unit::Pages);
    diary.count("dirty pages after more stores and munmap(2)", unmapped, Unit::Pages);
    diary.count("dirty pages after fdatasync(2)", flushed, Unit::Pages);
    let time = |time: Duration| Figure::Measured(time.as_secs_f64() * 1e9);
    diary.figure("time msync(2) waited for the disk", &time(msync), Unit::Nanoseconds);
    diary.figure("time fdatasync(2) waited", &time(fdatasync), Unit::Nanoseconds);
    let answer = match &on_disk {
        Ok(true) => "the words stored last".to_owned(),
        Ok(false) => "other words".to_owned(),
        Err(error) => format!("not to be read so: {error}"),
    };
    diary.answer("what the disk has then, read with O_DIRECT", answer);
    diary.figure("age at which the kernel writes by itself", &expiry(), Unit::Nanoseconds);
    Ok(diary.shown(
        judge([stored, synced, unmapped, flushed], on_disk.unwrap_or(true)),
        "A store makes its page dirty in the page cache. msync or fsync has it written and waits; \
         munmap writes nothing, and the page stays dirty until somebody asks or it is old enough \
         for the kernel's own writeback.",
    ))
}

fn store(region: &Region, word: [u8; 8]) {
    for page in 0..STORED_PAGES {
        region.copy_in(page * 4096, &word);
    }
}

/// Whether the disk has the words stored last.
fn on_disk(rig: &Rig<'_>) -> io::Result<bool> {
    let path = format!("/proc/self/fd/{}", rig.specimen.file.as_raw_fd());
    let direct = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).map_err(io::Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(direct).open(path)?;
    // O_DIRECT wants memory aligned as the disk's blocks are.
    let mut memory = vec![0; 2 * 4096];
    let start = memory.as_ptr().align_offset(4096);
    let page = &mut memory[start..start + 4096];
    std::os::unix::fs::FileExt::read_exact_at(&file, page, STORED_BYTES - PAGE_BYTES)?;
    Ok(page.starts_with(b"written2"))
}

/// `vm.dirty_expire_centisecs`, in nanoseconds.
fn expiry() -> Figure {
    let text = std::fs::read_to_string("/proc/sys/vm/dirty_expire_centisecs");
    let centiseconds = text
        .map_err(|error| error.to_string())
        .and_then(|text| text.trim().parse::<u64>().map_err(|error| error.to_string()));
    centiseconds.map_or_else(Figure::Unavailable, |age| Figure::Measured(float(age) * 1e7))
}

/// By the dirty pages after each step.
fn judge([stored, synced, unmapped, flushed]: [u64; 4], is_there: bool) -> Verdict {
    if stored == 0 {
        let why = "the file system keeps no dirty pages: it is in memory";
        return Verdict::Unavailable(why.into());
    }
    // The kernel may begin to write at any moment, so some pages may be clean already.
    Verdict::of(unmapped > 0 && synced == 0 && flushed == 0 && is_there)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_stay_dirty_or_are_not_on_the_disk_refute_it() {
        let seen = |stored, synced, unmapped, flushed| [stored, synced, unmapped, flushed];
        assert_eq!(judge(seen(256, 0, 256, 0), true), Verdict::Holds);
        assert_eq!(judge(seen(256, 0, 256, 256), true), Verdict::DoesNotHold);
        assert_eq!(judge(seen(256, 256, 256, 0), true), Verdict::DoesNotHold);
        assert_eq!(judge(seen(256, 0, 256, 0), false), Verdict::DoesNotHold);
        assert!(matches!(judge(seen(0, 0, 0, 0), true), Verdict::Unavailable(_)));
    }
}
