//! Calls that have not returned: what they have moved so far.
//!
//! A blocking sendfile(2) of a large file, or a write to a slow reader, is one call for as long as
//! it takes. TCP sends in order, so what left a socket beyond all that returned calls gave it is
//! of the call that is under way.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::apportion;
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileKind};

/// The socket to which a call moves bytes.
fn socket_of(row: &Calls) -> Option<u64> {
    let target = row.target.filter(|target| target.kind == FileKind::Socket)?;
    matches!(call::role(row.number)?, Role::Give | Role::Pass).then_some(target.inode)
}

/// The evidence with the calls under way among the others, as far as what they moved has left.
pub(crate) fn with_calls_under_way(evidence: &Evidence) -> Cow<'_, Evidence> {
    let of_tcp: HashSet<u64> = evidence.sockets.iter().map(|socket| socket.inode).collect();
    let socket_of = |row| socket_of(row).filter(|inode| of_tcp.contains(inode));
    let mut by_socket: HashMap<u64, Vec<&Calls>> = HashMap::new();
    for row in &evidence.under_way {
        if let Some(inode) = socket_of(row) {
            by_socket.entry(inode).or_default().push(row);
        }
    }
    if by_socket.is_empty() {
        return Cow::Borrowed(evidence);
    }
    let mut returned: HashMap<u64, u64> = HashMap::new();
    let mut senders = HashSet::new();
    for row in &evidence.calls {
        if let Some(inode) = socket_of(row) {
            *returned.entry(inode).or_default() += row.bytes;
            senders.insert(row.process);
        }
    }
    let mut whole = evidence.clone();
    for socket in &evidence.sockets {
        let Some(rows) = by_socket.get(&socket.inode) else { continue };
        let left: u64 = socket.sent.iter().map(|pages| pages.bytes).sum();
        let returned = returned.get(&socket.inode).copied().unwrap_or(0);
        let shares = apportion(left.saturating_sub(returned), &vec![1; rows.len()]);
        let moved = rows.iter().zip(shares).filter(|(_, bytes)| *bytes > 0);
        whole.calls.extend(moved.map(|(row, bytes)| Calls { calls: 1, bytes, ..(*row).clone() }));
    }
    // Of one whose first sending is under way all was read before anything was sent.
    let sending: HashSet<u32> = by_socket.values().flatten().map(|row| row.process).collect();
    for row in &mut whole.calls {
        let is_first = sending.contains(&row.process) && !senders.contains(&row.process);
        row.before_sending &= !is_first;
    }
    Cow::Owned(whole)
}
