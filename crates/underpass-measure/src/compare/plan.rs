//! Which rows a comparison has, and in which order they are run.
//!
//! Repeats are interleaved (each method once, then each once more), so that whatever the
//! machine does meanwhile falls on all of them alike.

use underpass::Method;

use crate::methods::facts;
use crate::terms::{Cache, Link, Pair, ends};

/// One row to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) pair: Pair,
    pub(super) link: Option<Link>,
    pub(super) cache: Cache,
    pub(super) method: Method,
    /// Bytes of a run.
    pub(super) bytes: u64,
    /// Bytes of a transfer.
    pub(super) transfer_bytes: u64,
    /// Whether the receiver discards what arrives.
    pub(super) discards: bool,
}

/// Timed runs of a row whose receiver discards, at most: they are next to the others.
const DISCARDING_MAX: u32 = 3;

impl Case {
    /// Timed runs, of as many as are asked for.
    pub(super) fn repeats(&self, wanted: u32) -> u32 {
        if self.discards { wanted.min(DISCARDING_MAX) } else { wanted }
    }

    /// `file → TCP over loopback, warm: sendfile`.
    pub(super) fn label(&self) -> String {
        format!("{}, {}: {}", ends(self.pair, self.link), self.cache, self.method)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish<'w> {
    pub(super) pairs: &'w [Pair],
    pub(super) methods: &'w [Method],
    pub(super) links: &'w [Link],
    pub(super) cache: Cache,
    /// Bytes of the file that are moved.
    pub(super) bytes: u64,
    /// Smaller transfers from file to TCP.
    pub(super) transfers: &'w [u64],
}

/// Groups of rows that are interleaved: by pair, by link and by size of transfer.
pub(super) fn groups(wish: Wish<'_>) -> Vec<Vec<Case>> {
    let mut groups = Vec::new();
    for pair in Pair::ALL.into_iter().filter(|pair| wish.pairs.contains(pair)) {
        let mut sizes: Vec<u64> = Vec::new();
        if pair == Pair::FileToTcp {
            sizes.extend(wish.transfers.iter().filter(|&&size| size < wish.bytes));
        }
        sizes.push(wish.bytes);
        sizes.sort_unstable();
        sizes.dedup();
        let links = Link::ALL.into_iter().filter(|link| wish.links.contains(link)).map(Some);
        let links: Vec<_> = if pair.has_network() { links.collect() } else { vec![None] };
        for link in links {
            groups.extend(sizes.iter().map(|&size| group(wish, pair, link, size)));
        }
    }
    groups.retain(|group| !group.is_empty());
    groups
}

/// The methods of one group.
fn group(wish: Wish<'_>, pair: Pair, link: Option<Link>, transfer_bytes: u64) -> Vec<Case> {
    let is_wanted =
        |method: &Method| wish.methods.contains(method) && facts(*method).pairs.contains(&pair);
    // What a socket yields was read by somebody else.
    let cache = if pair == Pair::SocketToSocket { Cache::Warm } else { wish.cache };
    let bytes = run_bytes(wish.bytes, transfer_bytes);
    let case =
        |method, discards| Case { pair, link, cache, method, bytes, transfer_bytes, discards };
    let is_whole = transfer_bytes >= bytes;
    // What a receiver that discards makes of it is worth a look there alone.
    let discards = pair == Pair::FileToTcp && cache == Cache::Warm && is_whole;
    let both = |method| [Some(case(method, false)), discards.then(|| case(method, true))];
    Method::ALL.iter().copied().filter(is_wanted).flat_map(both).flatten().collect()
}

/// Small transfers move less: this many are enough to be timed.
const TRANSFERS_MAX: u64 = 2048;

pub(super) fn run_bytes(file_bytes: u64, transfer_bytes: u64) -> u64 {
    file_bytes.min(transfer_bytes.saturating_mul(TRANSFERS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish<'w>(pairs: &'w [Pair], transfers: &'w [u64]) -> Wish<'w> {
        let (methods, links, cache) = (Method::ALL, &[Link::Veth], Cache::Warm);
        Wish { pairs, methods, links, cache, bytes: 1 << 27, transfers }
    }

    #[test]
    fn each_pair_has_the_methods_its_kinds_leave() {
        let names = |pair| {
            let groups = groups(wish(&[pair], &[]));
            let read = groups[0].iter().filter(|case| !case.discards);
            read.map(|case| case.method.name()).collect::<Vec<_>>().join(" ")
        };
        let sockets = "copy mmap-write sendfile splice zero-copy-send uring-send-zc uring-splice";
        assert_eq!(names(Pair::FileToTcp), sockets);
        assert_eq!(names(Pair::FileToUnix), sockets);
        assert_eq!(names(Pair::FileToPipe), "copy mmap-write sendfile splice");
        assert_eq!(names(Pair::FileToFile), "copy mmap-write splice copy-file-range clone");
        assert_eq!(names(Pair::SocketToSocket), "copy splice");
    }

    #[test]
    fn only_files_to_tcp_are_sent_in_smaller_transfers_and_those_move_less() {
        let groups =
            groups(wish(&[Pair::FileToPipe, Pair::FileToTcp], &[65_536, 4096, 4096, 1 << 30]));
        let sizes: Vec<_> = groups
            .iter()
            .map(|group| (group[0].pair, group[0].link, group[0].transfer_bytes, group[0].bytes))
            .collect();
        let veth = Some(Link::Veth);
        assert_eq!(
            sizes,
            [
                (Pair::FileToTcp, veth, 4096, 1 << 23),
                (Pair::FileToTcp, veth, 65_536, 1 << 27),
                (Pair::FileToTcp, veth, 1 << 27, 1 << 27),
                (Pair::FileToPipe, None, 1 << 27, 1 << 27),
            ]
        );
        let discarding =
            groups.iter().map(|group| group.iter().filter(|case| case.discards).count());
        assert_eq!(discarding.collect::<Vec<_>>(), [0, 0, 7, 0], "of whole files to TCP alone");
    }
}
