//! What became of bytes, as far as the calls alone tell: of pipes always, of sockets without a
//! probe.
//!
//! What read(2) and write(2) do is in their definition: each copies what it returns. What
//! sendfile(2) and splice(2) do is not: they return the same where the kernel copies, so of
//! sockets nothing is said of them without having looked at the packets.
//!
//! Source: pipe(7); splice(2), NOTES; `Documentation/networking/msg_zerocopy.rst`.

use super::{Copying, Fate, Known, copying};
use crate::compare::order::Account;
use crate::compare::report::Verdict;
use crate::figure::{Figure, float};
use crate::words::count;

/// Why calls leave it open.
const NOT_TOLD: &str = "the calls return the same whether the kernel copies or lends, and no page \
                        is seen";

/// Of a pipe.
pub(super) fn of_pipes(known: &Known<'_>) -> Fate {
    let receiver_copies = received(known);
    if let Some(fate) = of_copying(known) {
        return Fate { receiver_copies, ..fate };
    }
    Fate {
        sender_copies: Figure::Derived {
            value: 0.0,
            from: "no call of the sender copies: splice(2) and sendfile(2) put pages of the page \
                   cache into the pipe",
        },
        receiver_copies,
        by_reference_bytes: Figure::Derived {
            value: float(known.checked.sender.bytes),
            from: "bytes that splice(2) and sendfile(2) returned; the pages in a pipe cannot be \
                   looked at",
        },
        inode: None,
        verdict: Verdict::ByReference { share: 1.0, inode: None },
    }
}

/// Of a socket, of whose packets nothing is seen; `why` not.
pub(super) fn of_sockets(known: &Known<'_>, why: &str) -> Fate {
    let receiver_copies = received(known);
    if let Some(fate) = of_copying(known) {
        return Fate { receiver_copies, ..fate };
    }
    let account = &known.checked.sender;
    let missing = || Figure::Unavailable(why.to_owned());
    let verdict = if account.zero_copy_copied > 0 {
        Verdict::Copied { why: told(account) }
    } else {
        Verdict::Unknown { why: NOT_TOLD.into() }
    };
    Fate {
        sender_copies: missing(),
        receiver_copies,
        by_reference_bytes: missing(),
        inode: None,
        verdict,
    }
}

/// Of a method that cannot but copy.
fn of_copying(known: &Known<'_>) -> Option<Fate> {
    let Copying { copies, from, why } = copying(known.case.method)?;
    Some(Fate {
        sender_copies: Figure::Derived { value: copies, from },
        receiver_copies: Figure::Unavailable("nothing is known of a receiver".into()),
        by_reference_bytes: Figure::Derived { value: 0.0, from },
        inode: None,
        verdict: Verdict::Copied { why: why.into() },
    })
}

/// What the kernel says of memory that was lent to it.
fn told(account: &Account) -> String {
    let (copied, done) = (count(account.zero_copy_copied), count(account.zero_copy_done));
    format!("the kernel reports that it copied {copied} of {done} lent bytes")
}

/// What the receiver counted.
fn received(known: &Known<'_>) -> Figure {
    let received = known.checked.receiver.as_ref().map_or(0, |receiver| receiver.bytes);
    Figure::Derived {
        value: float(received) / float(known.case.bytes),
        from: "bytes that the receiver's read(2) returned / payload",
    }
}
