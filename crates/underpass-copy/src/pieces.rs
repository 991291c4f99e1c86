//! Which ranges of a part have arrived, if several connections write it.
//!
//! The list is kept in an extended attribute of the part, and never claims too much: bytes are in
//! the file before they are in the list, so a killed process leaves a list that a later copy can
//! rely on. Of a part without the attribute, everything up to its end is there.
//!
//! ```text
//! user.underpass.pieces = TOTAL SP [ FIRST "-" LAST { "," FIRST "-" LAST } ]
//! ```
//!
//! Source: xattr(7), on limits; RFC 9110 §14.1.2, on how ranges are spelled.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// A smaller range is not worth a connection.
const SHARE_BYTES_MIN: u64 = 1 << 20;

const ATTRIBUTE: &str = "user.underpass.pieces";

/// Enough for 65 ranges of a file of 2^63 bytes.
const ATTRIBUTE_BYTES_MAX: usize = 4096;

/// The ranges of a file that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// The length of the whole.
    pub(crate) total: u64,
    /// The first byte and the one after the last; sorted, not touching each other, not empty.
    have: Vec<(u64, u64)>,
}

impl Pieces {
    /// Of a file whose first `have` bytes are there.
    pub(crate) fn beginning(have: u64, total: u64) -> Self {
        let mut this = Self { total, have: Vec::new() };
        this.add(0, have);
        this
    }

    /// What the attribute of a part says; `None` without the attribute, and no ranges if it cannot
    /// be read.
    pub(crate) fn of_part(part: &Path) -> Option<Self> {
        let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
        let len = match rustix::fs::getxattr(part, ATTRIBUTE, &mut value[..]) {
            Ok(len) => len,
            Err(Errno::RANGE) => 0,
            Err(_) => return None,
        };
        let text = value.get(..len).and_then(|text| std::str::from_utf8(text).ok());
        Some(text.and_then(Self::parse).unwrap_or_else(|| Self::beginning(0, 0)))
    }

    /// The same ranges of a file of `total` bytes; `None` if they reach past its end.
    pub(crate) fn of_total(self, total: u64) -> Option<Self> {
        let end = self.have.last().map_or(0, |(_, to)| *to);
        (end <= total).then_some(Self { total, ..self })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (total, ranges) = text.split_once(' ')?;
        // No file is longer, and sums of positions in it do not overflow.
        let total = total.parse().ok().filter(|total| i64::try_from(*total).is_ok())?;
        let mut this = Self { total, have: Vec::new() };
        for range in ranges.split(',').filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-')?;
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if first > last || last >= this.total {
                return None;
            }
            this.add(first, last + 1);
        }
        Some(this)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("{} ", self.total);
        for (index, (from, to)) in self.have.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(text, "{comma}{from}-{}", to - 1).expect("a String takes everything");
        }
        text
    }

    /// Writes the attribute.
    pub(crate) fn keep(&self, part: &File) -> Result<(), Errno> {
        rustix::fs::fsetxattr(part, ATTRIBUTE, self.text().as_bytes(), XattrFlags::empty())
    }

    /// Removes the attribute from a file that is complete.
    pub(crate) fn forget(part: &File) -> io::Result<()> {
        match rustix::fs::fremovexattr(part, ATTRIBUTE) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Adds bytes that have arrived.
    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        self.have.push((from, to));
        self.have.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.have.len());
        for (from, to) in self.have.drain(..) {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                Some(_) | None => joined.push((from, to)),
            }
        }
        self.have = joined;
    }

    pub(crate) fn have(&self) -> &[(u64, u64)] {
        &self.have
    }

    /// Bytes that are there.
    pub(crate) fn bytes(&self) -> u64 {
        self.have.iter().map(|(from, to)| to - from).sum()
    }

    /// Bytes before the first gap.
    pub(crate) fn prefix(&self) -> u64 {
        self.have.first().filter(|(from, _)| *from == 0).map_or(0, |(_, to)| *to)
    }

    /// Whether nothing is there after the first gap.
    pub(crate) fn is_prefix(&self) -> bool {
        self.bytes() == self.prefix()
    }

    /// Bytes that are there right before `at`.
    pub(crate) fn before(&self, at: u64) -> u64 {
        let ending = self.have.iter().find(|(from, to)| (from + 1..=*to).contains(&at));
        ending.map_or(0, |(from, _)| at - from)
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.prefix() == self.total
    }

    fn gaps(&self) -> Vec<(u64, u64)> {
        let ends = std::iter::once(0).chain(self.have.iter().map(|(_, to)| *to));
        let begins = self.have.iter().map(|(from, _)| *from).chain([self.total]);
        ends.zip(begins).filter(|(from, to)| from < to).collect()
    }

    /// What is missing, as at least one and at most `most` ranges, none of them needlessly small.
    /// If there are more gaps, the nearest are joined, and what is between them is sent again.
    pub(crate) fn shares(&self, most: u64) -> Vec<(u64, u64)> {
        let mut gaps = self.gaps();
        if gaps.is_empty() {
            return vec![(self.total, self.total)];
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        while gaps.len() > most {
            let between = |index: &usize| gaps[index + 1].0 - gaps[*index].1;
            let nearest = (0..gaps.len() - 1).min_by_key(between).unwrap_or(0);
            gaps[nearest].1 = gaps[nearest + 1].1;
            gaps.remove(nearest + 1);
        }
        let mut counts = vec![1; gaps.len()];
        for _ in gaps.len()..most {
            let divided = |index: &usize| (gaps[*index].1 - gaps[*index].0) / (counts[*index] + 1);
            let largest = (0..gaps.len()).max_by_key(divided).unwrap_or(0);
            if divided(&largest) < SHARE_BYTES_MIN {
                break;
            }
            counts[largest] += 1;
        }
        let mut shares = Vec::new();
        for ((from, to), count) in gaps.into_iter().zip(counts) {
            let len = (to - from).div_ceil(count);
            shares.extend((0..count).map(|i| (from + i * len, (from + (i + 1) * len).min(to))));
        }
        shares
    }
}

/// Writes the list of a part while several connections fill it.
#[derive(Debug)]
pub(crate) struct Recorder<'f> {
    part: &'f File,
    now: Mutex<Recorded>,
}

#[derive(Debug)]
struct Recorded {
    before: Pieces,
    /// Where each connection's share begins, if that is known, and what it had moved until then.
    begins: Vec<Option<(u64, u64)>>,
}

impl<'f> Recorder<'f> {
    /// Writes the first list.
    ///
    /// # Errors
    ///
    /// Those of setxattr(2); `EOPNOTSUPP` on file systems that keep no attributes.
    pub(crate) fn new(part: &'f File, before: Pieces, connections: usize) -> Result<Self, Errno> {
        before.keep(part)?;
        let now = Recorded { before, begins: vec![None; connections] };
        Ok(Self { part, now: Mutex::new(now) })
    }

    /// Sets where a share of a connection begins; it had moved `done` bytes of earlier ones.
    pub(crate) fn begin(&self, connection: usize, at: u64, done: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((from, before)) = now.begins[connection].replace((at, done)) {
            now.before.add(from, from + done.saturating_sub(before));
        }
    }

    /// Writes a list that includes what the connections have moved so far.
    pub(crate) fn record(&self, done: &[AtomicU64]) -> Result<(), Errno> {
        let now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pieces = now.before.clone();
        for (begin, done) in now.begins.iter().zip(done) {
            if let Some((at, before)) = begin {
                let moved = done.load(Ordering::Acquire).saturating_sub(*before);
                pieces.add(*at, (at + moved).min(pieces.total));
            }
        }
        pieces.keep(self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn ranges_are_joined_and_read_as_they_are_written() {
        let mut pieces = Pieces::beginning(10, 100);
        pieces.add(50, 60);
        pieces.add(60, 70);
        pieces.add(5, 12);
        pieces.add(99, 100);
        assert_eq!(pieces.text(), "100 0-11,50-69,99-99");
        assert_eq!(Pieces::parse("100 0-11,50-69,99-99"), Some(pieces.clone()));
        assert_eq!((pieces.bytes(), pieces.prefix(), pieces.is_prefix()), (33, 12, false));
        assert_eq!(pieces.gaps(), [(12, 50), (70, 99)]);
        pieces.add(0, 100);
        assert!(pieces.is_whole() && pieces.is_prefix() && pieces.gaps().is_empty());
        for text in [
            "",
            "5",
            "x ",
            "100 0-100",
            "100 5-4",
            "100 5",
            "100 0-1;3-4",
            "9 -1-3",
            "9223372036854775808 0-1",
        ] {
            assert_eq!(Pieces::parse(text), None, "{text}");
        }
        assert_eq!(Pieces::parse("7 "), Some(Pieces::beginning(0, 7)));
    }

    #[test]
    fn shares_are_what_is_missing_and_no_more_than_there_are_connections() {
        let fresh = Pieces::beginning(0, 8 * MIB);
        let share = |at: u64, to: u64| (at * MIB, to * MIB);
        assert_eq!(fresh.shares(1), [share(0, 8)]);
        assert_eq!(fresh.shares(4), [share(0, 2), share(2, 4), share(4, 6), share(6, 8)]);
        assert_eq!(fresh.shares(64).len(), 8);
        let mut pieces = Pieces::beginning(MIB, 8 * MIB);
        pieces.add(2 * MIB, 3 * MIB);
        pieces.add(4 * MIB, 6 * MIB);
        assert_eq!(pieces.shares(3), [share(1, 2), share(3, 4), share(6, 8)]);
        assert_eq!(pieces.shares(4), [share(1, 2), share(3, 4), share(6, 7), share(7, 8)]);
        assert_eq!(pieces.shares(2), [share(1, 4), share(6, 8)]);
        assert_eq!(pieces.shares(1), [share(1, 8)]);
        assert_eq!(Pieces::beginning(9, 9).shares(4), [(9, 9)]);
        assert_eq!(Pieces::beginning(0, 1).shares(4), [(0, 1)]);
    }
}
