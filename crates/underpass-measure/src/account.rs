//! The accounting: each byte that left a socket is entered once, with the process that sent it,
//! the file it came from where one is known, and the way it went.
//!
//! Pages tell what was copied and calls tell by whom; neither is enough. A process is credited
//! with no more bytes of a socket than its own calls on it account for, and a file with no more
//! than was read of it. The parts of a socket always add up to what left it.

pub(crate) mod context;
mod flow;
mod reading;
mod socket;
mod under_way;

use std::collections::BTreeMap;

use crate::evidence::{Evidence, FileId};

use context::{Context, InterfaceKey};
use flow::Flows;
use socket::{Move, split};
pub(crate) use under_way::with_calls_under_way;

/// The way bytes went from where they were to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Pages of the file, lent.
    Reference,
    /// The same, by a call that was not seen.
    ReferenceUnseen,
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
    /// From memory that may be a mapping of a file, or from a pipe while it was not looked at.
    Perhaps,
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
    /// Copied, and no call of a watched process accounts for it.
    Unseen,
}

/// What became of file bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Class {
    /// They left by reference.
    ByReference,
    /// The processor copied them at least once.
    Copied,
    /// They are a file's, or may be, and how they came is not known.
    Unknown,
    /// No file is known to be behind them.
    NotAFile,
}

impl Way {
    /// What the way means for file bytes.
    pub(crate) const fn class(self) -> Class {
        match self {
            Self::Reference | Self::ReferenceUnseen | Self::Direct => Class::ByReference,
            Self::Linear { .. }
            | Self::Encrypted
            | Self::Mapped
            | Self::MappedTls
            | Self::Read
            | Self::Piped
            | Self::ReadTls
            | Self::ReadTransformed => Class::Copied,
            Self::Uncached | Self::Perhaps => Class::Unknown,
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
}

impl Account {
    /// Enters what was seen.
    pub(crate) fn of(evidence: &Evidence, context: &Context) -> Self {
        let mut flows = Flows::of(evidence, context);
        let mut parts = Vec::new();
        let mut by_process: BTreeMap<u32, Vec<Move>> = BTreeMap::new();
        for (place, socket) in evidence.sockets.iter().enumerate() {
            for it in split(place, socket, &mut flows, &mut parts) {
                by_process.entry(it.process).or_default().push(it);
            }
        }
        for (process, moves) in by_process {
            reading::attribute(&flows.reader(process), moves, &mut parts);
        }
        parts.retain(|part| part.bytes > 0);
        Self { parts }
    }

    /// The sum of the parts that fit.
    pub(crate) fn sum(&self, fits: impl Fn(&Part) -> bool) -> u64 {
        self.parts.iter().filter(|part| fits(part)).map(|part| part.bytes).sum()
    }
}

/// Shares of `total` in proportion to `weights`; they add up to `total`, and none exceeds its
/// weight if `total` does not exceed the sum of the weights. Without any weight the first share
/// is the whole; without shares there are none.
fn apportion(total: u64, weights: &[u64]) -> Vec<u64> {
    let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let share = |weight: &u64| {
        let share = (u128::from(total) * u128::from(*weight)).checked_div(sum).unwrap_or(0);
        u64::try_from(share).unwrap_or(u64::MAX)
    };
    let mut shares: Vec<u64> = weights.iter().map(share).collect();
    let mut left = total - shares.iter().sum::<u64>();
    for (share, weight) in shares.iter_mut().zip(weights) {
        // Rounding down lost less than one byte a share.
        let more = left.min(weight.saturating_sub(*share));
        *share += more;
        left -= more;
    }
    if let Some(first) = shares.first_mut() {
        *first += left;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_none_exceeds_its_weight() {
        assert_eq!(apportion(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(apportion(6, &[3, 2, 1]), [3, 2, 1]);
        assert_eq!(apportion(5, &[3, 2, 1]), [3, 2, 0]);
        assert_eq!(apportion(u64::MAX, &[u64::MAX, 0]), [u64::MAX, 0]);
        assert_eq!(apportion(7, &[0, 0]), [7, 0]);
        assert!(apportion(7, &[]).is_empty());
    }
}
