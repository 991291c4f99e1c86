//! One socket's bytes, divided among the processes that used it and the ways they took.
//!
//! Kernel pages and linear bytes are where copied bytes end up, but also what passes by
//! reference becomes when the kernel must encrypt it or an interface takes no pages. What was
//! given from memory is copied in any case, so it is counted against them first; only what is
//! left of them can be passed bytes that were copied after all.

use std::collections::BTreeMap;

use super::apportion::apportion;
use super::context::InterfaceKey;
use super::flow::{Content, Flows, Source};
use super::{Part, Way};
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
    let fitting = moves.iter_mut().filter(|it| fits(it));
    let mut fitting: Vec<&mut Move> = fitting.collect();
    let there: Vec<u64> = fitting.iter().map(|it| it.left).collect();
    let shares = apportion(most.min(there.iter().sum()), &there);
    let taken = fitting.iter_mut().zip(shares).map(|(it, share)| {
        it.left -= share;
        Move { left: share, ..**it }
    });
    taken.collect()
}

/// What watched processes did to a socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    pub(crate) moves: Vec<Move>,
    /// Whether calls were made whose bytes are not known.
    pub(crate) is_incomplete: bool,
    /// Whether a watched process has an io_uring, whose operations are not calls.
    pub(crate) is_of_ring: bool,
    /// Whether calls may have been missed.
    pub(crate) has_gaps: bool,
}

impl Uses {
    /// Enters calls that reached the socket at a place.
    pub(crate) fn enter(&mut self, row: &Calls, socket: usize, flows: &mut Flows<'_>) {
        let process = row.process;
        match call::role(row.number) {
            Some(Role::Give) => {
                let unknown = match row.memory {
                    Memory::NotSeen => Source::NotSeen,
                    Memory::None | Memory::Own | Memory::File(_) => Source::Memory,
                };
                let content = Content::of(flows.mapped(row).map_or(unknown, Source::File));
                let how = if row.is_zero_copy { How::Lent } else { How::Given };
                let (is_tls, left) = (is_tls_record(row.head), row.bytes);
                self.moves.push(Move { process, socket, how, content, is_tls, left });
            }
            Some(Role::Pass) => {
                let how = if row.is_direct { How::PassedDirect } else { How::Passed };
                let passed = flows.passed(row).into_iter();
                self.moves.extend(passed.map(|(content, left)| Move {
                    process,
                    socket,
                    how,
                    content,
                    is_tls: false,
                    left,
                }));
            }
            Some(Role::Unmeasured) => self.is_incomplete = true,
            Some(Role::Take) | None => {}
        }
    }
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
pub(crate) fn split(place: usize, socket: &Socket, uses: Uses, parts: &mut Vec<Part>) -> Vec<Move> {
    let mut moves = uses.moves;
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
    let is_blind = uses.is_of_ring || uses.has_gaps;
    for (file, left) in pages_of_files(&lay, &mut moves, parts) {
        let way = if is_blind { Way::Reference } else { Way::Unseen };
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
    match (uses.has_gaps, uses.is_incomplete, uses.is_of_ring) {
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
    let mut rest = Vec::new();
    let mut enter = |file: FileId, bytes: u64, order: [&dyn Fn(&Move) -> bool; 2]| {
        let mut left = bytes;
        for fits in order {
            let taken = take(left, moves, fits);
            left -= sum(&taken);
            let part = |it: &Move| Part { file: Some(file), ..it.part(Way::Reference, 0) };
            parts.extend(taken.iter().map(part));
        }
        rest.push((file, left));
    };
    for (file, bytes) in &lay.shared {
        let whole = Content::of(Source::File(*file));
        enter(*file, *bytes, [&|it| !it.is_given() && it.content == whole, &|it| !it.is_given()]);
    }
    for (file, bytes) in &lay.lent {
        enter(*file, *bytes, [&|it| it.how == How::Lent, &|_| false]);
    }
    rest
}

/// What was passed and yet is in pages of the kernel or next to the headers.
fn passed_and_copied(lay: &mut Lay, moves: &mut [Move], is_encrypted: bool, parts: &mut Vec<Part>) {
    let given = moves.iter().filter(|it| it.is_given()).map(|it| it.left).sum::<u64>();
    let copied = lay.kernel + lay.shared_kernel + lay.linear;
    let mut excess = copied.saturating_sub(given.saturating_sub(lay.anonymous));
    let linear = Way::Linear { interface: lay.interface };
    let places = [
        (&mut lay.linear, true, Some(linear)),
        (&mut lay.shared_kernel, true, None),
        (&mut lay.kernel, is_encrypted, None),
    ];
    for (pages, _, way) in places.into_iter().filter(|(_, is_possible, _)| *is_possible) {
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
                (Source::Memory | Source::NotSeen, _) => (Way::Memory, 0),
                (Source::Pipe, _) => (Way::FromPipe, 0),
            };
            parts.push(it.part(way, copies + more + u8::from(is_copied)));
            *pages -= it.left;
            excess -= it.left;
        }
    }
}
