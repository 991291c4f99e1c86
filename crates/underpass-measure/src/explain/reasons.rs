//! Why file bytes were copied on their way to a socket: the reasons, each with the evidence
//! behind it and what to change.
//!
//! A reason is only given for bytes that the account holds in its way, or for calls that were
//! counted; what fits none is R0, which says that it is not known.
//!
//! Source: Documentation/networking/msg_zerocopy.rst (loopback, 10 KB),
//! Documentation/networking/tls.rst, sendfile(2), copy_file_range(2).

use serde::Serialize;

use crate::account::Account;
use crate::account::context::Context;
use crate::evidence::Evidence;
use crate::explain::calls_only;
use crate::explain::from_pages;
use crate::terms::named;

named! {
    /// Why bytes were copied.
    pub enum Reason {
        R0 = "R0", "not known";
        R1 = "R1", "read into memory and written from there";
        R2 = "R2", "written from a mapping of the file";
        R3 = "R3", "encrypted by the CPU";
        R4 = "R4", "what left is not what was read";
        R5 = "R5", "the interface takes no scattered pieces";
        R6 = "R6", "MSG_ZEROCOPY to a peer on this machine";
        R7 = "R7", "MSG_ZEROCOPY of too little at a time";
        R8 = "R8", "the source is not in the page cache";
        R9 = "R9", "from file to file without shared extents";
        R10 = "R10", "by io_uring, without splice or SEND_ZC";
        R11 = "R11", "sent again";
        R12 = "R12", "passed on from a socket through memory";
    }
}

/// A reason that was found to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// Bytes it holds for.
    pub bytes: u64,
    /// What was seen, with its numbers.
    pub evidence: String,
    /// What to change.
    pub fix: String,
}

/// Every reason that holds, most bytes first; R0 and R11 last.
pub(crate) fn find(evidence: &Evidence, context: &Context, account: &Account) -> Vec<Finding> {
    let mut findings = from_pages::find(evidence, context, account);
    findings.extend(calls_only::find(evidence, context, account));
    findings.sort_by_key(|finding| {
        let is_last = matches!(finding.reason, Reason::R0 | Reason::R11);
        (is_last, std::cmp::Reverse(finding.bytes), finding.reason)
    });
    findings
}
