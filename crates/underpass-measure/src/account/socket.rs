//! One socket's bytes, divided among the processes that used it and the ways they took.
//!
//! Kernel pages and linear bytes are where copied bytes end up, but also what passes by
//! reference becomes when the kernel must encrypt it or an interface takes no pages. What was
//! given from memory is copied in any case, so it is counted against them first; only what is
//! left of them can be passed bytes that were copied after all.

use std::collections::{BTreeMap, HashMap};

use super::context::InterfaceKey;
use super::flow::{Content, Flows, Source};
use super::{Part, Way, apportion};
use crate::call::{self, Role};
use crate::evidence::{Calls, FileId, Lent, Memory, Origin, Socket};

/// How a call moves bytes to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// From a descriptor.
    Passed,
    /// From a descriptor that bypasses the page cache.
    PassedDirect,
    /// From memory.
    Given,
    /// From memory that is lent (`MSG_ZEROCOPY`).
    Lent,
}

/// Bytes that a process moved to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) process: u32,
    /// The socket's place.
    pub(crate) socket: usize,
    pub(crate) how: How,
    /// What was passed, or the file whose mapping was given.
    pub(crate) content: Content,
    /// Whether they are TLS records made in user space.
    pub(crate) is_tls: bool,
    /// How many; less what was already entered.
    pub(crate) left: u64,
}

impl Move {
    const fn is_given(&self) -> bool {
        matches!(self.how, How::Given | How::Lent)
    }

    /// The bytes as a part; of what was copied on this side of the socket.
    pub(crate) const fn part(&self, way: Way, copies: u8) -> Part {
        let Self { process, socket, left: bytes, .. } = *self;
        Part { process, socket, file: self.content.file(), way, copies, bytes }
    }

    /// How often writing copied them.
    pub(crate) const fn written(&self) -> u8 {
        if matches!(self.how, How::Lent) { 0 } else { 1 }
    }
}

/// Takes up to `most` bytes from the moves that fit, in proportion to what is left of them.
pub(crate) fn take(most: u64, moves: &mut [Move], fits: impl Fn(&Move) -> bool) -> Vec<Move> {
    if most == 0 {
        return Vec::new();
    }
    take_of(most, moves.iter_mut().filter(|it| it.left > 0 && fits(it)).collect())
}

fn take_of(most: u64, mut moves: Vec<&mut Move>) -> Vec<Move> {
    let there: Vec<u64> = moves.iter().map(|it| it.left).collect();
    let shares = apportion(most.min(there.iter().sum()), &there);
    let taken = moves.iter_mut().zip(shares).map(|(it, share)| {
        it.left -= share;
        Move { left: share, ..**it }
    });
    taken.collect()
}

/// What a call moved to the socket at a place.
fn moves_of(row: &Calls, socket: usize, flows: &mut Flows<'_>) -> Vec<Move> {
    let (how, contents) = match call::role(row.number) {
        Some(Role::Give) => {
            let is_not_seen = row.memory == Memory::NotSeen;
            let unknown = if is_not_seen { Source::NotSeen } else { Source::Memory };
            let content = Content::of(flows.mapped(row).map_or(unknown, Source::File));
            let how = if row.is_zero_copy { How::Lent } else { How::Given };
            (how, vec![(content, row.bytes)])
        }
        Some(Role::Pass) => {
            let how = if row.is_direct { How::PassedDirect } else { How::Passed };
            (how, flows.passed(row))
        }
        Some(Role::Unmeasured | Role::Take) | None => return Vec::new(),
    };
    // What is passed has no head.
    let is_tls = is_tls_record(row.head) && matches!(how, How::Given | How::Lent);
    let process = row.process;
    let all = contents.into_iter();
    all.map(|(content, left)| Move { process, socket, how, content, is_tls, left }).collect()
}

/// RFC 8446 section 5.1: a record begins with its type (20 to 24) and the version 3.1 to 3.4.
fn is_tls_record(head: [u8; 8]) -> bool {
    matches!(head, [20..=24, 3, 1..=4, ..])
}

/// What left a socket, by where it was.
#[derive(Debug, Default)]
struct Lay {
    shared: BTreeMap<FileId, u64>,
    lent: BTreeMap<FileId, u64>,
    kernel: u64,
    shared_kernel: u64,
    linear: u64,
    anonymous: u64,
    interface: InterfaceKey,
}

impl Lay {
    fn of(socket: &Socket) -> Self {
        let mut lay = Self::default();
        let mut most_linear = 0;
        for pages in &socket.sent {
            let bytes = pages.bytes;
            match (pages.origin, pages.lent) {
                (Origin::PageCache { major, minor, inode }, Lent::Shared) => {
                    *lay.shared.entry(FileId::regular(major, minor, inode)).or_default() += bytes;
                }
                (Origin::PageCache { major, minor, inode }, Lent::ZeroCopy) => {
                    *lay.lent.entry(FileId::regular(major, minor, inode)).or_default() += bytes;
                }
                (Origin::Kernel, Lent::Shared | Lent::ZeroCopy) => lay.shared_kernel += bytes,
                // A file's page in a buffer that is not lent is not a reference to the file.
                (Origin::Kernel | Origin::PageCache { .. }, Lent::No) => lay.kernel += bytes,
                (Origin::Linear, _) => {
                    lay.linear += bytes;
                    if bytes > most_linear {
                        most_linear = bytes;
                        lay.interface =
                            InterfaceKey { network: socket.network, index: pages.interface };
                    }
                }
                (Origin::Anonymous, _) => lay.anonymous += bytes,
            }
        }
        lay
    }
}

/// Divides what left the socket at a place: into `parts`, and returns what came from memory.
pub(crate) fn split(
    place: usize,
    socket: &Socket,
    flows: &mut Flows<'_>,
    parts: &mut Vec<Part>,
) -> Vec<Move> {
    let rows = flows.to_socket(socket.inode);
    let mut moves: Vec<Move> = rows.iter().flat_map(|row| moves_of(row, place, flows)).collect();
    let is_incomplete = rows.iter().any(|row| call::role(row.number) == Some(Role::Unmeasured));
    let mut users = rows.iter().map(|row| row.process).chain([socket.process]);
    let is_of_ring = users.any(|process| flows.rings.contains(&process));
    let has_gaps = flows.has_gaps;
    let is_encrypted = socket.upper_layer.as_deref() == Some("tls");
    let is_tls = !is_encrypted && moves.iter().any(|it| it.is_tls);
    moves.iter_mut().for_each(|it| it.is_tls &= !is_encrypted);
    let mut lay = Lay::of(socket);
    // What is seen and no call accounts for.
    let own = |left| Move {
        process: socket.process,
        socket: place,
        how: How::Given,
        content: Content::of(Source::Memory),
        is_tls,
        left,
    };
    for (file, left) in pages_of_files(&lay, &mut moves, parts) {
        let is_blind = is_of_ring || has_gaps;
        let way = if is_blind { Way::Reference } else { Way::ReferenceUnseen };
        parts.push(Part { file: Some(file), ..own(left).part(way, 0) });
    }
    passed_and_copied(&mut lay, &mut moves, is_encrypted, parts);
    let mut memory = lay.kernel + lay.shared_kernel + lay.linear + lay.anonymous;
    let mut pieces = take(lay.anonymous, &mut moves, |it| it.how == How::Lent);
    memory -= sum(&pieces);
    let is_mapped = |it: &Move| it.is_given() && it.content.file().is_some();
    let mapped = take(memory, &mut moves, is_mapped);
    memory -= sum(&mapped);
    parts.extend(mapped.iter().map(|it| it.part(Way::Mapped, 1)));
    let written = take(memory, &mut moves, Move::is_given);
    memory -= sum(&written);
    // Memory that is lent and yet in pages of the kernel was copied.
    pieces.extend(written.iter().map(|it| Move { how: How::Given, ..*it }));
    match (has_gaps, is_incomplete, is_of_ring) {
        // Given between two looks, by the one who gives what is seen.
        (true, ..) => pieces.push(own(memory)),
        (false, true, _) => parts.push(own(memory).part(Way::Memory, 1)),
        (false, false, true) => parts.push(own(memory).part(Way::Ring, 1)),
        (false, false, false) => parts.push(own(memory).part(Way::Unseen, 1)),
    }
    pieces
}

fn sum(moves: &[Move]) -> u64 {
    moves.iter().map(|it| it.left).sum()
}

/// Pages of files that were passed: to the calls that name the file, then to the others; and those
/// that were lent by `MSG_ZEROCOPY` from a mapping. Returns what is left of each.
fn pages_of_files(lay: &Lay, moves: &mut [Move], parts: &mut Vec<Part>) -> Vec<(FileId, u64)> {
    let mut naming: HashMap<Content, Vec<&mut Move>> = HashMap::new();
    for it in moves.iter_mut().filter(|it| !it.is_given()) {
        naming.entry(it.content).or_default().push(it);
    }
    let mut enter = |file: FileId, bytes: u64, taken: Vec<Move>| {
        // Many calls may have moved of many files: one part a process.
        let mut by_process: BTreeMap<u32, Move> = BTreeMap::new();
        for it in taken.iter().filter(|it| it.left > 0) {
            let known = by_process.entry(it.process).or_insert(Move { left: 0, ..*it });
            known.left += it.left;
        }
        let part = |it: &Move| Part { file: Some(file), ..it.part(Way::Reference, 0) };
        parts.extend(by_process.values().map(part));
        (file, bytes - sum(&taken))
    };
    let named = lay.shared.iter().map(|(file, bytes)| {
        let own = naming.remove(&Content::of(Source::File(*file))).unwrap_or_default();
        enter(*file, *bytes, take_of(*bytes, own))
    });
    let named: Vec<(FileId, u64)> = named.filter(|(_, left)| *left > 0).collect();
    let passed = |it: &Move| !it.is_given();
    let rest = named.into_iter().map(|(file, left)| enter(file, left, take(left, moves, passed)));
    let mut rest: Vec<(FileId, u64)> = rest.collect();
    let is_lent = |it: &Move| it.how == How::Lent;
    let lent = lay.lent.iter().map(|(file, left)| (*file, *left));
    rest.extend(lent.map(|(file, left)| enter(file, left, take(left, moves, is_lent))));
    rest
}

/// What was passed and yet is in pages of the kernel or next to the headers.
fn passed_and_copied(lay: &mut Lay, moves: &mut [Move], is_encrypted: bool, parts: &mut Vec<Part>) {
    let given = moves.iter().filter(|it| it.is_given()).map(|it| it.left).sum::<u64>();
    let copied = lay.kernel + lay.shared_kernel + lay.linear;
    let mut excess = copied.saturating_sub(given.saturating_sub(lay.anonymous));
    let linear = Way::Linear { interface: lay.interface };
    let mut places = vec![(&mut lay.linear, Some(linear)), (&mut lay.shared_kernel, None)];
    if is_encrypted {
        places.push((&mut lay.kernel, None));
    }
    for (pages, way) in places {
        for it in take(excess.min(*pages), moves, |it| !it.is_given()) {
            // Otherwise these are the pages that were passed, and the one that filled them copied.
            let is_copied = way.is_some() || is_encrypted;
            let copies = it.content.copies;
            let (way, more) = match (it.content.source, way) {
                (Source::File(_), _) if it.content.is_transformed => (Way::ReadTransformed, 0),
                (Source::File(_), _) if copies > 0 => (Way::Piped, 0),
                (Source::File(_), Some(way)) => (way, 0),
                (Source::File(_), None) if is_encrypted => (Way::Encrypted, 0),
                (Source::File(_), None) if it.how == How::PassedDirect => (Way::Direct, 0),
                (Source::File(_), None) => (Way::Uncached, 1),
                (Source::Socket | Source::Device, _) => (Way::Relayed, 0),
                (Source::Memory, _) => (Way::Memory, 0),
                (Source::NotSeen, _) => (Way::Perhaps, 0),
                (Source::Pipe, _) => (Way::FromPipe, 0),
            };
            parts.push(it.part(way, copies + more + u8::from(is_copied)));
            *pages -= it.left;
            excess -= it.left;
        }
    }
}
