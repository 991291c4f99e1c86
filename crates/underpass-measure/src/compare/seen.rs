//! What the probe saw of one run, cut out of all that it saw.
//!
//! A socket is told by its inode and a process by its number, which the comparison knows of the
//! run; what strangers did meanwhile stays out.

use std::collections::BTreeMap;

use linux_raw_sys::general::__NR_io_uring_enter;

use super::crew::Run;
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileKind, Origin, Pages};

/// What was seen of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Data-moving calls of the sender: name, calls, bytes.
    pub(super) calls: Vec<(String, u64, u64)>,
    /// Bytes that it read into its memory from the source.
    pub(super) taken_bytes: u64,
    /// Where the payload was when it left.
    pub(super) sent: Vec<Pages>,
    /// Where the payload was when the receiver copied it.
    pub(super) received: Vec<Pages>,
    /// Times that the sender entered the kernel while it moved the bytes: by a system call, of
    /// whatever kind, or by a page fault in user mode.
    pub(super) entries: u64,
}

impl Seen {
    /// Cuts it out.
    pub(super) fn of(evidence: &Evidence, run: &Run) -> Self {
        let ends = [run.source_inode, run.sink_inode];
        let own = evidence.calls.iter().filter(|calls| calls.process == run.sender_process);
        let mut by_name: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        let (mut taken_bytes, mut entries) = (0, 0);
        for calls in own {
            let role = call::role(calls.number);
            let touches = touches(calls, ends);
            // The empty write that shows the sink to the probe moves nothing.
            if touches && role == Some(Role::Give) && calls.bytes == 0 {
                continue;
            }
            // What goes to none of the ends is between the sender and its starter.
            if touches || (calls.source, calls.target) == (None, None) {
                entries += calls.calls;
            }
            // What io_uring is told names no descriptor.
            let is_of_the_run = touches || calls.number == __NR_io_uring_enter;
            let Some(role) = role.filter(|_| is_of_the_run) else { continue };
            let is_from_source = calls.source.is_some_and(|file| file.inode == run.source_inode);
            if role == Role::Take && is_from_source {
                taken_bytes += calls.bytes;
            }
            let sum = by_name.entry(call::name(calls.number)).or_default();
            *sum = (sum.0 + calls.calls, sum.1 + calls.bytes);
        }
        let sockets = evidence.sockets.iter().filter(|socket| socket.inode == run.sink_inode);
        let received = evidence
            .received
            .iter()
            .filter(|received| Some(received.process) == run.receiver_process);
        let own = evidence.processes.iter().find(|process| process.process == run.sender_process);
        Self {
            calls: by_name.into_iter().map(|(name, (calls, bytes))| (name, calls, bytes)).collect(),
            taken_bytes,
            sent: sockets.flat_map(|socket| socket.sent.iter().cloned()).collect(),
            received: received.map(|received| received.pages.clone()).collect(),
            entries: entries + own.map_or(0, |process| process.user_faults),
        }
    }

    /// Payload that the receiver was seen to copy.
    pub(super) fn received_bytes(&self) -> u64 {
        total(&self.received)
    }
}

/// Whether a call joins one of the ends, or the pipe that is between them, to anything.
fn touches(calls: &Calls, ends: [u64; 2]) -> bool {
    let mut files = [calls.source, calls.target].into_iter().flatten();
    files.any(|file| ends.contains(&file.inode) && file.kind != FileKind::Other)
}

pub(super) fn total(pages: &[Pages]) -> u64 {
    pages.iter().map(|pages| pages.bytes).sum()
}

/// The inode whose pages most of the lent bytes were.
pub(super) fn inode_of(pages: &[Pages]) -> Option<u64> {
    let mut by_inode: BTreeMap<u64, u64> = BTreeMap::new();
    for pages in pages.iter().filter(|pages| pages.is_reference(false)) {
        if let Origin::PageCache { inode, .. } = pages.origin {
            *by_inode.entry(inode).or_default() += pages.bytes;
        }
    }
    by_inode.into_iter().max_by_key(|(_, bytes)| *bytes).map(|(inode, _)| inode)
}
