//! The answer: shares by reference and copied, of all file bytes, per file, peer and process,
//! and the reasons.
//!
//! Bytes by reference are counted page by page. Copied ones are the lesser of what was read and
//! what left from memory, so they carry the mark of a derived figure. Headers and other bytes
//! without a file behind them are shown separately, and are part of no share.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::account::context::{Context, ENDED};
use crate::account::{Account, Class, Part, Way};
use crate::evidence::Evidence;
use crate::explain::reasons::{self, Finding};
use crate::figure::{Figure, float};
use crate::observe::Tier;
use crate::words;

/// How copied bytes are derived.
const COPIED_FROM: &str = "bytes that left in copied pages, as far as reads of files, writes \
                           from their mappings, or sendfile and splice account for them";

/// Bytes of one file, peer or process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Path, address, or program and process number.
    pub name: String,
    /// Connections, of a peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<u64>,
    /// File bytes that left by reference.
    pub by_reference_bytes: u64,
    /// File bytes that the processor copied.
    pub copied_bytes: u64,
    /// File bytes of which neither is known.
    pub unknown_bytes: u64,
    /// Bytes without a file behind them, such as headers.
    pub other_bytes: u64,
}

impl Share {
    /// All file bytes.
    #[must_use]
    pub const fn file_bytes(&self) -> u64 {
        self.by_reference_bytes + self.copied_bytes + self.unknown_bytes
    }

    fn add(&mut self, part: &Part) {
        *match part.way.class() {
            Class::ByReference => &mut self.by_reference_bytes,
            Class::Copied => &mut self.copied_bytes,
            Class::Unknown => &mut self.unknown_bytes,
            Class::NotAFile => &mut self.other_bytes,
        } += part.bytes;
    }
}

/// What left, and why it was copied where it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Everything together.
    pub total: Share,
    /// File bytes that left by reference.
    pub by_reference: Figure,
    /// Percentage of file bytes that left by reference.
    pub by_reference_percent: Figure,
    /// File bytes that the processor copied.
    pub copied: Figure,
    /// Payload that left again.
    pub retransmitted: Figure,
    /// By file, most bytes first.
    pub files: Vec<Share>,
    /// By the address of the other end, most bytes first.
    pub peers: Vec<Share>,
    /// By process, most bytes first.
    pub processes: Vec<Share>,
    /// Why bytes were copied, most bytes first.
    pub findings: Vec<Finding>,
    /// Events that were lost: if not zero, every count is a lower bound.
    pub lost_events: u64,
}

/// Why a demanded share was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Shortfall {
    /// Less than demanded left by reference.
    #[error(
        "{share} of {} file bytes left by reference, {wanted} % were demanded; \
         the reasons say what to change",
        words::count(*file_bytes)
    )]
    Below {
        /// The share, as text.
        share: String,
        /// File bytes that left.
        file_bytes: u64,
        /// The percentage demanded, as text.
        wanted: String,
    },
    /// It may be less or more than demanded.
    #[error(
        "cannot be judged: {share} of the file bytes left by reference, {wanted} % were demanded; \
         watch longer, or with --budget 100"
    )]
    Undecided {
        /// From where to where the share is, as text.
        share: String,
        /// The percentage demanded, as text.
        wanted: String,
    },
    /// Events were lost, and what they told may be more or less than was demanded.
    #[error(
        "cannot be judged: {} found the tables full, {wanted} % by reference were demanded; \
         watch for a shorter time, or fewer processes",
        words::of(*lost_events, "event")
    )]
    Lost {
        /// How many.
        lost_events: u64,
        /// The percentage demanded, as text.
        wanted: String,
    },
    /// Nothing that could be judged left.
    #[error(
        "no file bytes were seen to leave a TCP socket, {wanted} % by reference were demanded; \
         ask the program for a file while it is watched"
    )]
    Nothing {
        /// The percentage demanded, as text.
        wanted: String,
    },
    /// The watcher may not see pages.
    #[error(
        "the share by reference is not known in tier {tier:?} ({why}), {wanted} % were demanded"
    )]
    Unknown {
        /// What the watcher may see.
        tier: Tier,
        /// Why not more.
        why: String,
        /// The percentage demanded, as text.
        wanted: String,
    },
}

impl Report {
    /// Judges what was seen.
    pub(crate) fn new(evidence: &Evidence, context: &Context) -> Self {
        let account = Account::of(evidence, context);
        let again = evidence.sockets.iter().map(|socket| socket.retransmitted_bytes).sum();
        let mut total = Share { name: "all".into(), ..Share::default() };
        for part in &account.parts {
            total.add(part);
        }
        Self {
            by_reference: Figure::count(total.by_reference_bytes),
            by_reference_percent: percent(&total),
            copied: Figure::Derived { value: float(total.copied_bytes), from: COPIED_FROM },
            retransmitted: Figure::count(again),
            files: by_file(&account, context),
            peers: by_peer(&account, evidence),
            processes: by_process(&account, context),
            findings: reasons::find(evidence, context, &account),
            lost_events: evidence.lost,
            total,
        }
    }

    /// Whether there is something to judge, and no event was lost.
    pub(crate) const fn is_whole(&self) -> bool {
        self.total.file_bytes() > 0 && self.lost_events == 0
    }

    /// Holds the share by reference against a demanded percentage.
    ///
    /// # Errors
    ///
    /// [`Shortfall`] if it is below, if no file bytes left.
    pub fn check(&self, min_by_reference: f64) -> Result<(), Shortfall> {
        let wanted = min_by_reference.to_string();
        if self.lost_events > 0 {
            return Err(Shortfall::Lost { lost_events: self.lost_events, wanted });
        }
        match self.by_reference_percent.value() {
            None => Err(Shortfall::Nothing { wanted }),
            Some(percent) if percent < min_by_reference => Err(Shortfall::Below {
                share: words::share(self.total.by_reference_bytes, self.total.file_bytes()),
                file_bytes: self.total.file_bytes(),
                wanted,
            }),
            Some(_) => Ok(()),
        }
    }
}

fn percent(total: &Share) -> Figure {
    match total.file_bytes() {
        0 => Figure::Unavailable("no file bytes were seen to leave a TCP socket".into()),
        all => Figure::Derived {
            value: float(total.by_reference_bytes) * 100.0 / float(all),
            from: "bytes by reference / (bytes by reference + copied + unknown) x 100",
        },
    }
}

fn by_file(account: &Account, context: &Context) -> Vec<Share> {
    let mut shares = BTreeMap::new();
    for part in account.parts.iter().filter(|part| part.way.class() != Class::NotAFile) {
        let is_mapped = matches!(part.way, Way::Mapped | Way::MappedTls);
        let not_told = if is_mapped { "one of several mapped files" } else { "a file not seen" };
        let name = part.file.map_or_else(|| not_told.into(), |key| context.name_of(key));
        add(&mut shares, name, part);
    }
    sorted(shares)
}

fn by_peer(account: &Account, evidence: &Evidence) -> Vec<Share> {
    let mut shares = BTreeMap::new();
    let mut connections: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for part in &account.parts {
        let socket = evidence.sockets.get(part.socket);
        let peer = socket.and_then(|socket| socket.peer);
        let name = peer.map_or_else(|| "a peer not seen".into(), |peer| peer.ip().to_string());
        if let Some(socket) = socket {
            connections.entry(name.clone()).or_default().insert(socket.inode);
        }
        add(&mut shares, name, part);
    }
    for (name, share) in &mut shares {
        share.connections = connections.get(name).map(|sockets| sockets.len() as u64);
    }
    sorted(shares)
}

fn by_process(account: &Account, context: &Context) -> Vec<Share> {
    let mut shares = BTreeMap::new();
    for part in &account.parts {
        let name = match context.program_of(part.process) {
            name if part.process == ENDED => name,
            name if name.ends_with(&format!(" {}", part.process)) => name,
            name => format!("{name} {}", part.process),
        };
        add(&mut shares, name, part);
    }
    sorted(shares)
}

fn add(shares: &mut BTreeMap<String, Share>, name: String, part: &Part) {
    let share = shares.entry(name.clone()).or_default();
    share.name = name;
    share.add(part);
}

fn sorted(shares: BTreeMap<String, Share>) -> Vec<Share> {
    let mut shares: Vec<Share> = shares.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse((share.file_bytes(), share.other_bytes)));
    shares
}
