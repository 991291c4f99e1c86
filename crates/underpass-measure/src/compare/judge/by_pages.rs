//! What became of bytes that left through a socket, from where they were: in the packets that
//! left, and where the receiver copied them from.
//!
//! A lent page is not yet a byte saved: loopback and veth copy what `MSG_ZEROCOPY` lent before a
//! receiver on the same machine has it. So what was lent and did not arrive as such was copied.
//!
//! Source: Documentation/networking/msg_zerocopy.rst, "Loopback"; skbuff.h, `SKBFL_SHARED_FRAG`.

use super::{Fate, Measured, NEARLY_ALL, is_nearly};
use crate::account::copies::is_reference;
use crate::compare::report::{Link, Pair, Verdict};
use crate::compare::seen::{Seen, inode_of};
use crate::evidence::{Origin, Pages};
use crate::figure::{Figure, float};
use crate::methods::facts;
use crate::words::count;

/// Of TCP.
pub(super) fn of_packets(measured: &Measured, seen: &Seen) -> Fate {
    let payload = measured.case.bytes;
    let sent = seen.sent_bytes();
    if !is_nearly(sent, payload) {
        let why =
            format!("{} of {} bytes were seen to leave the socket", count(sent), count(payload));
        return unknown(measured, seen, why);
    }
    let passes_kernel_pages = measured.case.pair == Pair::SocketToSocket;
    let lent = lent_bytes(&seen.sent, passes_kernel_pages);
    let copied = sent - lent;
    // The receiver copies out of every page once; those that are the kernel's and were not when
    // they left were made on the way.
    let arrived_copied = seen.received_bytes() - lent_bytes(&seen.received, passes_kernel_pages);
    let deferred = arrived_copied.saturating_sub(copied).min(lent);
    let by_reference = lent - deferred;
    Fate {
        sender_copies: Figure::Derived {
            value: float(seen.taken_bytes + copied + deferred) / float(payload),
            from: "(bytes read into memory + payload that left in pages of the kernel or next \
                   to the headers + lent pages that did not arrive as such) / payload",
        },
        receiver_copies: receiver_copies(measured, seen),
        by_reference_bytes: Figure::count(by_reference),
        inode: inode_of(&seen.sent).filter(|_| by_reference > 0),
        verdict: verdict(measured, seen, by_reference, deferred),
    }
}

/// Of a Unix socket, whose packets pass no device: by what the receiver copied from.
pub(super) fn of_receipts(measured: &Measured, seen: &Seen) -> Fate {
    let payload = measured.case.bytes;
    let received = seen.received_bytes();
    if !is_nearly(received, payload) {
        let why =
            format!("{} of {} bytes were seen to be received", count(received), count(payload));
        return unknown(measured, seen, why);
    }
    let by_reference = lent_bytes(&seen.received, false);
    let copied = received - by_reference;
    Fate {
        sender_copies: Figure::Derived {
            value: float(seen.taken_bytes + copied) / float(payload),
            from: "(bytes read into memory + payload that the receiver found in pages of the \
                   kernel) / payload",
        },
        receiver_copies: receiver_copies(measured, seen),
        by_reference_bytes: Figure::count(by_reference),
        inode: inode_of(&seen.received).filter(|_| by_reference > 0),
        verdict: verdict(measured, seen, by_reference, 0),
    }
}

fn receiver_copies(measured: &Measured, seen: &Seen) -> Figure {
    Figure::Measured(float(seen.received_bytes()) / float(measured.case.bytes))
}

fn verdict(measured: &Measured, seen: &Seen, by_reference: u64, deferred: u64) -> Verdict {
    let share = (float(by_reference) / float(measured.case.bytes)).min(1.0);
    if share >= NEARLY_ALL {
        let pages =
            if measured.case.pair == Pair::FileToUnix { &seen.received } else { &seen.sent };
        return Verdict::ByReference { share, inode: inode_of(pages) };
    }
    let why = why_not(measured, seen, deferred);
    if share > 1.0 - NEARLY_ALL { Verdict::Mixed { share, why } } else { Verdict::Copied { why } }
}

fn why_not(measured: &Measured, seen: &Seen, deferred: u64) -> String {
    if let Some(copying) = &facts(measured.case.method).copying {
        return copying.why.into();
    }
    if deferred > measured.case.bytes / 2 {
        return "the kernel copied the lent pages before the receiver, which is on this machine, \
                had them (a deferred copy)"
            .into();
    }
    let linear: u64 =
        seen.sent.iter().filter(|pages| pages.origin == Origin::Linear).map(|p| p.bytes).sum();
    if linear > measured.case.bytes / 2 {
        let device = match measured.case.link {
            Some(Link::VethWithoutScatterGather) => "the device has no scatter-gather",
            Some(Link::Loopback | Link::Veth) | None => "the device took no pages",
        };
        return format!("{device}: the kernel copied the pages into the packets");
    }
    "the kernel copied the bytes into its own pages".into()
}

/// The probe was there, and did not see this.
fn unknown(measured: &Measured, seen: &Seen, why: String) -> Fate {
    Fate::not_known(&why.clone(), receiver_copies(measured, seen), Verdict::Unknown { why })
}

fn lent_bytes(pages: &[Pages], passes_kernel_pages: bool) -> u64 {
    let lent = pages.iter().filter(|pages| is_reference(pages, passes_kernel_pages));
    lent.map(|pages| pages.bytes).sum()
}
