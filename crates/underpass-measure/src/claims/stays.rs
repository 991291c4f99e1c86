//! Whether mapped pages stay until memory runs short, and serve the next query.
//!
//! A process goes over a mapping again and again, once where its control group has room for the
//! file and once where it has not. Pages that were evicted and came back are counted by the
//! kernel as refaults.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst`, `workingset_refault_file`; mm/workingset.c.

use std::io;
use std::os::fd::AsFd;

use crate::cache;
use crate::claims::rig::{FILE_BYTES, Rig};
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::compare::group::Group;
use crate::compare::order::Order;
use crate::compare::process::Worker;
use crate::figure::{Figure, float};
use crate::usage::Used;

const MIB: f64 = 1_048_576.0;

/// Room for the file and all else that a process needs, and room for a part of it.
const AMPLE_BYTES: u64 = 96 << 20;
const SHORT_BYTES: u64 = 12 << 20;

/// The part of the file that may be fetched again without memory being short: a kernel that
/// reclaims ahead of need takes some.
const STRAY_SHARE: f64 = 0.25;

/// What the passes showed.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// Bytes fetched from the disk in the second pass, with room for the file.
    again_bytes: f64,
    /// Bytes that another process fetched afterwards.
    next_bytes: f64,
    /// Bytes fetched in the second pass, without room.
    short_bytes: f64,
}

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    if let Err(why) = cache::empty(&rig.specimen.file, FILE_BYTES)? {
        return Ok(Shown::unavailable(why));
    }
    let ample = Group::new(rig.program, AMPLE_BYTES)?;
    let first = passes(rig, &ample, 2)?;
    let next = passes(rig, &ample, 1)?;
    let ample_refaults = refaults(&ample);
    drop(ample);
    if let Err(why) = cache::empty(&rig.specimen.file, FILE_BYTES)? {
        return Ok(Shown::unavailable(why));
    }
    let short = Group::new(rig.program, SHORT_BYTES)?;
    let squeezed = passes(rig, &short, 2)?;
    let short_refaults = refaults(&short);
    drop(short);
    let mut lines = Vec::new();
    push(&mut lines, "room for the file, first pass", &first, 0);
    push(&mut lines, "room for the file, second pass", &first, 1);
    push(&mut lines, "room for the file, another process", &next, 0);
    lines.push(Line::new("room for the file: refaults", ample_refaults, Unit::Pages));
    push(&mut lines, "room for half of it, first pass", &squeezed, 0);
    push(&mut lines, "room for half of it, second pass", &squeezed, 1);
    lines.push(Line::new("room for half of it: refaults", short_refaults, Unit::Pages));
    let seen = fetched(&first, 1).zip(fetched(&next, 0)).zip(fetched(&squeezed, 1));
    let Some(((again_bytes, next_bytes), short_bytes)) = seen else {
        let why = "the kernel has no TASK_IO_ACCOUNTING";
        return Ok(Shown { lines, ..Shown::unavailable(why) });
    };
    Ok(Shown {
        lines,
        verdict: judge(&Seen { again_bytes, next_bytes, short_bytes }),
        explanation: format!(
            "A file of {} MiB was mapped under a control group. With room for it, the second pass \
             fetched {:.1} MiB again and the next process {:.1} MiB. With room for {} MiB the \
             kernel evicted mapped pages like any others, and the second pass fetched {:.1} MiB. \
             It is the page cache that keeps them, not the mapping: what read(2) brings in stays \
             too.",
            FILE_BYTES >> 20,
            again_bytes / MIB,
            next_bytes / MIB,
            SHORT_BYTES >> 20,
            short_bytes / MIB,
        ),
    })
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

fn fetched(passes: &[Used], pass: usize) -> Option<f64> {
    passes.get(pass)?.disk_read_bytes.map(float)
}

fn push(lines: &mut Vec<Line>, name: &str, passes: &[Used], pass: usize) {
    let Some(used) = passes.get(pass) else { return };
    let disk = Figure::of_disk(used.disk_read_bytes);
    let faults = Figure::count(used.major_faults);
    lines.push(Line::new(format!("{name}: fetched from the disk"), disk, Unit::Bytes));
    lines.push(Line::new(format!("{name}: major faults"), faults, Unit::Faults));
}

fn judge(seen: &Seen) -> Verdict {
    let stray = STRAY_SHARE * float(FILE_BYTES);
    let half = float(FILE_BYTES) / 2.0;
    let stays = seen.again_bytes <= stray && seen.next_bytes <= stray;
    match (stays, seen.short_bytes >= half) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::HoldsIf(
            "memory is short in the whole machine: the group's limit evicted nothing".into(),
        ),
        (false, _) => Verdict::DoesNotHold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_stay_only_if_neither_the_second_pass_nor_the_next_process_fetches_them() {
        let file = float(FILE_BYTES);
        let seen =
            |again_bytes, next_bytes, short_bytes| Seen { again_bytes, next_bytes, short_bytes };
        assert_eq!(judge(&seen(0.0, 4096.0, file)), Verdict::Holds);
        assert_eq!(judge(&seen(file, 0.0, file)), Verdict::DoesNotHold);
        assert_eq!(judge(&seen(0.0, file, file)), Verdict::DoesNotHold);
        assert!(matches!(judge(&seen(0.0, 0.0, 0.0)), Verdict::HoldsIf(_)));
    }
}
