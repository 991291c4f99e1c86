//! The answer: shares by reference and copied, of all file bytes, per file, peer and process,
//! and the reasons.
//!
//! Bytes by reference are counted page by page. Copied ones are the lesser of what was read and
//! what left from memory, so they carry the mark of a derived figure. Headers and other bytes
//! without a file behind them are shown separately, and are part of no share.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::account::context::Context;
use crate::account::{Account, Class, Part, Way, with_calls_under_way};
use crate::evidence::{Evidence, FileId, Socket};
use crate::explain::interval::Interval;
use crate::explain::reasons::{self, Finding};
use crate::figure::{Figure, float};
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

/// Why a demanded share was not reached, or cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Shortfall(pub(crate) String);

impl Report {
    /// Judges what was seen.
    pub(crate) fn new(evidence: &Evidence, context: &Context) -> Self {
        let evidence = &*with_calls_under_way(evidence);
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
            processes: grouped(account.parts.iter(), |part| {
                let process = part.process;
                let program = context.programs.get(&process);
                let name = program.map(|program| &program.name).filter(|name| !name.is_empty());
                name.map_or_else(|| format!("process {process}"), |it| format!("{it} {process}"))
            }),
            findings: reasons::find(evidence, context, &account),
            lost_events: evidence.lost,
            total,
        }
    }

    /// Holds the share by reference against a demanded percentage.
    ///
    /// # Errors
    ///
    /// [`Shortfall`] if it is below, if no file bytes left, or if it cannot be known.
    pub fn check(&self, min_by_reference: f64) -> Result<(), Shortfall> {
        self.hold(min_by_reference, None, 0)
    }

    /// The same for a share that is known to be in an interval, or of which some bytes are not
    /// judged since they never left: the least that it may be counts.
    pub(crate) fn hold(
        &self,
        wanted: f64,
        interval: Option<Interval>,
        queued_bytes: u64,
    ) -> Result<(), Shortfall> {
        let (total, whole) = (&self.total, self.total.file_bytes());
        if self.lost_events > 0 {
            let lost = words::of(self.lost_events, "event");
            return Err(Shortfall(format!(
                "cannot be judged: {lost} found the tables full, {wanted} % by reference were \
                 demanded; watch for a shorter time, or fewer processes"
            )));
        }
        if whole == 0 {
            return Err(Shortfall(format!(
                "no file bytes were seen to leave a TCP socket, {wanted} % by reference were \
                 demanded; ask the program for a file while it is watched"
            )));
        }
        let (open, all) = (total.unknown_bytes + queued_bytes, whole + queued_bytes);
        let percent = |part: u64| float(part) * 100.0 / float(all);
        let (least, most) = (total.by_reference_bytes, total.by_reference_bytes + open);
        // In an interval what is not known counts as copied.
        let (low, high) = interval.map_or_else(
            || (percent(least), percent(most)),
            |it| (it.low * float(whole) / float(all), it.high + percent(open)),
        );
        let share = interval.map_or_else(|| words::share(least, whole), |it| it.text());
        if low >= wanted {
            return Ok(());
        }
        Err(Shortfall(if high < wanted {
            let of = interval.map_or_else(|| words::count(whole), |_| "the".to_owned());
            format!(
                "{share} of {of} file bytes left by reference, {wanted} % were demanded; the \
                 reasons say what to change"
            )
        } else if interval.is_some() {
            format!(
                "cannot be judged: {share} of the file bytes left by reference, {wanted} % were \
                 demanded; watch longer, or with --budget 100"
            )
        } else {
            let (open, all) = (words::count(open), words::count(all));
            format!(
                "cannot be judged: how {open} of {all} bytes left is not known, {wanted} % by \
                 reference were demanded; the report says why"
            )
        }))
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
    let mut names: HashMap<FileId, String> = HashMap::new();
    let of_files = account.parts.iter().filter(|part| part.way.class() != Class::NotAFile);
    grouped(of_files, |part| match (part.file, part.way) {
        (Some(key), _) => names.entry(key).or_insert_with(|| context.name_of(key)).clone(),
        (None, Way::Mapped | Way::MappedTls) => "one of several mapped files".to_owned(),
        (None, Way::Perhaps) => "perhaps a file".to_owned(),
        (None, _) => "a file not seen".to_owned(),
    })
}

fn by_peer(account: &Account, evidence: &Evidence) -> Vec<Share> {
    let name = |socket: &Socket| {
        socket.peer.map_or_else(|| "a peer not seen".into(), |peer| peer.ip().to_string())
    };
    let mut connections: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut shares = grouped(account.parts.iter(), |part| {
        let socket = &evidence.sockets[part.socket];
        connections.entry(name(socket)).or_default().insert(socket.inode);
        name(socket)
    });
    for share in &mut shares {
        share.connections = connections.get(&share.name).map(|sockets| sockets.len() as u64);
    }
    shares
}

/// The parts by a name, most bytes first.
fn grouped<'a>(
    parts: impl Iterator<Item = &'a Part>,
    mut name: impl FnMut(&Part) -> String,
) -> Vec<Share> {
    let mut shares: BTreeMap<String, Share> = BTreeMap::new();
    for part in parts {
        shares.entry(name(part)).or_default().add(part);
    }
    let named = shares.into_iter().map(|(name, share)| Share { name, ..share });
    let mut shares: Vec<Share> = named.collect();
    shares.sort_by_key(|share| std::cmp::Reverse((share.file_bytes(), share.other_bytes)));
    shares
}
