//! What became of bytes that left through a socket, from where they were: in the packets that
//! left, and where the receiver copied them from.
//!
//! A lent page is not yet a byte saved: loopback and veth copy what `MSG_ZEROCOPY` lent before a
//! receiver on the same machine has it. So what was lent and did not arrive as such was copied.
//!
//! Source: Documentation/networking/msg_zerocopy.rst, "Loopback"; skbuff.h, `SKBFL_SHARED_FRAG`.

use super::{Fate, Measured, NEARLY_ALL, is_nearly};
use crate::compare::report::{Link, Pair, Verdict};
use crate::compare::seen::{Seen, inode_of, total};
use crate::evidence::{Origin, Pages};
use crate::figure::{Figure, float};
use crate::methods::facts;
use crate::words::count;

/// Of a socket. Packets of a Unix socket pass no device: it is judged by what the receiver copied
/// from.
pub(super) fn fate(measured: &Measured, seen: &Seen) -> Fate {
    let (payload, pair) = (measured.case.bytes, measured.case.pair);
    let received = seen.received_bytes();
    let receiver_copies = Figure::Measured(float(received) / float(payload));
    let (pages, to, from) = if pair == Pair::FileToUnix {
        let from = "(bytes read into memory + payload that the receiver found in pages of the \
                    kernel) / payload";
        (&seen.received, "be received", from)
    } else {
        let from = "(bytes read into memory + payload that left in pages of the kernel or next \
                    to the headers + lent pages that did not arrive as such) / payload";
        (&seen.sent, "leave the socket", from)
    };
    let all = total(pages);
    if !is_nearly(all, payload) {
        let why = format!("{} of {} bytes were seen to {to}", count(all), count(payload));
        return Fate::not_known(&why.clone(), receiver_copies, Verdict::Unknown { why });
    }
    let passes_kernel_pages = pair == Pair::SocketToSocket;
    let lent = lent_bytes(pages, passes_kernel_pages);
    let copied = all - lent;
    // The receiver copies out of every page once; those that are the kernel's and were not when
    // they left were made on the way.
    let arrived_copied = received - lent_bytes(&seen.received, passes_kernel_pages);
    let deferred = arrived_copied.saturating_sub(copied).min(lent);
    let by_reference = lent - deferred;
    let inode = inode_of(pages).filter(|_| by_reference > 0);
    let share = (float(by_reference) / float(payload)).min(1.0);
    let why = || why_not(measured, seen, deferred);
    Fate {
        sender_copies: Figure::Derived {
            value: float(seen.taken_bytes + copied + deferred) / float(payload),
            from,
        },
        receiver_copies,
        by_reference_bytes: Figure::count(by_reference),
        inode,
        verdict: match share {
            NEARLY_ALL.. => Verdict::ByReference { share, inode },
            _ if share > 1.0 - NEARLY_ALL => Verdict::Mixed { share, why: why() },
            _ => Verdict::Copied { why: why() },
        },
    }
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

fn lent_bytes(pages: &[Pages], passes_kernel_pages: bool) -> u64 {
    let lent = pages.iter().filter(|pages| pages.is_reference(passes_kernel_pages));
    lent.map(|pages| pages.bytes).sum()
}
