//! The accounting: each byte that left a socket is entered once, with the process that sent it,
//! the file it came from where one is known, and the way it went.
//!
//! Pages tell what was copied and calls tell by whom; neither is enough. A process is credited
//! with no more bytes of a socket than its own calls on it account for, and a file with no more
//! than was read of it. The parts of a socket always add up to what left it.

mod apportion;
pub(crate) mod context;
pub(crate) mod copies;
mod reading;
mod socket;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::call::{self, Role};
use crate::evidence::{Calls, Evidence, FileId, FileKind, Memory};

use apportion::apportion;
use context::{Context, InterfaceKey};
use reading::Piece;
pub(crate) use reading::Reader;
use socket::{Giving, Passing, Source, Uses, split};

/// The way bytes went from where they were to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Pages of the file, lent.
    Reference,
    /// Pages that the device filled for a descriptor opened with `O_DIRECT`, lent.
    Direct,
    /// Passed by reference, then copied next to the headers for an interface.
    Linear {
        /// Which.
        interface: InterfaceKey,
    },
    /// Passed by reference, then encrypted by the kernel into its own pages.
    Encrypted,
    /// Passed in pages of the kernel that are not the file's: how they were filled is not seen.
    Uncached,
    /// Written from a mapping of the file.
    Mapped,
    /// Read into memory and written from there.
    Read,
    /// The same with TLS in between.
    ReadTls,
    /// The same, and what was written is not what was read.
    ReadTransformed,
    /// From memory; no reading of a file accounts for it.
    Memory,
    /// Passed on from another socket.
    Relayed,
    /// Copied, by operations of an io_uring that were not seen.
    Ring,
    /// No call of a watched process accounts for it.
    Unseen,
}

/// What became of file bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    /// They left by reference.
    ByReference,
    /// The processor copied them at least once.
    Copied,
    /// They are a file's, and how they came is not known.
    Unknown,
    /// No file is known to be behind them.
    NotAFile,
}

impl Way {
    /// What the way means for file bytes.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Reference | Self::Direct => Class::ByReference,
            Self::Linear { .. }
            | Self::Encrypted
            | Self::Mapped
            | Self::Read
            | Self::ReadTls
            | Self::ReadTransformed => Class::Copied,
            Self::Uncached => Class::Unknown,
            Self::Memory | Self::Relayed | Self::Ring | Self::Unseen => Class::NotAFile,
        }
    }
}

/// Bytes of one socket that one process sent in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Who sent them.
    pub(crate) process: u32,
    /// The socket's place in [`Evidence::sockets`].
    pub(crate) socket: usize,
    /// The file they came from, if one is known.
    pub(crate) file: Option<FileId>,
    /// The way they went.
    pub(crate) way: Way,
    /// How often the processor copied each of them before it left.
    pub(crate) copies: u8,
    /// How many.
    pub(crate) bytes: u64,
}

/// Every byte that left, and what each process read and gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The parts.
    pub(crate) parts: Vec<Part>,
    /// What processes read of files and gave to sockets from memory.
    pub(crate) readers: BTreeMap<u32, Reader>,
    /// The sockets' inodes.
    sockets: Vec<u64>,
}

impl Account {
    /// Enters what was seen.
    pub(crate) fn of(evidence: &Evidence, context: &Context) -> Self {
        let mut parts = Vec::new();
        let mut pieces = Vec::new();
        let rows = Rows::of(evidence);
        for (place, socket) in evidence.sockets.iter().enumerate() {
            let uses = rows.uses(context, socket.inode);
            split(place, socket, &uses, &mut parts, &mut pieces);
        }
        let readers = readers(evidence, context);
        for (process, reader) in &readers {
            let own = pieces.iter().filter(|piece| piece.process == *process).cloned().collect();
            reading::attribute(reader, own, &mut parts);
        }
        let without_reader = pieces.iter().filter(|piece| !readers.contains_key(&piece.process));
        parts.extend(without_reader.map(Piece::memory));
        parts.retain(|part| part.bytes > 0);
        let sockets = evidence.sockets.iter().map(|socket| socket.inode).collect();
        Self { parts, readers, sockets }
    }

    /// The sum of the parts that fit.
    pub(crate) fn sum(&self, fits: impl Fn(&Part) -> bool) -> u64 {
        self.parts.iter().filter(|part| fits(part)).map(|part| part.bytes).sum()
    }
}

/// The calls by what they reached: there may be as many sockets as calls.
#[derive(Debug)]
struct Rows<'e> {
    to_sockets: HashMap<u64, Vec<&'e Calls>>,
    /// By process and pipe.
    to_pipes: HashMap<(u32, FileId), Vec<&'e Calls>>,
    has_ring: bool,
    has_gaps: bool,
}

impl<'e> Rows<'e> {
    fn of(evidence: &'e Evidence) -> Self {
        let mut rows = Self {
            to_sockets: HashMap::new(),
            to_pipes: HashMap::new(),
            has_ring: evidence.calls.iter().any(|row| call::is_uring(row.number)),
            has_gaps: evidence.has_gaps,
        };
        for row in &evidence.calls {
            match row.target {
                Some(id) if id.kind == FileKind::Socket => {
                    rows.to_sockets.entry(id.inode).or_default().push(row);
                }
                Some(id) if id.kind == FileKind::Pipe => {
                    rows.to_pipes.entry((row.process, id)).or_default().push(row);
                }
                Some(_) | None => {}
            }
        }
        rows
    }

    /// What watched processes did to the socket of an inode.
    fn uses(&self, context: &Context, inode: u64) -> Uses {
        let mut uses = Uses { has_gaps: self.has_gaps, ..Uses::default() };
        for row in self.to_sockets.get(&inode).into_iter().flatten() {
            match call::role(row.number) {
                Some(Role::Give) => uses.given.push(Giving {
                    process: row.process,
                    memory: row.memory,
                    is_lent: row.is_zero_copy,
                    is_tls: is_tls_record(row.head),
                    bytes: row.bytes,
                }),
                Some(Role::Pass) => {
                    for (source, bytes) in self.sources(row.process, row.source, row.bytes) {
                        uses.passed.push(Passing {
                            process: row.process,
                            source,
                            is_direct: row.is_direct,
                            left: bytes,
                        });
                    }
                }
                Some(Role::Unmeasured) => uses.is_incomplete = true,
                Some(Role::Take) | None => {}
            }
        }
        uses.is_of_ring =
            self.has_ring || context.programs.values().any(|program| program.uses_uring);
        uses
    }

    /// Where bytes passed from a descriptor come from: of a pipe, what was put into it.
    fn sources(&self, process: u32, source: Option<FileId>, bytes: u64) -> Vec<(Source, u64)> {
        match source {
            Some(id) if id.kind == FileKind::Regular => vec![(Source::File(id), bytes)],
            Some(id) if id.kind == FileKind::Socket => vec![(Source::Socket, bytes)],
            Some(pipe) if pipe.kind == FileKind::Pipe => {
                let fed = self.to_pipes.get(&(process, pipe)).into_iter().flatten();
                let fed: Vec<(Source, u64)> =
                    fed.map(|row| (Source::of(row.source), row.bytes)).collect();
                let weights: Vec<u64> = fed.iter().map(|(_, bytes)| *bytes).collect();
                if weights.iter().sum::<u64>() == 0 {
                    return vec![(Source::Other, bytes)];
                }
                let shares = apportion(bytes, &weights);
                fed.into_iter().zip(shares).map(|((source, _), share)| (source, share)).collect()
            }
            Some(_) | None => vec![(Source::Other, bytes)],
        }
    }
}

/// RFC 8446 section 5.1: a record begins with its type (20 to 24) and the version 3.1 to 3.4.
fn is_tls_record(head: [u8; 8]) -> bool {
    matches!(head, [20..=24, 3, 1..=4, ..])
}

/// The inodes of the TCP sockets.
pub(crate) fn tcp_inodes(evidence: &Evidence) -> HashSet<u64> {
    evidence.sockets.iter().map(|socket| socket.inode).collect()
}

/// What each process read of files, less what it read before it sent anything, and what it gave
/// to TCP sockets from memory that is not a mapping.
fn readers(evidence: &Evidence, context: &Context) -> BTreeMap<u32, Reader> {
    let is_tcp = tcp_inodes(evidence);
    let mut sockets: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut readers: BTreeMap<u32, Reader> = BTreeMap::new();
    for row in &evidence.calls {
        match (call::role(row.number), row.source, row.target) {
            (Some(Role::Take), Some(source), _)
                if source.kind == FileKind::Regular
                    && !row.before_sending
                    && !context.is_made_up(source) =>
            {
                let reader = readers.entry(row.process).or_default();
                *reader.files.entry(source).or_default() += row.bytes;
            }
            (Some(Role::Give), _, Some(target))
                if target.kind == FileKind::Socket
                    && is_tcp.contains(&target.inode)
                    && !matches!(row.memory, Memory::File(_)) =>
            {
                let reader = readers.entry(row.process).or_default();
                reader.given_bytes += row.bytes;
                if sockets.insert((row.process, target.inode)) {
                    reader.connections += 1;
                }
            }
            _ => {}
        }
    }
    readers
}
