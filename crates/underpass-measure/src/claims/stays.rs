//! Whether mapped pages stay until memory runs short, and serve the next query.
//!
//! A process goes over a mapping again and again, once where its control group has room for the
//! file and once where it has not. Pages that were evicted and came back are counted by the
//! kernel as refaults.
//!
//! Source: `Documentation/admin-guide/cgroup-v2.rst`, `workingset_refault_file`; mm/workingset.c.

use std::io;

use crate::cache;
use crate::claims::child::{self, Account, Way};
use crate::claims::group::Group;
use crate::claims::rig::{FILE_BYTES, Rig};
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::figure::{Figure, float};

const READ_BYTES: usize = 24 << 20;
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

pub(super) fn measure(rig: &mut Rig<'_>) -> io::Result<Shown> {
    if let Err(why) = cache::empty(&rig.file, FILE_BYTES)? {
        return Ok(Shown::unavailable(why));
    }
    let ample = Group::new(rig.given, Some(AMPLE_BYTES))?;
    let first = child::read(rig, Some(&ample), READ_BYTES, Way::Mapping, 2)?;
    let next = child::read(rig, Some(&ample), READ_BYTES, Way::Mapping, 1)?;
    let ample_refaults = refaults(&ample);
    drop(ample);
    if let Err(why) = cache::empty(&rig.file, FILE_BYTES)? {
        return Ok(Shown::unavailable(why));
    }
    let short = Group::new(rig.given, Some(SHORT_BYTES))?;
    let squeezed = child::read(rig, Some(&short), READ_BYTES, Way::Mapping, 2)?;
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
        return Ok(Shown {
            lines,
            verdict: Verdict::Unavailable(why.into()),
            explanation: String::new(),
        });
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
            READ_BYTES >> 20,
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

fn fetched(account: &Account, pass: usize) -> Option<f64> {
    account.passes.get(pass)?.disk_bytes.map(float)
}

fn push(lines: &mut Vec<Line>, name: &str, account: &Account, pass: usize) {
    let Some(pass) = account.passes.get(pass) else { return };
    let disk = Figure::of_disk(pass.disk_bytes);
    lines.push(Line::new(format!("{name}: fetched from the disk"), disk, Unit::Bytes));
    lines.push(Line::new(
        format!("{name}: major faults"),
        Figure::count(pass.major_faults),
        Unit::Faults,
    ));
}

fn judge(seen: &Seen) -> Verdict {
    let stray = STRAY_SHARE * float(READ_BYTES as u64);
    let half = float(READ_BYTES as u64) / 2.0;
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
        let file = 24.0 * 1_048_576.0;
        let seen =
            |again_bytes, next_bytes, short_bytes| Seen { again_bytes, next_bytes, short_bytes };
        assert_eq!(judge(&seen(0.0, 4096.0, file)), Verdict::Holds);
        assert_eq!(judge(&seen(file, 0.0, file)), Verdict::DoesNotHold);
        assert_eq!(judge(&seen(0.0, file, file)), Verdict::DoesNotHold);
        assert!(matches!(judge(&seen(0.0, 0.0, 0.0)), Verdict::HoldsIf(_)));
    }
}
