//! What was recorded, added up: calls by what they joined, and packets by device.
//!
//! Records come in the order of their times. What a descriptor was is settled when a call on it
//! is entered, but for the name of an opened file, which is put in when the sums are asked for.

mod together;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use linux_raw_sys::general as sys;

use super::descriptors::{Connection, Descriptor, Descriptors, End, Opening};
use super::look::{Addresses, Found};
use super::record::{Call, Event, Packet, Record};
use super::{Packets, Seen};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Process, Socket};
use crate::explain::context::FileKey;

/// Set in the number of a socket that was given an upper layer protocol: what it sent before is
/// apart from what it sent after.
pub(crate) const UPPER_LAYER: u64 = 1 << 63;
/// All TCP sockets that were closed before /proc named them. No inode is so large.
const NAMELESS_TCP: u64 = 1 << 62;
/// All other such sockets.
const NAMELESS_SOCKETS: u64 = 1 << 61;
/// All pipes that a process splices through: which of their ends belong together is not seen.
const PIPES: FileId = FileId { kind: FileKind::Pipe, major: 0, minor: 0, inode: 0 };

/// Rows beyond which files that were closed without a name are put together.
const ROWS_MAX: usize = 1 << 16;

/// More than this of a packet without pages, beside what lies before its TCP header, is payload:
/// RFC 9293 section 3.1, a header has 60 bytes at most.
const TCP_HEADER_MAX: u64 = 60;

/// A TCP header with timestamps, as packets with payload have it (RFC 7323 section 3.2).
const TCP_HEADER: u64 = 32;

const MSG_ZEROCOPY: u64 = 0x400_0000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RowKey {
    process: u32,
    number: u32,
    source: Option<End>,
    target: Option<End>,
    is_zero_copy: bool,
    is_direct: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    calls: u64,
    failures: u64,
    bytes: u64,
    buffer: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.bytes = self.bytes.saturating_add(other.bytes);
        if other.buffer != 0 {
            self.buffer = other.buffer;
        }
    }
}

/// The sums so far.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) descriptors: Descriptors,
    rows: HashMap<RowKey, Sums>,
    /// Names that openings were found to have.
    names: HashMap<End, End>,
    /// The addresses of connections, by the socket's inode.
    addresses: HashMap<u64, Addresses>,
    packets: BTreeMap<(u32, String), (u64, u64)>,
    connections: BTreeMap<u32, u64>,
    /// The threads of each process that are recorded.
    threads: HashMap<u32, HashSet<u32>>,
    processes: BTreeMap<u32, Process>,
    /// Processes that ended and still have rows of their own.
    ended: HashSet<u32>,
    lost: u64,
    /// What rows and names there were when they were put together last.
    put_together: usize,
}

impl Account {
    /// Enters a record.
    pub(crate) fn enter(&mut self, record: &Record) {
        let process = record.process;
        match &record.event {
            Event::Call(call) => {
                self.known(process);
                let is_accepted = self.descriptors.follow(process, call);
                *self.connections.entry(process).or_default() += u64::from(is_accepted);
                self.call(process, call);
            }
            Event::Packet(packet) => self.packet(process, packet),
            Event::Begun { parent } => {
                if process != *parent {
                    // Its number may be that of one whose end was lost.
                    self.threads.remove(&process);
                    self.descriptors.fork(*parent, process);
                }
                self.follow(process, record.thread);
            }
            Event::Ended => self.end(process, record.thread),
            Event::Executed => {
                // Of several threads the one that executes takes the number of the first.
                self.threads.insert(process, HashSet::from([process]));
                self.descriptors.forget(process);
                self.known(process);
            }
            Event::Lost(count) => self.lost += count,
        }
        if self.rows.len() + self.names.len() > ROWS_MAX.max(2 * self.put_together) {
            self.put_together();
            if self.rows.len() > ROWS_MAX {
                self.put_ended_together();
            }
            self.put_together = self.rows.len();
        }
    }

    /// A thread is recorded.
    pub(crate) fn follow(&mut self, process: u32, thread: u32) {
        self.threads.entry(process).or_default().insert(thread);
        self.known(process);
    }

    /// Whether a thread is recorded.
    pub(crate) fn follows(&self, process: u32, thread: u32) -> bool {
        self.threads.get(&process).is_some_and(|threads| threads.contains(&thread))
    }

    /// A thread has ended, and with the last of them their process: the first may end before.
    fn end(&mut self, process: u32, thread: u32) {
        let threads = self.threads.entry(process).or_default();
        threads.remove(&thread);
        if threads.is_empty() {
            self.threads.remove(&process);
            self.ended.insert(process);
            self.descriptors.forget(process);
        }
    }

    /// A process is followed, and is there.
    fn known(&mut self, process: u32) {
        self.ended.remove(&process);
        self.processes.entry(process).or_insert(Process {
            process,
            user_faults: 0,
            kernel_faults: 0,
            switches: 0,
        });
    }

    /// Processes that are known and have not ended.
    pub(crate) fn living(&self) -> BTreeSet<u32> {
        let living = self.processes.keys().filter(|process| !self.ended.contains(process));
        living.copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    #[cfg(test)]
    pub(crate) fn address_count(&self) -> usize {
        self.addresses.len()
    }

    /// A connection was found, with its addresses.
    pub(crate) fn note_addresses(&mut self, found: Found) {
        if let (End::Tcp(Connection::Inode(inode)), Some(addresses)) = (found.end, found.addresses)
        {
            self.addresses.insert(inode, addresses);
        }
    }

    /// An opening was found to be this.
    pub(crate) fn name(&mut self, descriptor: Descriptor, end: End, is: End) {
        let is = match (end, is) {
            (End::Tls(_), End::Tcp(connection)) => End::Tls(connection),
            // /proc does not tell a TCP socket that is not connected, or not any more.
            (End::Tcp(_) | End::Tls(_), _) if !matches!(is, End::Tcp(_)) => return,
            _ => is,
        };
        self.names.insert(end, is);
        // What it was before it had an upper layer is the same connection.
        if let (End::Tls(new), End::Tls(connection)) = (end, is) {
            self.names.insert(End::Tcp(new), End::Tcp(connection));
        }
        let is_direct = self.descriptors.at(descriptor).is_direct;
        self.descriptors.set(descriptor, Opening { end: is, is_direct });
    }

    fn call(&mut self, process: u32, call: &Call) {
        let Some(role) = call::role(call.number) else { return };
        let [first, second, third, fourth] = call.arguments;
        let (source, target) = match (call.number, role) {
            (sys::__NR_sendfile, _) => (Some(second), Some(first)),
            (sys::__NR_splice | sys::__NR_copy_file_range, _) => (Some(first), Some(third)),
            (sys::__NR_tee, _) => (Some(first), Some(second)),
            (sys::__NR_vmsplice | sys::__NR_sendmmsg, _) | (_, Role::Give) => (None, Some(first)),
            (_, Role::Take) => (Some(first), None),
            (_, Role::Pass | Role::Unmeasured) => (None, None),
        };
        // The kernel reads 32 bits of a descriptor.
        let number = |fd: u64| (process, fd & u64::from(u32::MAX));
        let mut opening = |fd: Option<u64>| fd.map(|fd| self.descriptors.at(number(fd)));
        let (source_is, target_is) = (opening(source), opening(target));
        if call.number == sys::__NR_splice {
            self.one_is_a_pipe(source_is, target_is);
        }
        let is_direct = [source_is, target_is].into_iter().flatten().any(|is| is.is_direct);
        let flags = match call.number {
            sys::__NR_sendto => fourth,
            sys::__NR_sendmsg => third,
            _ => 0,
        };
        let key = RowKey {
            process,
            number: call.number,
            source: source_is.map(|is| is.end),
            target: target_is.map(|is| is.end),
            is_zero_copy: flags & MSG_ZEROCOPY != 0,
            is_direct,
        };
        let is_plain = [sys::__NR_write, sys::__NR_pwrite64, sys::__NR_sendto];
        let sums = Sums {
            calls: 1,
            failures: u64::from(call.returned < 0),
            bytes: match role {
                Role::Unmeasured => 0,
                Role::Take | Role::Give | Role::Pass => u64::try_from(call.returned).unwrap_or(0),
            },
            buffer: if is_plain.contains(&call.number) { second } else { 0 },
        };
        self.rows.entry(key).or_default().add(sums);
    }

    fn packet(&mut self, process: u32, packet: &Packet) {
        // A packet that left in an interrupt may be anybody's.
        if !packet.is_own {
            return;
        }
        let behind = packet.len.saturating_sub(packet.transport_offset);
        let linear = match packet.paged {
            0 if behind > TCP_HEADER_MAX => behind - TCP_HEADER,
            _ => 0,
        };
        let sums = self.packets.entry((process, packet.interface.clone())).or_default();
        *sums = (sums.0 + packet.paged, sums.1 + linear);
    }

    /// splice(2): "one of the file descriptors must refer to a pipe".
    fn one_is_a_pipe(&mut self, source: Option<Opening>, target: Option<Opening>) {
        let (Some(source), Some(target)) = (source, target) else { return };
        let is_settled = |end: End| !matches!(end, End::Unknown(_) | End::Pipe(_));
        for (one, other) in [(source.end, target.end), (target.end, source.end)] {
            if is_settled(one) && matches!(other, End::Unknown(_)) {
                self.names.entry(other).or_insert(End::Pipe(0));
            }
        }
    }

    fn socket(&self, end: End, id: FileId) -> Socket {
        let addresses = self.addresses.get(&(id.inode & !UPPER_LAYER));
        Socket {
            inode: id.inode,
            process: u32::MAX,
            network: 0,
            local: addresses.map(|addresses| addresses.local),
            peer: addresses.map(|addresses| addresses.peer),
            upper_layer: matches!(end, End::Tls(_)).then(|| "tls".to_owned()),
            sent: Vec::new(),
            retransmitted_bytes: 0,
        }
    }

    /// All of it.
    pub(crate) fn seen(&self) -> Seen {
        let id = |end: Option<End>| {
            let end = end.map(|end| self.names.get(&end).copied().unwrap_or(end));
            end.and_then(id_of)
        };
        let mut rows: HashMap<RowKey, Sums> = HashMap::new();
        let known = |end: Option<End>| id(end).map(End::File);
        for (key, sums) in &self.rows {
            let (source, target) = (known(key.source), known(key.target));
            rows.entry(RowKey { source, target, ..*key }).or_default().add(*sums);
        }
        let rows = with_pipes_joined(rows);
        let mut calls: Vec<Calls> = rows.iter().map(|(key, sums)| calls(key, sums)).collect();
        calls.sort_by_key(|row| (row.process, row.number, row.source, row.target));
        let mut sockets: BTreeMap<u64, Socket> = BTreeMap::new();
        for key in self.rows.keys() {
            let end = key.target.map(|end| self.names.get(&end).copied().unwrap_or(end));
            let (Some(end @ (End::Tcp(_) | End::Tls(_))), Some(id)) = (end, id(end)) else {
                continue;
            };
            let socket = sockets.entry(id.inode).or_insert_with(|| self.socket(end, id));
            socket.process = socket.process.min(key.process);
        }
        let sockets = sockets.into_values().collect();
        let packets = self.packets.iter().map(|((process, interface), (paged, linear))| Packets {
            process: *process,
            interface: interface.clone(),
            paged_bytes: *paged,
            linear_bytes: *linear,
        });
        Seen {
            packets: packets.collect(),
            connections: self.connections.clone(),
            evidence: Evidence {
                calls,
                sockets,
                received: Vec::new(),
                processes: self.processes.values().cloned().collect(),
                lost: self.lost,
                has_gaps: false,
            },
        }
    }
}

/// The pipes that calls pass through become one a process.
fn with_pipes_joined(rows: HashMap<RowKey, Sums>) -> HashMap<RowKey, Sums> {
    let is_pipe = |end: &End| matches!(end, End::File(id) if id.kind == FileKind::Pipe);
    let ends = |key: &RowKey| [key.source, key.target].into_iter().flatten().filter(is_pipe);
    let passing = rows.keys().filter(|key| call::role(key.number) == Some(Role::Pass));
    let spliced: HashSet<(u32, End)> = passing
        .flat_map(|key| ends(key).map(|end| (key.process, end)).collect::<Vec<_>>())
        .collect();
    let joined = |process: u32, end: Option<End>| match end {
        Some(end) if spliced.contains(&(process, end)) => Some(End::File(PIPES)),
        _ => end,
    };
    let mut all: HashMap<RowKey, Sums> = HashMap::new();
    for (key, sums) in rows {
        let (source, target) = (joined(key.process, key.source), joined(key.process, key.target));
        all.entry(RowKey { source, target, ..key }).or_default().add(sums);
    }
    all
}

fn id_of(end: End) -> Option<FileId> {
    let FileKey { major, minor, inode } = FileKey::NOT_SEEN;
    match end {
        End::Unknown(_) => None,
        End::Opened(_) => Some(FileId { kind: FileKind::Regular, major, minor, inode }),
        End::File(id) => Some(id),
        End::Tcp(connection) => Some(socket_id(number_of(connection))),
        End::Tls(connection) => Some(socket_id(number_of(connection) | UPPER_LAYER)),
        End::Socket(0) => Some(socket_id(NAMELESS_SOCKETS)),
        End::Socket(inode) => Some(socket_id(inode)),
        End::Pipe(inode) => Some(FileId { inode, ..PIPES }),
    }
}

const fn socket_id(inode: u64) -> FileId {
    FileId { kind: FileKind::Socket, major: 0, minor: 0, inode }
}

const fn number_of(connection: Connection) -> u64 {
    match connection {
        Connection::New(_) => NAMELESS_TCP,
        Connection::Inode(inode) => inode,
    }
}

fn calls(key: &RowKey, sums: &Sums) -> Calls {
    Calls {
        process: key.process,
        number: key.number,
        source: key.source.and_then(id_of),
        target: key.target.and_then(id_of),
        is_zero_copy: key.is_zero_copy,
        is_direct: key.is_direct,
        calls: sums.calls,
        failures: sums.failures,
        bytes: sums.bytes,
        buffer: sums.buffer,
        head: [0; 8],
    }
}
