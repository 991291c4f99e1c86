//! What was recorded, added up: calls by what they joined, and packets by device.
//!
//! Records come in the order of their times. What a descriptor was is settled when a call on it
//! is entered, but for the name of an opened file, which is put in when the sums are asked for.

use std::collections::{BTreeMap, HashMap, HashSet};

use linux_raw_sys::general as sys;

use super::descriptors::{Descriptors, End, Opening};
use super::record::{Call, Event, Packet, Record};
use super::{Packets, Seen};
use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Process, Socket};
use crate::explain::context::FileKey;

/// All TCP sockets together: no packet tells its socket.
const TCP: FileId = FileId { kind: FileKind::Socket, major: 0, minor: 0, inode: 1 };
/// All of those with an upper layer protocol.
const TLS: FileId = FileId { kind: FileKind::Socket, major: 0, minor: 0, inode: 3 };
/// All other sockets.
const OTHER_SOCKETS: FileId = FileId { kind: FileKind::Socket, major: 0, minor: 0, inode: 2 };
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
    packets: BTreeMap<(u32, String), (u64, u64)>,
    connections: BTreeMap<u32, u64>,
    /// Threads that began in the watch, and are recorded by inheritance.
    pub(crate) begun: HashSet<u32>,
    processes: BTreeMap<u32, Process>,
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
                self.begun.insert(record.thread);
                self.descriptors.fork(*parent, process);
                self.known(process);
            }
            Event::Ended => {
                self.begun.remove(&record.thread);
                if record.thread == process {
                    self.descriptors.forget(process);
                }
            }
            Event::Executed => self.descriptors.forget(process),
            Event::Lost(count) => self.lost += count,
        }
        if self.rows.len() + self.names.len() > ROWS_MAX.max(2 * self.put_together) {
            self.put_together();
            self.put_together = self.rows.len();
        }
    }

    /// A process is followed.
    pub(crate) fn known(&mut self, process: u32) {
        self.processes.entry(process).or_insert(Process {
            process,
            user_faults: 0,
            kernel_faults: 0,
            switches: 0,
        });
    }

    #[cfg(test)]
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// An opening was found to be this.
    pub(crate) fn name(&mut self, descriptor: (u32, u64), end: End, is: End) {
        self.names.insert(end, is);
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

    /// Openings that can get no name any more become one.
    fn put_together(&mut self) {
        let open = self.descriptors.open_ends();
        let names = std::mem::take(&mut self.names);
        let settled = |end: Option<End>| {
            end.map(|end| match names.get(&end) {
                Some(name) => *name,
                None if open.contains(&end) => end,
                None => nameless(end),
            })
        };
        let mut rows: HashMap<RowKey, Sums> = HashMap::new();
        for (key, sums) in self.rows.drain() {
            let (source, target) = (settled(key.source), settled(key.target));
            rows.entry(RowKey { source, target, ..key }).or_default().add(sums);
        }
        self.rows = rows;
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
        let socket = |id: FileId| {
            let user = calls.iter().find(|row| row.target == Some(id))?.process;
            Some(sockets(id, user))
        };
        let sockets = [TCP, TLS].into_iter().filter_map(socket).collect();
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

/// What an opening is that was closed before it could be named.
fn nameless(end: End) -> End {
    match end {
        End::Unknown(_) => End::Unknown(0),
        End::Opened(_) => End::Opened(0),
        End::File(_) | End::Tcp | End::Tls | End::Socket | End::Pipe(_) => end,
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
        End::Tcp => Some(TCP),
        End::Tls => Some(TLS),
        End::Socket => Some(OTHER_SOCKETS),
        End::Pipe(inode) => Some(FileId { inode, ..PIPES }),
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

fn sockets(id: FileId, process: u32) -> Socket {
    Socket {
        inode: id.inode,
        process,
        local: None,
        peer: None,
        upper_layer: (id == TLS).then(|| "tls".to_owned()),
        sent: Vec::new(),
        retransmitted_bytes: 0,
    }
}
