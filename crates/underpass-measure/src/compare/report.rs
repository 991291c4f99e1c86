//! What a comparison found, as plain data: one row a method, a pair of ends and a cache state.
//!
//! Tables, JSON and pages are drawn from this and from nothing else. A [`Figure`] that could not
//! be measured carries why; a row that could not be run is in [`Report::absent`] with why.

use std::fmt;

use serde::{Serialize, Serializer};
use underpass::Method;

use super::besides::Besides;
use crate::figure::Figure;
pub(crate) use crate::figure::Spread;
use crate::methods::Textbook;
pub(crate) use crate::terms::{Cache, Link, Pair};
use crate::words::percent;

/// Everything one run of `underpass compare` found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    pub machine: Machine,
    pub conditions: Conditions,
    /// What was measured, in the order in which tables show it: warm before cold, then by pair,
    /// link and transfer size, then by method.
    pub rows: Vec<Row>,
    pub absent: Vec<Absent>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    /// Release of the kernel, as uname(2) gives it.
    pub kernel: String,
    pub processor: String,
    pub processors: usize,
    pub memory_bytes: u64,
    /// The kernel's default congestion control; the runs' own is in [`Conditions`].
    pub default_congestion_control: String,
    /// The tier of evidence, `A` or `C`.
    pub tier: char,
    /// What that tier can and cannot know, and why it is not a better one.
    pub tier_reason: String,
}

/// What was held fixed while the methods were compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Conditions {
    /// The file's path, or what it was made as.
    pub file: String,
    pub inode: u64,
    /// The file system it is on, such as `ext4`.
    pub file_system: String,
    pub file_bytes: u64,
    /// Timed runs of each row; medians are over these.
    pub repeats: u32,
    pub congestion_control: String,
    /// The processor that senders are pinned to; `None` if they are not.
    pub sender_processor: Option<usize>,
    /// The processor that receivers, and feeders of sockets, are pinned to.
    pub receiver_processor: Option<usize>,
    /// Bytes the receiver asks for with each read(2).
    pub receiver_call_bytes: usize,
    /// What else a reader must know: what was not as wanted, and what it means.
    pub notes: Vec<String>,
}

/// One method between one pair of ends.
///
/// Figures are of one run each: those that vary are of the run with the median throughput.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    pub pair: Pair,
    /// What is between them; `None` where there is no network.
    pub link: Option<Link>,
    pub cache: Cache,
    #[serde(serialize_with = "name_of_method")]
    pub method: Method,
    /// Payload of one run, in bytes.
    pub bytes: u64,
    /// Payload of one transfer, in bytes. Smaller than `bytes` where a run is many transfers.
    pub transfer_bytes: u64,
    /// Data-moving system calls of one run, by kind.
    pub calls: Vec<CallsOfKind>,
    /// Changes between user and kernel mode in one run.
    pub crossings: Figure,
    /// Times the sender was switched away from in one run.
    pub context_switches: Figure,
    /// Copies by the processor at the sender, per byte of payload.
    pub sender_copies: Figure,
    /// Copies by the processor at the receiver, per byte of payload.
    pub receiver_copies: Figure,
    /// Bytes that reached the other side as references to pages.
    pub by_reference_bytes: Figure,
    /// The inode whose pages they were, as the kernel named it; `None` if it did not.
    pub by_reference_inode: Option<u64>,
    /// Copies by devices, per byte of payload.
    pub dma_copies: Figure,
    /// Page faults of the sender that needed no disk.
    pub minor_faults: Figure,
    /// Page faults of the sender that needed one.
    pub major_faults: Figure,
    /// Pages of the file that the sender had mapped at most.
    pub mapped_pages: Figure,
    /// Processor time of the sender per 10^9 bytes of payload, in seconds.
    pub sender_cpu_s_per_gb: Figure,
    /// The same of all timed runs.
    pub sender_cpu_s_per_gb_range: Spread,
    /// Processor time of the receiver per 10^9 bytes of payload, in seconds.
    pub receiver_cpu_s_per_gb: Figure,
    /// 10^9 bytes of payload per second, from the first call to the receiver's last byte.
    pub gb_per_s: Spread,
    /// Most anonymous memory of the sender beyond what it had before the run, in bytes.
    pub peak_anonymous_bytes: Figure,
    /// Most memory of the sender in mappings of the file, in bytes.
    pub peak_file_mapped_bytes: Figure,
    #[serde(flatten)]
    pub besides: Besides,
    pub verdict: Verdict,
    /// What textbooks say of this method; nothing where they do not.
    pub textbook: Option<Textbook>,
}

/// System calls of one kind in one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CallsOfKind {
    /// The call, such as `sendfile`; several, such as `read + write`, where they are not seen one
    /// by one.
    pub name: String,
    pub calls: Figure,
    /// Bytes they returned, in sum.
    pub bytes: Figure,
}

/// What became of the bytes of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// All of them, or all but a few, crossed as references.
    ByReference {
        /// Share of the payload, 0 to 1.
        share: f64,
        /// The file they were pages of.
        inode: Option<u64>,
    },
    /// Some did.
    Mixed {
        /// Share of the payload, 0 to 1.
        share: f64,
        /// Why the others did not.
        why: String,
    },
    /// The processor copied them.
    Copied { why: String },
    /// It cannot be told here.
    Unknown { why: String },
}

/// A row that was asked for and could not be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Absent {
    pub pair: Pair,
    pub link: Option<Link>,
    #[serde(serialize_with = "name_of_method")]
    pub method: Method,
    pub cache: Cache,
    pub transfer_bytes: u64,
    pub why: String,
}

/// `by reference 100 % (inode 17)`, or what happened instead and why.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByReference { share, inode } => {
                write!(f, "by reference {}", percent(*share))?;
                inode.map_or(Ok(()), |inode| write!(f, " (inode {inode})"))
            }
            Self::Mixed { share, why } => write!(f, "by reference {}: {why}", percent(*share)),
            Self::Copied { why } => write!(f, "copied: {why}"),
            Self::Unknown { why } => write!(f, "unknown: {why}"),
        }
    }
}

fn name_of_method<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(method.name())
}
