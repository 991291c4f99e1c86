//! What became of bytes that went from file to file: shared extents, or copies.
//!
//! No call says which: copy_file_range(2) returns the same either way, and /proc/pid/io counts
//! a clone as read and written. Extents that are shared and pages that were not dirtied do.
//!
//! Source: Documentation/filesystems/fiemap.rst, `FIEMAP_EXTENT_SHARED`; proc_pid_io(5).

use super::{Fate, Measured, is_nearly};
use crate::compare::report::Verdict;
use crate::figure::{Figure, float};
use crate::methods::{Copying, facts};

/// A clone dirties no page of the file; its metadata may be a few.
const DIRTIED_MAX: u64 = 64 * 4096;

const NOT_TOLD: &str = "the file system does not tell which extents are shared (FIEMAP)";

/// Of a file to a file.
pub(super) fn fate(measured: &Measured) -> Fate {
    let (run, payload) = (&measured.checked, measured.case.bytes);
    let dirtied = run.sender.used.disk_write_bytes;
    // Without I/O accounting the extents have to do.
    let is_clean = dirtied.is_none_or(|dirtied| dirtied <= DIRTIED_MAX);
    let shared = run.shared_bytes.map(|shared| if is_clean { shared.min(payload) } else { 0 });
    let inode = Some(run.source_inode).filter(|_| shared > Some(0));
    let derived = |value, from| Figure::Derived { value, from };
    let copied = |why: &str| Verdict::Copied { why: why.into() };
    let (sender_copies, verdict) = match (shared, &facts(measured.case.method).copying) {
        (Some(all), _) if all == payload => (
            derived(0.0, "every extent is shared and no page was dirtied"),
            Verdict::ByReference { share: 1.0, inode },
        ),
        (Some(some @ 1..), _) => {
            let share = float(some) / float(payload);
            let why = "the other extents are the file's own".into();
            let copies = derived(1.0 - share, "(payload - bytes of shared extents) / payload");
            (copies, Verdict::Mixed { share, why })
        }
        (_, Some(Copying { copies, from, why })) => (derived(*copies, from), copied(why)),
        (Some(_), None) => (
            derived(1.0, "no extent is shared: the kernel copies from page to page"),
            copied("the file system shares no extents: the kernel copied from page to page"),
        ),
        (None, None) if is_nearly(dirtied.unwrap_or(0), payload) => (
            derived(1.0, "the sender dirtied as many pages as it wrote"),
            copied("the sender dirtied as many pages as it wrote"),
        ),
        (None, None) => {
            (Figure::Unavailable(NOT_TOLD.into()), Verdict::Unknown { why: NOT_TOLD.into() })
        }
    };
    Fate {
        sender_copies,
        receiver_copies: Figure::Unavailable("a file has no receiver".into()),
        by_reference_bytes: shared
            .map_or_else(|| Figure::Unavailable(NOT_TOLD.into()), Figure::count),
        inode,
        verdict,
    }
}
