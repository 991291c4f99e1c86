//! Whether mapped pages stay until memory runs short, and serve the next query.
//!
//! A process goes over a mapping again and again, once where its control group has room for the
//! file and once where it has not. Pages that were evicted and came back are counted by the
//! kernel as refaults.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst`, `workingset_refault_file`; mm/workingset.c.

use std::io;
use std::os::fd::AsFd;

use crate::claims::rig::{FILE_BYTES, Rig};
use crate::claims::{Diary, Shown, Unit, Verdict};
use crate::compare::group::Group;
use crate::compare::order::Order;
use crate::compare::process::Worker;
use crate::figure::{Figure, NO_IO_ACCOUNTING};
use crate::usage::Used;
use crate::words;

/// Room for the file and all else that a process needs, and room for a part of it.
const AMPLE_BYTES: u64 = 96 << 20;
const SHORT_BYTES: u64 = 12 << 20;

/// The part of the file that may be fetched again without memory being short: a kernel that
/// reclaims ahead of need takes some.
const STRAY_PART: u64 = 4;

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    rig.empty()?;
    let ample = Group::new(rig.program, AMPLE_BYTES)?;
    let first = passes(rig, &ample, 2)?;
    let next = passes(rig, &ample, 1)?;
    let ample_refaults = refaults(&ample);
    drop(ample);
    rig.empty()?;
    let short = Group::new(rig.program, SHORT_BYTES)?;
    let squeezed = passes(rig, &short, 2)?;
    let short_refaults = refaults(&short);
    drop(short);
    let mut diary = Diary::default();
    write(&mut diary, "room for the file, first pass", &first, 0);
    write(&mut diary, "room for the file, second pass", &first, 1);
    write(&mut diary, "room for the file, another process", &next, 0);
    diary.figure("room for the file: refaults", &ample_refaults, Unit::Pages);
    write(&mut diary, "room for half of it, first pass", &squeezed, 0);
    write(&mut diary, "room for half of it, second pass", &squeezed, 1);
    diary.figure("room for half of it: refaults", &short_refaults, Unit::Pages);
    let fetched = |passes: &[Used], pass: usize| passes.get(pass)?.disk_read_bytes;
    let seen = fetched(&first, 1).zip(fetched(&next, 0)).zip(fetched(&squeezed, 1));
    Ok(match seen {
        Some(((again, next), short)) => diary.shown(
            judge([again, next, short]),
            explanation([again, next, short], short_refaults.value()),
        ),
        None => diary.shown(Verdict::Unavailable(NO_IO_ACCOUNTING.into()), ""),
    })
}

/// Of the bytes that were fetched in the second pass and by another process with room for the
/// file, and in the second pass without.
fn explanation([again, next, short]: [u64; 3], refaults: Option<f64>) -> String {
    let back = refaults.map_or_else(String::new, |pages| {
        let pages = words::whole(pages);
        format!("; {pages} pages came back after an eviction in both passes")
    });
    let more = format!(
        " (more than the file: read-ahead fetched pages that were evicted before they were looked \
         at{back})"
    );
    let more = if short > FILE_BYTES { &more } else { "" };
    let evicted = match is_squeezed(short) {
        true => "the kernel evicted mapped pages like any others, and the second pass fetched",
        false => "the kernel evicted few of them or none, and the second pass fetched no more than",
    };
    format!(
        "A file of {} was mapped under a control group. With room for it, the second pass fetched \
         {} again and the next process {}. With room for {} {evicted} {}{more}. It is the page \
         cache that keeps them, not the mapping: what read(2) brings in stays too.",
        words::size(FILE_BYTES),
        words::size(again),
        words::size(next),
        words::size(SHORT_BYTES),
        words::size(short),
    )
}

fn refaults(group: &Group) -> Figure {
    group.refaults().map_or_else(|error| Figure::Unavailable(error.to_string()), Figure::count)
}

/// What each pass over a mapping of the file used, in a process of the group.
fn passes(rig: &Rig<'_>, group: &Group, passes: u32) -> io::Result<Vec<Used>> {
    let file = rig.specimen.file.as_fd();
    let worker = Worker::ready(rig.program, &Order::Read { passes }, &[file])?;
    // It has not touched the file: whose pages it brings in are charged to the group.
    group.add(worker.process())?;
    worker.go()?;
    Ok(worker.account()?.passes)
}

fn write(diary: &mut Diary, name: &str, passes: &[Used], pass: usize) {
    let Some(used) = passes.get(pass) else { return };
    diary.fetched(format!("{name}: fetched from the disk"), used);
    diary.count(format!("{name}: major faults"), used.major_faults, Unit::Faults);
}

/// Whether the limit evicted what the second pass had to fetch.
const fn is_squeezed(short: u64) -> bool {
    short >= FILE_BYTES / 2
}

fn judge([again, next, short]: [u64; 3]) -> Verdict {
    let stray = FILE_BYTES / STRAY_PART;
    match (again <= stray && next <= stray, is_squeezed(short)) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::HoldsIf(
            "memory is short in the whole machine: the group's limit evicted few pages or none"
                .into(),
        ),
        (false, _) => Verdict::DoesNotHold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_stay_only_if_neither_the_second_pass_nor_the_next_process_fetches_them() {
        assert_eq!(judge([0, 4096, FILE_BYTES]), Verdict::Holds);
        assert_eq!(judge([FILE_BYTES, 0, FILE_BYTES]), Verdict::DoesNotHold);
        assert_eq!(judge([0, FILE_BYTES, FILE_BYTES]), Verdict::DoesNotHold);
        assert!(matches!(judge([0; 3]), Verdict::HoldsIf(_)));
    }

    #[test]
    fn more_bytes_than_the_file_has_are_explained() {
        let said = explanation([0, 0, 78 << 20], Some(12_345.0));
        assert!(said.contains("fetched 78 MiB (more than the file: read-ahead"), "{said}");
        assert!(said.contains("12,345 pages came back"), "{said}");
        assert!(!explanation([0, 0, FILE_BYTES], Some(1.0)).contains("more than"));
    }

    #[test]
    fn pages_are_said_to_be_evicted_only_if_the_verdict_says_so() {
        let says = |short| explanation([0, 0, short], None).contains("evicted mapped pages");
        for short in [0, FILE_BYTES / 2 - 1, FILE_BYTES / 2, FILE_BYTES] {
            assert_eq!(says(short), judge([0, 0, short]) == Verdict::Holds, "{short}");
        }
    }
}
