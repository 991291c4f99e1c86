//! The accounting without pages: what calls passed from files to TCP sockets, and whether the
//! packets that the same processes sent had pages at all.
//!
//! Passed bytes that left in pages are taken to have left by reference. That is likely and no
//! more: whose pages they were is not seen. What was given from memory was copied for certain,
//! and so was what left without pages. An interface by which one packet left with pages takes
//! pages; what else leaves by it without any is no TCP payload.
//!
//! Source: sendfile(2), splice(2); linux/skbuff.h (`data_len`).

use std::collections::{BTreeMap, BTreeSet};

use crate::evidence::Evidence;
use crate::explain::context::{Context, InterfaceKey};
use crate::explain::ledger::{Ledger, Part, Rows, Way, readers};
use crate::explain::reading::Piece;
use crate::explain::report::Basis;
use crate::explain::socket::Source;

/// Payload of packets that a process sent by an interface in calls of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) process: u32,
    pub(crate) interface: InterfaceKey,
    pub(crate) paged_bytes: u64,
    pub(crate) linear_bytes: u64,
}

/// What one process's packets say of all it passed.
#[derive(Debug, Clone, Copy)]
struct Shares {
    paged: u64,
    /// Of interfaces that take no pages.
    linear: u64,
    /// The one with most of these.
    interface: InterfaceKey,
}

impl Shares {
    fn of(left: &[Left], process: u32) -> Self {
        let takes_pages: BTreeSet<InterfaceKey> =
            left.iter().filter(|left| left.paged_bytes > 0).map(|left| left.interface).collect();
        let mut shares = Self { paged: 0, linear: 0, interface: InterfaceKey::default() };
        let mut most = 0;
        for left in left.iter().filter(|left| left.process == process) {
            shares.paged += left.paged_bytes;
            if !takes_pages.contains(&left.interface) {
                shares.linear += left.linear_bytes;
                if left.linear_bytes > most {
                    (most, shares.interface) = (left.linear_bytes, left.interface);
                }
            }
        }
        shares
    }

    /// How many of `bytes` left without pages; `None` if no packet was seen.
    fn linear_of(self, bytes: u64) -> Option<u64> {
        let all = u128::from(self.paged) + u128::from(self.linear);
        let linear = (u128::from(bytes) * u128::from(self.linear)).checked_div(all)?;
        u64::try_from(linear).ok()
    }
}

/// Enters what calls moved. `connections` are those that each process accepted.
pub(crate) fn ledger(
    evidence: &Evidence,
    left: &[Left],
    connections: &BTreeMap<u32, u64>,
    context: &Context,
) -> Ledger {
    let mut parts = Vec::new();
    let mut pieces = Vec::new();
    let rows = Rows::of(evidence);
    for (socket, of) in evidence.sockets.iter().enumerate() {
        let uses = rows.uses(context, of.inode);
        let is_encrypted = of.upper_layer.as_deref() == Some("tls");
        for pass in &uses.passed {
            match pass.source {
                Source::File(file) => {
                    let whole = Part {
                        process: pass.process,
                        socket,
                        file: Some(file),
                        way: if pass.is_direct { Way::Direct } else { Way::Reference },
                        bytes: pass.left,
                    };
                    if is_encrypted {
                        parts.push(Part { way: Way::Encrypted, ..whole });
                    } else {
                        passed(whole, left, &mut parts);
                    }
                }
                Source::Socket | Source::Other => {
                    let (process, bytes) = (pass.process, pass.left);
                    parts.push(Part { process, socket, file: None, way: Way::Relayed, bytes });
                }
            }
        }
        for give in &uses.given {
            let (process, bytes) = (give.process, give.bytes);
            let of_file = |file, way| Part { process, socket, file: Some(file), way, bytes };
            match give.mapped {
                Some(file) if give.is_lent => {
                    passed(of_file(file, Way::Reference), left, &mut parts);
                }
                Some(file) => parts.push(of_file(file, Way::Mapped)),
                None => pieces.push(Piece { process, socket, is_tls: false, left: bytes }),
            }
        }
    }
    let mut readers = readers(evidence, context);
    for (process, reader) in &mut readers {
        reader.connections = connections.get(process).copied().unwrap_or(0).max(1);
    }
    Ledger::closed(parts, &pieces, readers, Basis::Calls)
}

/// Enters bytes of a file that were passed, by how the process's packets left.
fn passed(whole: Part, left: &[Left], parts: &mut Vec<Part>) {
    let shares = Shares::of(left, whole.process);
    let Some(linear) = shares.linear_of(whole.bytes) else {
        parts.push(Part { way: Way::NoPacket, ..whole });
        return;
    };
    let way = Way::Linear { interface: shares.interface };
    parts.push(Part { way, bytes: linear, ..whole });
    parts.push(Part { bytes: whole.bytes - linear, ..whole });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::context::FileKey;

    const SERVER: u32 = 5;
    const LO: InterfaceKey = InterfaceKey { network: 8, index: 1 };
    const VETH: InterfaceKey = InterfaceKey { network: 8, index: 2 };
    /// Another network's.
    const OTHER: InterfaceKey = InterfaceKey { network: 9, index: 2 };
    const FILE: FileKey = FileKey { major: 8, minor: 1, inode: 7 };

    const fn left(process: u32, interface: InterfaceKey, paged: u64, linear: u64) -> Left {
        Left { process, interface, paged_bytes: paged, linear_bytes: linear }
    }

    /// What becomes of 1000 passed bytes.
    fn ways(left: &[Left]) -> Vec<(Way, u64)> {
        let whole =
            Part { process: SERVER, socket: 0, file: Some(FILE), way: Way::Reference, bytes: 1000 };
        let mut parts = Vec::new();
        passed(whole, left, &mut parts);
        parts.retain(|part| part.bytes > 0);
        parts.iter().map(|part| (part.way, part.bytes)).collect()
    }

    #[test]
    fn passed_bytes_are_divided_as_the_packets_of_their_process_were() {
        assert_eq!(ways(&[left(SERVER, LO, 77, 0)]), [(Way::Reference, 1000)]);
        let linear = Way::Linear { interface: VETH };
        assert_eq!(ways(&[left(SERVER, VETH, 0, 77)]), [(linear, 1000)]);
        let both = [left(SERVER, LO, 3_000, 0), left(SERVER, VETH, 0, 1_000)];
        assert_eq!(ways(&both), [(linear, 250), (Way::Reference, 750)]);
        let both = [left(6, OTHER, 3_000, 0), left(SERVER, VETH, 0, 1_000)];
        assert_eq!(ways(&both), [(linear, 1000)]);
        // Another process's say nothing of this one's.
        assert_eq!(ways(&[left(6, LO, 77, 0)]), [(Way::NoPacket, 1000)]);
    }

    #[test]
    fn an_interface_that_takes_pages_has_no_payload_of_tcp_without() {
        // Datagrams beside it, as of QUIC; the pages may be another process's.
        assert_eq!(ways(&[left(SERVER, LO, 77, 5_000)]), [(Way::Reference, 1000)]);
        let others = [left(SERVER, LO, 0, 5_000), left(6, LO, 1, 0)];
        assert_eq!(ways(&others), [(Way::NoPacket, 1000)]);
    }
}
