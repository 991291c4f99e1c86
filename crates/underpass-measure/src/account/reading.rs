//! Which files the bytes that a process sent from its memory were read from.
//!
//! Nothing ties a read to a write but their numbers. So the files that were read most are taken
//! to be the ones that were sent, and only as far as the bytes given to sockets reach: a
//! configuration that was read, too, does not fit into what is left, which is headers.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::flow::{Content, Contents, Source};
use super::socket::{Move, take};
use super::{Part, Way, apportion};
use crate::evidence::FileId;

/// Bytes of reading beyond what was given that are not a sign of a transformation.
const SLACK_BYTES: u64 = 64 * 1024;

/// A response's head, about; what is left of a connection's bytes below it is taken for one.
pub(crate) const HEAD_BYTES: u64 = 320;

/// A request, about.
const REQUEST_BYTES: u64 = 1024;

/// Files from here on are never taken for part of heads.
const SMALL_BYTES: u64 = 1024;

/// What a TLS handshake sends at most, with its certificates; and what a mapped file has at least
/// that is told among TLS records by its length, and how often it was sent at most.
const HANDSHAKE_BYTES: u64 = 8 * 1024;
const TOLD_BYTES_MIN: u64 = 16 * HANDSHAKE_BYTES;
const TIMES_MAX: u64 = 16;

/// What went by the sockets with one local port: those that a server accepted, or one that was
/// connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) given_bytes: u64,
    pub(crate) received_bytes: u64,
}

/// What a process read of files and gave to sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Bytes read, by file, since it began to send; also those that came by a pipe.
    pub(crate) files: BTreeMap<Content, u64>,
    /// Bytes read before that, or of the system: of its configuration and its code, most likely.
    pub(crate) before: BTreeMap<Content, u64>,
    /// What it took out of sockets and gave to them, by their own port; none is known of a Unix
    /// socket.
    pub(crate) sides: BTreeMap<Option<u16>, Side>,
    /// Calls that took bytes out of sockets.
    pub(crate) received_calls: u64,
    /// Files that it mapped and may have sent, and their lengths, as far as known.
    pub(crate) mapped: BTreeMap<FileId, u64>,
    /// Bytes given to TCP sockets, and to pipes that lead on, from memory that is not a mapping of
    /// a file.
    pub(crate) given_bytes: u64,
    /// TCP connections it gave them to.
    pub(crate) connections: u64,
    /// Whether a call of it is under way that gives: the last that it read may not be sent yet.
    pub(crate) is_giving: bool,
}

impl Reader {
    /// Notes bytes that were read of a file.
    pub(crate) fn note(&mut self, content: Content, is_before: bool, bytes: u64) {
        let files = if is_before { &mut self.before } else { &mut self.files };
        if bytes > 0 {
            *files.entry(content).or_default() += bytes;
        }
    }

    /// What is read again when it sends was not read to know how; nor what comes out of a pipe; nor
    /// the files of one that never sends, if it gave no more to pipes than these.
    pub(crate) fn settle(&mut self, is_of_system: impl Fn(FileId) -> bool) {
        let all = self.files.iter().chain(&self.before);
        let read: u64 = all.filter_map(|(it, bytes)| it.file().map(|_| bytes)).sum();
        let is_filter = self.connections == 0 && read >= self.given_bytes / 2;
        let files = &mut self.files;
        self.before.retain(|content, bytes| {
            let is_own = content.file().is_some_and(|file| !is_filter || is_of_system(file));
            let is_sent = !is_own || files.contains_key(content);
            if is_sent {
                *files.entry(*content).or_default() += *bytes;
            }
            !is_sent
        });
    }

    /// Bytes read of all files.
    fn read_bytes(&self) -> u64 {
        self.files.values().sum()
    }

    /// Whether clearly more was read than was given: compressed, filtered, or read for another
    /// purpose. Not so if a single file accounts for what was given.
    pub(crate) fn is_transforming(&self) -> bool {
        let given = self.given_bytes;
        let is_one_file =
            self.files.values().any(|read| *read <= given && *read >= given - given / 10);
        let largest = self.files.values().max().filter(|_| self.is_giving);
        let most = given.saturating_add(given / 10).saturating_add(SLACK_BYTES);
        given > 0
            && !is_one_file
            && self.read_bytes() > most.saturating_add(largest.copied().unwrap_or(0))
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
        // Read whole, and then sent: one of them or all, with no more than heads.
        let heads = HEAD_BYTES.saturating_mul(self.connections.max(self.received_calls));
        let is_rest = |read: u64, left: u64| {
            let is_with_heads = left > heads && read >= SMALL_BYTES && left - heads <= read;
            read == left || is_with_heads && read <= left
        };
        let is_all = is_rest(self.before.values().sum(), left);
        for (file, read) in &self.before {
            if is_all || is_rest(*read, left) {
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

    /// Bytes taken out of sockets, if they are those that were given: about as many as went to the
    /// other side, once what was read of files is set apart, and more at a time than requests have.
    fn relayed_bytes(&self) -> u64 {
        let made = self.given_bytes.saturating_sub(self.sent().values().sum());
        let given: u64 = self.sides.values().map(|side| side.given_bytes).sum();
        let received: u64 = self.sides.values().map(|side| side.received_bytes).sum();
        let is_long = received >= self.received_calls.saturating_mul(REQUEST_BYTES);
        let ways = self.sides.values().flat_map(|side| {
            let to_it = (side.given_bytes, received - side.received_bytes);
            [to_it, (given - side.given_bytes, side.received_bytes)]
        });
        let mut ways = ways.map(|(out, came)| (made.min(out).min(came), made.min(out).max(came)));
        let is_alike =
            ways.any(|(less, more)| less >= SLACK_BYTES && more - less <= more / 10 + SLACK_BYTES);
        if is_alike && is_long { received } else { 0 }
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

    /// The one mapped file that bytes are known to be of by their number, and how many are its own.
    fn told(&self, own: impl Fn(FileId, u64) -> Option<u64>) -> Option<(FileId, u64)> {
        let mut told =
            self.mapped.iter().filter_map(|(file, len)| Some((*file, own(*file, *len)?)));
        told.next().filter(|_| told.next().is_none())
    }
}

/// Bytes of a file of this length that TLS records are of, if it was sent whole and little else:
/// for each 16 KiB there are some 21 to 60 of the records' own, and a handshake.
///
/// Source: RFC 8446 sections 5.1 and 5.2, RFC 5246 section 6.2.
fn within_records(records: u64, len: u64) -> Option<u64> {
    let times = records.checked_div(len).filter(|times| (1..=TIMES_MAX).contains(times))?;
    let own = times * len;
    let is_told = (own / 1024..=own / 256 + HANDSHAKE_BYTES).contains(&(records - own));
    (len >= TOLD_BYTES_MIN && is_told).then_some(own)
}

fn tls_bytes(moves: &[Move]) -> u64 {
    moves.iter().filter(|it| it.is_tls).map(|it| it.left).sum()
}

/// Enters what a process sent from memory, by the files it was read from.
pub(crate) fn attribute(reader: &Reader, mut moves: Vec<Move>, parts: &mut Vec<Part>) {
    let contents = reader.contents_of(moves.iter().map(|it| it.left).sum());
    let all_tls = tls_bytes(&moves);
    let known = contents.iter().map(|(_, bytes)| bytes).sum();
    let is_transforming = reader.is_transforming();
    // Every socket has its share of it; which file went to which is not known.
    let mut from_files = take(known, &mut moves, |_| true).into_iter().peekable();
    for (mut content, mut share) in contents {
        content.is_transformed |= is_transforming;
        while let Some(it) = from_files.peek_mut().filter(|_| share > 0) {
            let now = Move { left: share.min(it.left), ..*it };
            share -= now.left;
            it.left -= now.left;
            parts.push(of_content(content, &now));
            from_files.next_if(|it| it.left == 0);
        }
    }
    for it in take(reader.relayed_bytes(), &mut moves, |_| true) {
        parts.push(it.part(Way::RelayedThroughMemory, it.written() + 1));
    }
    // The heads of records are not of a mapping where the rest was read.
    let is_tls_mapped = tls_bytes(&moves) > all_tls / 2;
    if !reader.mapped.is_empty() {
        of_mappings(reader, &mut moves, is_tls_mapped, parts);
    }
    parts.extend(moves.iter().map(|it| it.part(Way::Memory, it.written())));
}

/// What of some content was given.
fn of_content(content: Content, it: &Move) -> Part {
    let (way, more) = match (content.source, it.is_tls, content.is_transformed, content.copies) {
        (Source::Pipe, ..) => (Way::FromPipe, 0),
        (Source::NotSeen, ..) => (Way::Perhaps, 0),
        // Copied in user space, too, by what encrypts.
        (_, true, ..) => (Way::ReadTls, 1),
        (_, false, true, _) => (Way::ReadTransformed, 0),
        (_, false, false, 0) => (Way::Read, 0),
        (_, false, false, _) => (Way::Piped, 0),
    };
    let copies = content.copies + 1 + it.written() + more;
    Part { file: content.file(), ..it.part(way, copies) }
}

/// Enters what may be of mappings: TLS records, and memory that could not be looked at. Each socket
/// has its moves together.
fn of_mappings(reader: &Reader, moves: &mut [Move], is_tls_mapped: bool, parts: &mut Vec<Part>) {
    let mut given: BTreeMap<(usize, FileId), u64> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.way == Way::Mapped) {
        let Some(file) = part.file else { continue };
        *given.entry((part.socket, file)).or_default() += part.bytes;
    }
    for moves in moves.chunk_by_mut(|one, other| one.socket == other.socket) {
        let socket = moves[0].socket;
        for is_tls in [true, false] {
            let fits = |it: &Move| match it.is_tls {
                true => is_tls && is_tls_mapped,
                false => !is_tls && it.content.source == Source::NotSeen,
            };
            let bytes: u64 = moves.iter().filter(|it| fits(it)).map(|it| it.left).sum();
            // The rest of a file, the other pieces of which were seen.
            let is_rest = |file, len| {
                let seen = given.get(&(socket, file)).copied().unwrap_or(0);
                (seen + bytes).checked_rem(len) == Some(0)
            };
            let told = reader.told(|file, len| match is_tls {
                true => within_records(bytes, len),
                false => is_rest(file, len).then_some(bytes),
            });
            let (file, way, most, copies) = match (told, is_tls) {
                (Some((file, own)), true) => (Some(file), Way::MappedTls, own, 1),
                (Some((file, own)), false) => (Some(file), Way::Mapped, own, 0),
                (None, true) if bytes <= HANDSHAKE_BYTES => continue,
                (None, false) if bytes <= HEAD_BYTES => continue,
                (None, _) => (None, Way::Perhaps, bytes, 0),
            };
            let part = |it: &Move| Part { file, ..it.part(way, it.written() + copies) };
            parts.extend(take(most, moves, fits).iter().map(part));
        }
    }
}
