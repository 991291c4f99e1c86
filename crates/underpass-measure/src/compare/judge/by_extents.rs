//! What became of bytes that went from file to file: shared extents, or copies.
//!
//! No call says which: copy_file_range(2) returns the same either way, and /proc/pid/io counts
//! a clone as read and written. Extents that are shared and pages that were not dirtied do.
//!
//! Source: Documentation/filesystems/fiemap.rst, `FIEMAP_EXTENT_SHARED`; proc_pid_io(5).

use underpass::Method;

use super::{Copying, Fate, Known, copying};
use crate::compare::report::Verdict;
use crate::figure::{Figure, float};

/// A clone dirties no page of the file; its metadata may be a few.
const DIRTIED_MAX: u64 = 64 * 4096;

/// Of a file to a file.
pub(super) fn fate(known: &Known<'_>) -> Fate {
    let (run, payload) = (known.checked, known.case.bytes);
    let dirtied = run.sender.used.disk_write_bytes;
    let shared = match (run.shared_bytes, dirtied) {
        (Some(shared), Some(dirtied)) if dirtied <= DIRTIED_MAX => Some(shared.min(payload)),
        (Some(_), Some(_)) => Some(0),
        // Without I/O accounting the extents have to do.
        (Some(shared), None) => Some(shared.min(payload)),
        (None, _) => None,
    };
    let receiver_copies = Figure::Unavailable("a file has no receiver".into());
    let Some(shared) = shared else {
        let why = "the file system does not tell which extents are shared (FIEMAP)";
        let is_copied = dirtied > Some(DIRTIED_MAX) || copying(known.case.method).is_some();
        let copied = copies(known.case.method).filter(|_| is_copied);
        return Fate {
            sender_copies: copied.unwrap_or_else(|| Figure::Unavailable(why.into())),
            receiver_copies,
            by_reference_bytes: Figure::Unavailable(why.into()),
            inode: None,
            verdict: if is_copied {
                copied_verdict(known.case.method)
            } else {
                Verdict::Unknown { why: why.into() }
            },
        };
    };
    let by_reference_bytes = Figure::count(shared);
    if shared == payload {
        return Fate {
            sender_copies: Figure::Derived {
                value: 0.0,
                from: "every extent is shared and no page was dirtied",
            },
            receiver_copies,
            by_reference_bytes,
            inode: Some(known.inode),
            verdict: Verdict::ByReference { share: 1.0, inode: Some(known.inode) },
        };
    }
    if shared > 0 {
        let share = float(shared) / float(payload);
        let why = "the other extents are the file's own".into();
        let from = "(payload - bytes of shared extents) / payload";
        return Fate {
            sender_copies: Figure::Derived { value: 1.0 - share, from },
            receiver_copies,
            by_reference_bytes,
            inode: Some(known.inode),
            verdict: Verdict::Mixed { share, why },
        };
    }
    Fate {
        sender_copies: copies(known.case.method)
            .unwrap_or_else(|| Figure::Unavailable("the method is not known here".into())),
        receiver_copies,
        by_reference_bytes,
        inode: None,
        verdict: copied_verdict(known.case.method),
    }
}

/// Copies by the processor where no extent is shared.
fn copies(method: Method) -> Option<Figure> {
    let (value, from) = match (copying(method), method) {
        (Some(Copying { copies, from, .. }), _) => (copies, from),
        (None, Method::Splice | Method::Sendfile | Method::CopyFileRange | Method::Clone) => {
            (1.0, "no extent is shared: the kernel copies from page to page")
        }
        (None, _) => return None,
    };
    Some(Figure::Derived { value, from })
}

fn copied_verdict(method: Method) -> Verdict {
    let why = copying(method).map_or(
        "the file system shares no extents: the kernel copied from page to page",
        |copying| copying.why,
    );
    Verdict::Copied { why: why.into() }
}
