//! Whether a mapping halves the memory that reading a file takes.
//!
//! Against what is the question: the page cache holds the file either way, and only a program
//! that also holds it whole in a buffer has it twice. Resident size does not tell, since it counts
//! mapped pages of the page cache as the program's own; the anonymous part and the control
//! group's charge do.
//!
//! Source: proc(5), `/proc/pid/status` (RssAnon, RssFile);
//! `Documentation/admin-guide/cgroup-v2.rst`, "Memory Ownership".

use std::io;

use crate::cache;
use crate::claims::child::{self, Way};
use crate::claims::group::Group;
use crate::claims::rig::{FILE_BYTES, Rig};
use crate::claims::{Line, Shown, Unit, Verdict};
use crate::figure::{Figure, float};

/// Bytes of the file that are read.
const READ_BYTES: usize = 32 << 20;

const WAYS: [(Way, &str); 3] = [
    (Way::Whole, "read whole into a buffer"),
    (Way::Pieces, "read in pieces of 64 KiB"),
    (Way::Mapping, "mapped"),
];

pub(super) fn measure(rig: &mut Rig<'_>) -> io::Result<Shown> {
    let mut lines = Vec::new();
    let mut totals = Vec::new();
    for (way, name) in WAYS {
        // Only pages that the child brings in are charged to its group.
        let is_cold = cache::empty(&rig.file, FILE_BYTES)?;
        let group = Group::new(rig.given, None).map_err(|error| error.to_string());
        let account = child::read(rig, group.as_ref().ok(), READ_BYTES, way, 1)?;
        let cached = cache::pages(&rig.file, READ_BYTES as u64)?.map(|pages| pages.cached * 4096);
        let charged = match (&is_cold, &group) {
            (Ok(()), Ok(group)) => group.peak_bytes().map_err(|error| error.to_string()),
            (Err(why), _) | (_, Err(why)) => Err(why.clone()),
        };
        let memory = account.memory;
        let total = memory.anonymous + cached.unwrap_or(READ_BYTES as u64);
        totals.push(float(total));
        lines.extend([
            Line::new(format!("{name}: RssAnon"), Figure::count(memory.anonymous), Unit::Bytes),
            Line::new(format!("{name}: RssFile"), Figure::count(memory.file_mapped), Unit::Bytes),
            Line::new(
                format!("{name}: page tables"),
                Figure::count(memory.page_tables),
                Unit::Bytes,
            ),
            Line::new(
                format!("{name}: RssAnon and the file's pages in the page cache"),
                Figure::Derived { value: float(total), from: "RssAnon + pages cached x 4096" },
                Unit::Bytes,
            ),
            Line::new(
                format!("{name}: charged to its control group, at most"),
                charged.map_or_else(Figure::Unavailable, Figure::count),
                Unit::Bytes,
            ),
        ]);
    }
    let [whole, pieces, mapped] = totals[..] else {
        return Ok(Shown::unavailable("a way of reading is missing"));
    };
    Ok(Shown {
        lines,
        verdict: judge(whole, pieces, mapped),
        explanation: format!(
            "The page cache holds the file in every case. A program that reads it whole holds it \
             a second time: {:.2} times the memory of a mapping. One that reads it in pieces does \
             not: {:.2} times.",
            whole / mapped,
            pieces / mapped
        ),
    })
}

fn judge(whole: f64, pieces: f64, mapped: f64) -> Verdict {
    let is_halved = |other: f64| (1.7..=2.3).contains(&(other / mapped));
    match (is_halved(whole), is_halved(pieces)) {
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::HoldsIf(
            "the program would otherwise hold the whole file in a buffer; reading in pieces takes \
             no more than mapping"
                .into(),
        ),
        (false, _) => Verdict::DoesNotHold,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_halved_depends_on_what_it_is_compared_with() {
        assert_eq!(judge(64.0, 64.0, 32.0), Verdict::Holds);
        assert!(matches!(judge(64.0, 32.1, 32.0), Verdict::HoldsIf(_)));
        assert_eq!(judge(33.0, 32.0, 32.0), Verdict::DoesNotHold);
    }
}
