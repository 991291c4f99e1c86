//! How often the processor copied what left by one socket.
//!
//! A lent page is not yet a byte saved: loopback and veth copy what `MSG_ZEROCOPY` lent before a
//! receiver on the same machine has it.
//!
//! Source: Documentation/networking/msg_zerocopy.rst, "Loopback"; skbuff.h, `SKBFL_SHARED_FRAG`.
#![cfg_attr(not(test), expect(dead_code, reason = "compare has its own, until it asks here"))]

use super::{Account, Part, Way};
use crate::evidence::{Evidence, Lent, Origin, Pages};
use crate::figure::{Figure, float};
use crate::words;

/// A share from which on all bytes are said to have been seen: headers that share a packet with
/// payload, and retransmissions, are not errors of the method.
const NEARLY_ALL: f64 = 0.999;

impl Account {
    /// The parts of the socket of an inode.
    pub(crate) fn of_socket(&self, inode: u64) -> impl Iterator<Item = &Part> {
        let is_of_it = move |part: &&Part| self.sockets.get(part.socket) == Some(&inode);
        self.parts.iter().filter(is_of_it)
    }

    /// How often the processor of the sender copied each byte of a payload that left by a socket,
    /// with what it copied later of what was lent; nothing if not all of it was seen to leave.
    pub(crate) fn sender_copies(&self, inode: u64, payload: u64, deferred: u64) -> Figure {
        let left: u64 = self.of_socket(inode).map(|part| part.bytes).sum();
        if float(left) < float(payload) * NEARLY_ALL {
            let (left, payload) = (words::count(left), words::count(payload));
            let why = format!("{left} of {payload} bytes were seen to leave the socket");
            return Figure::Unavailable(why);
        }
        let copied = |part: &Part| part.bytes.saturating_mul(part.copies.into());
        let copied: u64 = self.of_socket(inode).map(copied).sum();
        Figure::Derived {
            value: float(copied + deferred) / float(payload),
            from: "(bytes read into memory + payload that left in pages of the kernel or next \
                   to the headers + lent pages that did not arrive as such) / payload",
        }
    }

    /// Bytes that were lent to a socket and that the kernel copied before a receiver on this
    /// machine had them: those that are in its own pages there, and were not when they left.
    pub(crate) fn deferred(&self, evidence: &Evidence, inode: u64, receiver: u32) -> u64 {
        // Then pages of the kernel are what came in.
        let is_relay = self.of_socket(inode).any(|part| part.way == Way::Relayed);
        let sockets = evidence.sockets.iter().filter(|socket| socket.inode == inode);
        let sent: Vec<&Pages> = sockets.flat_map(|socket| &socket.sent).collect();
        let received = evidence.received.iter().filter(|received| received.process == receiver);
        let received: Vec<&Pages> = received.map(|received| &received.pages).collect();
        let lent = |pages: &[&Pages]| -> u64 {
            let lent = pages.iter().filter(|pages| is_reference(pages, is_relay));
            lent.map(|pages| pages.bytes).sum()
        };
        let copied = |pages: &[&Pages]| -> u64 {
            pages.iter().map(|pages| pages.bytes).sum::<u64>() - lent(pages)
        };
        copied(&received).saturating_sub(copied(&sent)).min(lent(&sent))
    }
}

/// Whether these bytes are references to pages that somebody else has.
///
/// Pages of a file or of a process are never copies: the kernel copies into its own pages. (A Unix
/// socket does not mark them as lent.) `passes_kernel_pages` says that the sender's own input was
/// in pages of the kernel, as a socket's may be: then a lent one is that input, and otherwise a
/// copy next to lent pages.
pub(crate) fn is_reference(pages: &Pages, passes_kernel_pages: bool) -> bool {
    match (pages.origin, pages.lent) {
        (Origin::PageCache { .. } | Origin::Anonymous, _) => true,
        (Origin::Kernel, Lent::Shared | Lent::ZeroCopy) => passes_kernel_pages,
        (Origin::Kernel, Lent::No) | (Origin::Linear, _) => false,
    }
}
