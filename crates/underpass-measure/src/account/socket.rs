//! One socket's bytes, divided among the processes that used it and the ways they took.
//!
//! Kernel pages and linear bytes are where copied bytes end up, but also what passes by
//! reference becomes when the kernel must encrypt it or an interface takes no pages. What was
//! given from memory is copied in any case, so it is counted against them first; only what is
//! left of them can be passed bytes that were copied after all.

use std::collections::BTreeMap;

use super::apportion::take;
use super::context::InterfaceKey;
use super::flow::{Content, Flows, Source};
use super::reading::Piece;
use super::{Part, Way};
use crate::call::{self, Role};
use crate::evidence::{Calls, FileId, Lent, Memory, Origin, Socket};

/// What watched processes did to a socket.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    /// Bytes given from memory.
    pub(crate) given: Vec<Giving>,
    /// Bytes passed from other descriptors.
    pub(crate) passed: Vec<Passing>,
    /// Whether calls were made whose bytes are not known.
    pub(crate) is_incomplete: bool,
    /// Whether a watched process has an io_uring, whose operations are not calls.
    pub(crate) is_of_ring: bool,
    /// Whether calls may have been missed.
    pub(crate) has_gaps: bool,
}

impl Uses {
    /// Enters calls that reached the socket.
    pub(crate) fn enter(&mut self, row: &Calls, flows: &mut Flows<'_>) {
        match call::role(row.number) {
            Some(Role::Give) => self.given.push(Giving {
                process: row.process,
                mapped: flows.mapped(row),
                is_unseen: row.memory == Memory::NotSeen,
                is_lent: row.is_zero_copy,
                is_tls: is_tls_record(row.head),
                bytes: row.bytes,
            }),
            Some(Role::Pass) => {
                let (process, is_direct) = (row.process, row.is_direct);
                let passing = |(content, left)| Passing { process, content, is_direct, left };
                self.passed.extend(flows.passed(row).into_iter().map(passing));
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

/// Bytes that a process gave from memory.
#[derive(Debug, Clone)]
pub(crate) struct Giving {
    /// The process.
    pub(crate) process: u32,
    /// The file whose mapping the memory is.
    pub(crate) mapped: Option<FileId>,
    /// Whether it was not seen what the memory is.
    pub(crate) is_unseen: bool,
    /// Whether the memory was lent (`MSG_ZEROCOPY`).
    pub(crate) is_lent: bool,
    /// Whether it began with a TLS record.
    pub(crate) is_tls: bool,
    /// How many; less what was already entered.
    pub(crate) bytes: u64,
}

/// Bytes that a process passed from a descriptor.
#[derive(Debug, Clone)]
pub(crate) struct Passing {
    /// The process.
    pub(crate) process: u32,
    /// What was passed.
    pub(crate) content: Content,
    /// Whether the descriptor bypasses the page cache.
    pub(crate) is_direct: bool,
    /// How many; less what was already entered.
    pub(crate) left: u64,
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

/// Where entries go.
struct Book<'a> {
    place: usize,
    first_user: u32,
    /// Whether there may be passing that no call tells of.
    is_blind: bool,
    parts: &'a mut Vec<Part>,
}

impl Book<'_> {
    fn enter(&mut self, process: u32, (file, way, copies): (Option<FileId>, Way, u8), bytes: u64) {
        self.parts.push(Part { process, socket: self.place, file, way, copies, bytes });
    }

    /// Enters pages of a file that no call accounts for.
    fn enter_unaccounted(&mut self, file: FileId, bytes: u64) {
        let way = if self.is_blind { Way::Reference } else { Way::Unseen };
        self.enter(self.first_user, (Some(file), way, 0), bytes);
    }
}

/// Divides what left a socket: into `parts`, and into `pieces` what came from memory.
pub(crate) fn split(
    place: usize,
    socket: &Socket,
    uses: &Uses,
    parts: &mut Vec<Part>,
    pieces: &mut Vec<Piece>,
) {
    let (mut given, mut passed) = (uses.given.clone(), uses.passed.clone());
    let is_encrypted = socket.upper_layer.as_deref() == Some("tls");
    let mut lay = Lay::of(socket);
    let is_blind = uses.is_of_ring || uses.has_gaps;
    let mut book = Book { place, first_user: socket.process, is_blind, parts };
    shared_pages(&lay, &mut passed, &mut book);
    lent_pages(&lay, &mut given, &mut book);
    passed_and_copied(&mut lay, &given, &mut passed, is_encrypted, &mut book);
    let mut memory = lay.kernel + lay.shared_kernel + lay.linear + lay.anonymous;
    let lent = from_memory(lay.anonymous, &mut given, true, is_encrypted, &book, pieces);
    memory -= lent;
    memory -= mapped_and_copied(memory, &mut given, &mut book);
    memory -= from_memory(memory, &mut given, false, is_encrypted, &book, pieces);
    if uses.has_gaps {
        // Given between two looks, by the one who gives what is seen.
        let is_tls = !is_encrypted && uses.given.iter().any(|give| give.is_tls);
        let process = socket.process;
        pieces.push(Piece { process, socket: place, is_tls, left: memory, ..Piece::default() });
        return;
    }
    let (process, way) = match (uses.is_incomplete, uses.is_of_ring) {
        (true, _) => (socket.process, Way::Memory),
        (false, true) => (socket.process, Way::Ring),
        (false, false) => (socket.process, Way::Unseen),
    };
    book.enter(process, (None, way, 1), memory);
}

/// Pages of files that were passed: to the calls that name the file, then to the others.
fn shared_pages(lay: &Lay, passed: &mut [Passing], book: &mut Book<'_>) {
    for (file, bytes) in &lay.shared {
        let mut left = *bytes;
        for is_named in [true, false] {
            let fits = |pass: &&mut Passing| {
                (pass.content == Content::of(Source::File(*file))) == is_named
            };
            let mut fitting: Vec<&mut Passing> = passed.iter_mut().filter(fits).collect();
            let processes: Vec<u32> = fitting.iter().map(|pass| pass.process).collect();
            let mut amounts: Vec<&mut u64> =
                fitting.iter_mut().map(|pass| &mut pass.left).collect();
            for (process, taken) in processes.into_iter().zip(take(left, &mut amounts)) {
                book.enter(process, (Some(*file), Way::Reference, 0), taken);
                left -= taken;
            }
        }
        book.enter_unaccounted(*file, left);
    }
}

/// Pages of files that were lent by `MSG_ZEROCOPY` from a mapping.
fn lent_pages(lay: &Lay, given: &mut [Giving], book: &mut Book<'_>) {
    for (file, bytes) in &lay.lent {
        let mut lending: Vec<&mut Giving> = given.iter_mut().filter(|give| give.is_lent).collect();
        let processes: Vec<u32> = lending.iter().map(|give| give.process).collect();
        let mut amounts: Vec<&mut u64> = lending.iter_mut().map(|give| &mut give.bytes).collect();
        let mut left = *bytes;
        for (process, taken) in processes.into_iter().zip(take(left, &mut amounts)) {
            book.enter(process, (Some(*file), Way::Reference, 0), taken);
            left -= taken;
        }
        book.enter_unaccounted(*file, left);
    }
}

/// What was passed and yet is in pages of the kernel or next to the headers.
fn passed_and_copied(
    lay: &mut Lay,
    given: &[Giving],
    passed: &mut [Passing],
    is_encrypted: bool,
    book: &mut Book<'_>,
) {
    let from_memory: u64 = given.iter().map(|give| give.bytes).sum();
    let copied = lay.kernel + lay.shared_kernel + lay.linear;
    let expected = from_memory.saturating_sub(lay.anonymous);
    let mut excess = copied.saturating_sub(expected);
    let interface = lay.interface;
    let places = [
        (&mut lay.linear, true, Some(Way::Linear { interface })),
        (&mut lay.shared_kernel, true, None),
        (&mut lay.kernel, is_encrypted, None),
    ];
    for (pages, is_possible, way) in places {
        if !is_possible {
            continue;
        }
        let before = passed.to_vec();
        let mut amounts: Vec<&mut u64> = passed.iter_mut().map(|pass| &mut pass.left).collect();
        let taken = take(excess.min(*pages), &mut amounts);
        for (pass, bytes) in before.iter().zip(taken) {
            // Otherwise these are the pages that were passed, and the one that filled them copied.
            let is_copied = way.is_some() || is_encrypted;
            let (source, copies) = (pass.content.source, pass.content.copies);
            let (way, more) = match (source, way) {
                (Source::File(_), _) if pass.content.is_transformed => (Way::ReadTransformed, 0),
                (Source::File(_), _) if copies > 0 => (Way::Piped, 0),
                (Source::File(_), Some(way)) => (way, 0),
                (Source::File(_), None) if is_encrypted => (Way::Encrypted, 0),
                (Source::File(_), None) if pass.is_direct => (Way::Direct, 0),
                (Source::File(_), None) => (Way::Uncached, 1),
                (Source::Socket | Source::Device, _) => (Way::Relayed, 0),
                (Source::Memory, _) => (Way::Memory, 0),
                (Source::Pipe, _) => (Way::FromPipe, 0),
            };
            let copies = copies + more + u8::from(is_copied);
            book.enter(pass.process, (pass.content.file(), way, copies), bytes);
            *pages -= bytes;
            excess -= bytes;
        }
    }
}

/// What was written from mappings of files, and copied.
fn mapped_and_copied(memory: u64, given: &mut [Giving], book: &mut Book<'_>) -> u64 {
    let mut mapped: Vec<&mut Giving> =
        given.iter_mut().filter(|give| give.mapped.is_some()).collect();
    let owners: Vec<(u32, Option<FileId>)> =
        mapped.iter().map(|give| (give.process, give.mapped)).collect();
    let mut amounts: Vec<&mut u64> = mapped.iter_mut().map(|give| &mut give.bytes).collect();
    let taken = take(memory, &mut amounts);
    for ((process, file), bytes) in owners.into_iter().zip(&taken) {
        book.enter(process, (file, Way::Mapped, 1), *bytes);
    }
    taken.iter().sum()
}

/// What was given from other memory: a file may have been read into it.
fn from_memory(
    memory: u64,
    given: &mut [Giving],
    is_lent: bool,
    is_encrypted: bool,
    book: &Book<'_>,
    pieces: &mut Vec<Piece>,
) -> u64 {
    let fits = |give: &&mut Giving| !is_lent || give.is_lent;
    let mut fitting: Vec<&mut Giving> = given.iter_mut().filter(fits).collect();
    let before: Vec<Giving> = fitting.iter().map(|give| (*give).clone()).collect();
    let mut amounts: Vec<&mut u64> = fitting.iter_mut().map(|give| &mut give.bytes).collect();
    let taken = take(memory, &mut amounts);
    for (give, left) in before.iter().zip(&taken) {
        let Giving { process, is_unseen, .. } = *give;
        let (socket, is_tls) = (book.place, give.is_tls && !is_encrypted);
        pieces.push(Piece { process, socket, is_tls, is_unseen, is_lent, left: *left });
    }
    taken.iter().sum()
}
