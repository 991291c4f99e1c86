//! Which files the bytes that a process sent from its memory were read from.
//!
//! Nothing ties a read to a write but their numbers. So the files that were read most are taken
//! to be the ones that were sent, and only as far as the bytes given to sockets reach: a
//! configuration that was read, too, does not fit into what is left, which is headers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::apportion::apportion;
use super::flow::{Content, Contents, Source};
use super::socket::{Move, take};
use super::{Part, Way};
use crate::evidence::FileId;

/// Bytes of reading beyond what was given that are not a sign of a transformation.
const SLACK_BYTES: u64 = 64 * 1024;

/// A response's head, about; what is left of a connection's bytes below it is taken for one.
const HEAD_BYTES: u64 = 320;

/// A request, about.
const REQUEST_BYTES: u64 = 1024;

/// Files from here on are never taken for part of heads.
const SMALL_BYTES: u64 = 1024;

/// What a process read of files and gave to sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Bytes read, by file, since it began to send; also those that came by a pipe.
    pub(crate) files: BTreeMap<Content, u64>,
    /// Bytes read before that, or of the system: of its configuration and its code, most likely.
    pub(crate) before: BTreeMap<Content, u64>,
    /// Bytes taken out of pipes that no watched process filled.
    pub(crate) piped_bytes: u64,
    /// Bytes taken out of sockets, and the calls that took them.
    pub(crate) received_bytes: u64,
    pub(crate) received_calls: u64,
    /// Files that it mapped.
    pub(crate) mapped: BTreeSet<FileId>,
    /// Bytes given to TCP sockets, and to pipes that lead on, from memory that is not a mapping of
    /// a file.
    pub(crate) given_bytes: u64,
    /// TCP connections it gave them to.
    pub(crate) connections: u64,
}

impl Reader {
    /// Notes bytes that were read of a file.
    pub(crate) fn note(&mut self, content: Content, is_before: bool, bytes: u64) {
        let files = if is_before { &mut self.before } else { &mut self.files };
        if bytes > 0 {
            *files.entry(content).or_default() += bytes;
        }
    }

    /// Bytes read of all files.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// Whether clearly more was read than was given: compressed, filtered, or read for another
    /// purpose. Not so if a single file accounts for what was given.
    pub(crate) fn is_transforming(&self) -> bool {
        let given = self.given_bytes;
        let is_one_file =
            self.files.values().any(|read| *read <= given && *read >= given - given / 10);
        self.given_bytes > 0
            && !is_one_file
            && self.read_bytes() > given.saturating_add(given / 10).saturating_add(SLACK_BYTES)
    }

    /// How many of the given bytes each file is behind.
    fn sent(&self) -> BTreeMap<Content, u64> {
        let given = self.given_bytes;
        if self.is_transforming() {
            let weights: Vec<u64> = self.files.values().copied().collect();
            return self.files.keys().copied().zip(apportion(given, &weights)).collect();
        }
        let mut largest_first: Vec<(Content, u64)> =
            self.files.iter().map(|(file, read)| (*file, *read)).collect();
        largest_first.sort_by_key(|(file, read)| (Reverse(*read), *file));
        let heads = HEAD_BYTES.saturating_mul(self.connections);
        let mut left = given;
        let mut sent = BTreeMap::new();
        for (file, read) in &largest_first {
            // What was not seen open may be of /proc.
            let is_beside = !sent.is_empty() || file.source == Source::File(FileId::NOT_SEEN);
            let is_of_heads = left <= heads && *read < SMALL_BYTES && is_beside;
            if *read <= left && !is_of_heads {
                sent.insert(*file, *read);
                left -= read;
            }
        }
        // Read whole, and then sent.
        for (file, read) in &self.before {
            let is_with_head = *read >= SMALL_BYTES && *read <= left && left - read <= heads;
            if is_with_head || *read == left {
                sent.insert(*file, *read);
                left -= read;
            }
        }
        // Read ahead of what was given so far: part of the largest file.
        if self.read_bytes() > given
            && sent.values().sum::<u64>() < given / 2
            && let Some((file, _)) = largest_first.first()
        {
            return [(*file, given)].into();
        }
        sent
    }

    /// Bytes taken out of sockets, if they are those that were given: about as many, once what was
    /// read of files is set apart, and more at a time than requests have.
    fn relayed_bytes(&self) -> u64 {
        let made = self.given_bytes.saturating_sub(self.sent().values().sum());
        let (less, more) = (made.min(self.received_bytes), made.max(self.received_bytes));
        let is_alike = less >= SLACK_BYTES && more - less <= more / 10 + SLACK_BYTES;
        let is_long = self.received_bytes >= self.received_calls.saturating_mul(REQUEST_BYTES);
        if is_alike && is_long { self.received_bytes } else { 0 }
    }

    /// What some of the given bytes were, as far as files are behind them.
    pub(crate) fn contents_of(&self, bytes: u64) -> Contents {
        let sent = self.sent();
        let wanted: u64 = sent.values().sum();
        let weights: Vec<u64> = sent.values().copied().collect();
        let scaled = u128::from(wanted) * u128::from(bytes.min(self.given_bytes));
        let reached = scaled.checked_div(u128::from(self.given_bytes)).unwrap_or(0);
        let shares = apportion(u64::try_from(reached).unwrap_or(bytes).min(bytes), &weights);
        sent.into_keys().zip(shares).collect()
    }
}

fn tls_bytes(moves: &[Move]) -> u64 {
    moves.iter().filter(|it| it.is_tls).map(|it| it.left).sum()
}

/// Enters what a process sent from memory, by the files it was read from.
pub(crate) fn attribute(reader: &Reader, mut moves: Vec<Move>, parts: &mut Vec<Part>) {
    let left: u64 = moves.iter().map(|it| it.left).sum();
    let all_tls = tls_bytes(&moves);
    for (content, share) in reader.contents_of(left) {
        let is_transformed = content.is_transformed || reader.is_transforming();
        for it in take(share, &mut moves, |_| true) {
            let (way, more) = match (it.is_tls, is_transformed, content.copies) {
                // Copied in user space, too, by what encrypts.
                (true, ..) => (Way::ReadTls, 1),
                (false, true, _) => (Way::ReadTransformed, 0),
                (false, false, 0) => (Way::Read, 0),
                (false, false, _) => (Way::Piped, 0),
            };
            let copies = content.copies + 1 + it.written() + more;
            parts.push(Part { file: content.file(), ..it.part(way, copies) });
        }
    }
    // The heads of records are not of a mapping where the rest was read.
    let is_tls_mapped = tls_bytes(&moves) > all_tls / 2;
    let file = reader.mapped.first().copied().filter(|_| reader.mapped.len() == 1);
    let mut enter = |way, file, copies, most, fits: fn(&Move) -> bool| {
        let part = |it: &Move| Part { file, ..it.part(way, it.written() + copies) };
        parts.extend(take(most, &mut moves, fits).iter().map(part));
    };
    enter(Way::RelayedThroughMemory, None, 1, reader.relayed_bytes(), |_| true);
    enter(Way::FromPipe, None, 1, reader.piped_bytes, |_| true);
    if !reader.mapped.is_empty() {
        enter(Way::MappedTls, file, 1, if is_tls_mapped { left } else { 0 }, |it| it.is_tls);
        enter(Way::Mapped, file, 0, left, |it| it.content.source == Source::NotSeen);
    }
    enter(Way::Memory, None, 0, left, |_| true);
}
