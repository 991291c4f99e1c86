//! What became of bytes that left through TCP, from the calls and from whether packets had pages:
//! what is known where BPF is not permitted.
//!
//! Whose pages a packet had is not seen, and so nothing is proved: a method that lends pages
//! is likely to have lent those. What left beside the headers was copied for certain, as was
//! what the kernel says of `MSG_ZEROCOPY` itself. A packet that left in an interrupt may be
//! anybody's; those of the sender's own calls stand for all.
//!
//! Source: linux/skbuff.h (`data_len`); `Documentation/networking/msg_zerocopy.rst`.

use underpass::Method;

use super::{Fate, Known, NEARLY_ALL, by_calls, copying};
use crate::compare::order::Account;
use crate::compare::report::Verdict;
use crate::compare::seen::{Packets, Seen};
use crate::figure::{Figure, float};

/// How copies are derived.
const COPIED_FROM: &str = "(bytes read into memory + payload x the share beside the headers \
                           (data_len 0) of what left in packets of the sender's own calls) / \
                           payload";

/// How copies of lent memory are derived.
const LENT_FROM: &str = "the larger of the share that the kernel reports to have copied of the \
                         lent memory it has told of, and the share beside the headers (data_len \
                         0) of what left in packets of the sender's own calls";

/// How bytes by reference are derived.
const LIKELY_FROM: &str = "payload - what was copied; whose pages the packets had is not seen";

/// Of TCP.
pub(super) fn of_tcp(known: &Known<'_>, seen: &Seen, packets: &Packets) -> Fate {
    if copying(known.case.method).is_some() {
        return copied(known, seen);
    }
    let payload = known.case.bytes;
    let Some(linear) = packets.linear_of(payload) else {
        return by_calls::of_sockets(known, "no packet left in a call of the sender's own");
    };
    let lends_memory = matches!(known.case.method, Method::ZeroCopySend | Method::UringSendZc);
    let account = &known.checked.sender;
    if lends_memory && account.zero_copy_done == 0 && linear < payload {
        return by_calls::of_sockets(known, "what became of lent memory is seen by BPF alone");
    }
    let told = told_of(account, payload);
    let (copied, from) = match lends_memory {
        true => (linear.max(told), LENT_FROM),
        false => (linear.saturating_add(seen.taken_bytes), COPIED_FROM),
    };
    let by_reference = payload.saturating_sub(copied);
    Fate {
        sender_copies: Figure::Derived { value: float(copied) / float(payload), from },
        receiver_copies: by_calls::received(known),
        by_reference_bytes: Figure::Derived { value: float(by_reference), from: LIKELY_FROM },
        inode: None,
        verdict: verdict(known, by_reference, told),
    }
}

/// Payload that the kernel copied of lent memory, by what it said of some of it: it may not have
/// told of all when the last call returned.
fn told_of(account: &Account, payload: u64) -> u64 {
    let all = u128::from(payload) * u128::from(account.zero_copy_copied);
    let share = all.checked_div(u128::from(account.zero_copy_done));
    share.and_then(|told| u64::try_from(told).ok()).unwrap_or(0).min(payload)
}

/// Of a method that cannot but copy: what it was seen to read, and what it gave from memory.
fn copied(known: &Known<'_>, seen: &Seen) -> Fate {
    let fate = by_calls::of_sockets(known, "");
    let copies = float(seen.taken_bytes + seen.given_bytes) / float(known.case.bytes);
    Fate {
        sender_copies: Figure::Derived {
            value: copies,
            from: "(bytes that calls were seen to read into memory + bytes that calls were seen \
                   to give to the socket from memory) / payload",
        },
        ..fate
    }
}

fn verdict(known: &Known<'_>, by_reference: u64, told: u64) -> Verdict {
    let share = float(by_reference) / float(known.case.bytes);
    if share > 1.0 - NEARLY_ALL {
        let why = "packets left with pages; whose is seen by BPF alone".into();
        return Verdict::Likely { share, why };
    }
    let why = if told > known.case.bytes / 2 {
        by_calls::told(&known.checked.sender)
    } else {
        "packets left without pages (data_len 0): the kernel copied the bytes into them".into()
    };
    Verdict::Copied { why }
}
