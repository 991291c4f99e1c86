//! What became of bytes, as far as the calls alone tell: of pipes always, of sockets without a
//! probe.
//!
//! What read(2) and write(2) do is in their definition: each copies what it returns. What
//! sendfile(2) and splice(2) do is not: they return the same where the kernel copies, so of
//! sockets nothing is said of them without having looked at the packets.
//!
//! Source: pipe(7); splice(2), NOTES; `Documentation/networking/msg_zerocopy.rst`.

use super::{Fate, Measured, is_nearly};
use crate::compare::report::Verdict;
use crate::figure::{Figure, float};
use crate::methods::{Copying, facts};
use crate::words::count;

/// Why calls leave it open.
const NOT_TOLD: &str = "the calls return the same whether the kernel copies or lends, and no page \
                        is seen";

/// Of a pipe.
pub(super) fn of_pipes(measured: &Measured) -> Fate {
    of_copying(measured).unwrap_or_else(|| Fate {
        sender_copies: Figure::Derived {
            value: 0.0,
            from: "no call of the sender copies: splice(2) and sendfile(2) put pages of the page \
                   cache into the pipe",
        },
        receiver_copies: received(measured),
        by_reference_bytes: Figure::Derived {
            value: float(measured.checked.sender.bytes),
            from: "bytes that splice(2) and sendfile(2) returned; the pages in a pipe cannot be \
                   looked at",
        },
        inode: None,
        verdict: Verdict::ByReference { share: 1.0, inode: None },
    })
}

/// Of a socket, of whose packets nothing is seen; `why` not.
pub(super) fn of_sockets(measured: &Measured, why: &str) -> Fate {
    of_copying(measured).unwrap_or_else(|| Fate::not_known(why, received(measured), told(measured)))
}

/// Of a method that cannot but copy.
fn of_copying(measured: &Measured) -> Option<Fate> {
    let Copying { copies, from, why } = facts(measured.case.method).copying.as_ref()?;
    Some(Fate {
        sender_copies: Figure::Derived { value: *copies, from },
        receiver_copies: received(measured),
        by_reference_bytes: Figure::Derived { value: 0.0, from },
        inode: None,
        verdict: Verdict::Copied { why: (*why).into() },
    })
}

/// What the kernel says of memory that was lent to it. Its answers come late, and the sender does
/// not wait for the last.
fn told(measured: &Measured) -> Verdict {
    let (sender, payload) = (&measured.checked.sender, measured.case.bytes);
    let (copied, done) = (sender.zero_copy_copied, sender.zero_copy_done);
    let why =
        format!("the kernel reports that it copied {} of {} bytes", count(copied), count(payload));
    if is_nearly(copied, payload) {
        return Verdict::Copied { why };
    }
    let left = count(payload.saturating_sub(done));
    let partly = || format!("{why}, and had not reported on {left} when the sender was done");
    Verdict::Unknown { why: if copied > 0 { partly() } else { NOT_TOLD.into() } }
}

/// What the receiver counted.
fn received(measured: &Measured) -> Figure {
    if measured.case.discards {
        return measured.missing();
    }
    let received = measured.checked.receiver.as_ref().map_or(0, |receiver| receiver.bytes);
    Figure::Derived {
        value: float(received) / float(measured.case.bytes),
        from: "bytes that the receiver's read(2) returned / payload",
    }
}
