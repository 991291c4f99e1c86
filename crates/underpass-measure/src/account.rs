//! The accounting: each byte that left a socket is entered once, with the process that sent it,
//! the file it came from where one is known, and the way it went.
//!
//! Pages tell what was copied and calls tell by whom; neither is enough. A process is credited
//! with no more bytes of a socket than its own calls on it account for, and a file with no more
//! than was read of it. The parts of a socket always add up to what left it.

mod apportion;
pub(crate) mod context;
pub(crate) mod copies;
mod flow;
mod reading;
mod socket;

use std::collections::{BTreeMap, HashSet};

use crate::call;
use crate::evidence::{Evidence, FileId};

use context::{Context, InterfaceKey};
use flow::Flows;
use socket::{Move, Uses, split};

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
    /// The same, and encrypted in between by the program.
    MappedTls,
    /// Read into memory and written from there.
    Read,
    /// Read into memory, and written into a pipe.
    Piped,
    /// The same with TLS in between.
    ReadTls,
    /// The same, and what was written is not what was read.
    ReadTransformed,
    /// From memory; no reading of a file accounts for it.
    Memory,
    /// Passed on from another socket, or from a device.
    Relayed,
    /// Taken out of a socket into memory, and written from there.
    RelayedThroughMemory,
    /// Through a pipe that no watched process filled.
    FromPipe,
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
            | Self::MappedTls
            | Self::Read
            | Self::Piped
            | Self::ReadTls
            | Self::ReadTransformed => Class::Copied,
            Self::Uncached => Class::Unknown,
            Self::Memory
            | Self::Relayed
            | Self::RelayedThroughMemory
            | Self::FromPipe
            | Self::Ring
            | Self::Unseen => Class::NotAFile,
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

/// Every byte that left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// The parts.
    pub(crate) parts: Vec<Part>,
    /// The sockets' inodes.
    sockets: Vec<u64>,
}

impl Account {
    /// Enters what was seen.
    pub(crate) fn of(evidence: &Evidence, context: &Context) -> Self {
        let mut flows = Flows::of(evidence, context);
        let mut parts = Vec::new();
        let mut by_process: BTreeMap<u32, Vec<Move>> = BTreeMap::new();
        let is_of_ring = evidence.calls.iter().any(|row| call::is_uring(row.number))
            || context.programs.values().any(|program| program.uses_uring);
        for (place, socket) in evidence.sockets.iter().enumerate() {
            let has_gaps = evidence.has_gaps;
            let mut uses = Uses { is_of_ring, has_gaps, ..Uses::default() };
            for row in flows.to_sockets.get(&socket.inode).cloned().unwrap_or_default() {
                uses.enter(row, place, &mut flows);
            }
            for it in split(place, socket, uses, &mut parts) {
                by_process.entry(it.process).or_default().push(it);
            }
        }
        for (process, moves) in by_process {
            reading::attribute(&flows.reader(process), moves, &mut parts);
        }
        parts.retain(|part| part.bytes > 0);
        let sockets = evidence.sockets.iter().map(|socket| socket.inode).collect();
        Self { parts, sockets }
    }

    /// The sum of the parts that fit.
    pub(crate) fn sum(&self, fits: impl Fn(&Part) -> bool) -> u64 {
        self.parts.iter().filter(|part| fits(part)).map(|part| part.bytes).sum()
    }
}

/// The inodes of the TCP sockets.
pub(crate) fn tcp_inodes(evidence: &Evidence) -> HashSet<u64> {
    evidence.sockets.iter().map(|socket| socket.inode).collect()
}
