//! What may be put together once there is too much of it to be told apart: sums stay what they
//! are, and names that nobody can learn any more are given up.

use std::collections::HashMap;

use super::{Account, RowKey, Sums};
use crate::explain::context::ENDED;
use crate::trace::descriptors::{Connection, End};

impl Account {
    /// Openings that can get no name any more become one, and so do connections that are over:
    /// there is no end to those.
    pub(super) fn put_together(&mut self) {
        let open = self.descriptors.open_ends();
        let names = std::mem::take(&mut self.names);
        let settled = |end: Option<End>| {
            end.map(|end| match *names.get(&end).unwrap_or(&end) {
                end if open.contains(&end) => end,
                end => nameless(end),
            })
        };
        let mut rows: HashMap<RowKey, Sums> = HashMap::new();
        for (key, sums) in self.rows.drain() {
            let (source, target) = (settled(key.source), settled(key.target));
            rows.entry(RowKey { source, target, ..key }).or_default().add(sums);
        }
        self.rows = rows;
        let is_open = |inode: &u64| {
            let connection = Connection::Inode(*inode);
            open.contains(&End::Tcp(connection)) || open.contains(&End::Tls(connection))
        };
        self.addresses.retain(|inode, _| is_open(inode));
    }

    /// Processes that ended become one: a server may fork for each request.
    pub(super) fn put_ended_together(&mut self) {
        let ended = std::mem::take(&mut self.ended);
        let settled = |process: u32| if ended.contains(&process) { ENDED } else { process };
        let mut rows: HashMap<RowKey, Sums> = HashMap::new();
        for (key, sums) in self.rows.drain() {
            let key = RowKey { process: settled(key.process), ..key };
            rows.entry(key).or_default().add(sums);
        }
        self.rows = rows;
        for ((process, interface), (paged, linear)) in std::mem::take(&mut self.packets) {
            let sums = self.packets.entry((settled(process), interface)).or_default();
            *sums = (sums.0 + paged, sums.1 + linear);
        }
        for (process, connections) in std::mem::take(&mut self.connections) {
            *self.connections.entry(settled(process)).or_default() += connections;
        }
        self.processes.retain(|process, _| !ended.contains(process));
    }
}

/// What stays of what was closed: files keep a name that they have, connections do not.
fn nameless(end: End) -> End {
    match end {
        End::Unknown(_) => End::Unknown(0),
        End::Opened(_) => End::Opened(0),
        End::Tcp(_) => End::Tcp(Connection::New(0)),
        End::Tls(_) => End::Tls(Connection::New(0)),
        End::File(_) | End::Socket(_) | End::Pipe(_) => end,
    }
}
