//! Where bytes come from.
//!
//! File ranges carry their own offsets: the descriptor's offset is neither used nor moved, so
//! that one open file can feed any number of transfers.

use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::FileType;

use crate::descriptor::Descriptor;
use crate::kind::Kind;
use crate::progress::Progress;
use crate::residency::Residency;
use crate::stability::{Baseline, Stamp};
use crate::tls::Records;

/// A source of bytes for a [`Transfer`](crate::Transfer).
#[derive(Debug)]
pub struct Source<'a> {
    pub(crate) end: Option<Descriptor<'a>>,
    pub(crate) piece: Piece,
}

/// A source without its descriptor, and how far it has come.
#[derive(Debug)]
pub(crate) enum Piece {
    /// What is left of owned memory.
    Memory(Bytes),
    /// A range that starts at `offset` of a regular file, and what the file was.
    File {
        offset: u64,
        progress: Progress,
        /// `None` of a range that is never written again.
        baseline: Option<Baseline>,
        residency: Option<Arc<Residency>>,
    },
    /// A stream of this kind; `records` of a TLS connection.
    Stream { kind: Kind, progress: Progress, records: Option<Records> },
}

impl<'a> Source<'a> {
    /// The bytes `range` of a regular file. An open end is the file's size at this moment.
    ///
    /// Methods that send by reference need the range to stay as it is until the sink's reader
    /// has it: append-only files and files replaced by rename(2) qualify; for others see
    /// [`Stability`](crate::Stability). An end past the end of the file is accepted here and
    /// reported as `Truncated` when the transfer reaches it.
    ///
    /// Costs one fstat(2).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `file` is not a regular file, if the range starts after its end or past
    /// the end of the file, or if it ends after 2^63 - 1. Those of fstat(2).
    pub fn file(file: &'a impl AsFd, range: impl RangeBounds<u64>) -> io::Result<Self> {
        let fd = file.as_fd();
        let stat = rustix::fs::fstat(fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(invalid("the source is not a regular file; it can be read as a stream"));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let Some((start, end)) = bounds(range) else {
            return Err(invalid("the range reaches past 2^63 - 1"));
        };
        let end = end.unwrap_or(size);
        if i64::try_from(end).is_err() || i64::try_from(start).is_err() {
            return Err(invalid(format!("the range {start}..{end} reaches past 2^63 - 1")));
        }
        if start > end || start > size {
            let why = format!("the range {start}..{end} does not start in a file of {size} bytes");
            return Err(invalid(why));
        }
        let progress = Progress::new(Some(end - start));
        let baseline = Some(Baseline::new(Stamp::from(&stat), start..end));
        let piece = Piece::File { offset: start, progress, baseline, residency: None };
        Ok(Self { end: Some(fd.into()), piece })
    }

    /// The bytes `range` of a regular file that is only appended to, such as a log's: what is in
    /// the range is never written again.
    ///
    /// No call is made, neither here nor by [`Stability::Guard`](crate::Stability::Guard). A file
    /// that ends before the range does is `Truncated` when the transfer reaches its end; what is
    /// not a regular file fails with the first call.
    ///
    /// # Panics
    ///
    /// If the range ends before it starts, or after 2^63 - 1.
    pub fn appended(file: &'a impl AsFd, range: Range<u64>) -> Self {
        assert!(range.start <= range.end && i64::try_from(range.end).is_ok(), "{range:?}");
        let progress = Progress::new(Some(range.end - range.start));
        let (offset, baseline, residency) = (range.start, None, None);
        let piece = Piece::File { offset, progress, baseline, residency };
        Self { end: Some(file.as_fd().into()), piece }
    }

    /// What is known of the file's pages, so that a transfer that does not wait for the disk
    /// ([`gated`](crate::Transfer::gated), [`drive`](crate::Transfer::drive)) does not ask about
    /// all of them again. Of meaning for files alone.
    #[must_use]
    pub fn resident(mut self, known: &Arc<Residency>) -> Self {
        if let Piece::File { residency, .. } = &mut self.piece {
            *residency = Some(Arc::clone(known));
        }
        self
    }

    /// What a socket, pipe or other descriptor yields until its end.
    ///
    /// A regular file is read from its descriptor's own offset, as standard input is when a
    /// shell redirects it. Costs one fstat(2).
    #[must_use]
    pub fn stream(stream: &'a impl AsFd) -> Self {
        Self::of(stream.as_fd().into(), Kind::of_stream(stream.as_fd()))
    }

    /// What a stream that tokio watches yields until its end: for
    /// [`Transfer::drive`](crate::Transfer::drive).
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn tokio(stream: &'a impl crate::Readiness) -> Self {
        let stream: &dyn crate::Readiness = stream;
        Self::of(stream.into(), stream.kind())
    }

    fn of(end: Descriptor<'a>, kind: Kind) -> Self {
        let piece = Piece::Stream { kind, progress: Progress::new(None), records: None };
        Self { end: Some(end), piece }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn over(end: Descriptor<'a>, records: &Records) -> Self {
        let kind = if records.is_in_kernel() { Kind::Socket } else { Kind::Tls };
        let (progress, records) = (Progress::new(None), Some(records.clone()));
        Self { end: Some(end), piece: Piece::Stream { kind, progress, records } }
    }

    /// Bytes in memory: a head, a trailer, a frame.
    ///
    /// Owned, because `MSG_ZEROCOPY` and `SEND_ZC` need memory that lives until the kernel's
    /// last completion.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self { end: None, piece: Piece::Memory(bytes.into()) }
    }

    /// At most (files, memory) or exactly (streams) the first `n` bytes.
    ///
    /// A stream that ends before is `Truncated`.
    #[must_use]
    pub fn take(mut self, n: u64) -> Self {
        match &mut self.piece {
            Piece::Memory(bytes) => bytes.truncate(usize::try_from(n).unwrap_or(usize::MAX)),
            Piece::File { progress, .. } => {
                *progress = Progress::new(progress.len().map(|len| len.min(n)));
            }
            Piece::Stream { progress, .. } => {
                *progress = Progress::new(Some(progress.len().map_or(n, |len| len.min(n))));
            }
        }
        self
    }

    /// Bytes it will yield; `None` for a stream until its end.
    #[must_use]
    pub fn len_bytes(&self) -> Option<u64> {
        self.piece.len()
    }
}

impl Piece {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Memory(_) => Kind::Memory,
            Self::File { .. } => Kind::File,
            Self::Stream { kind, .. } => *kind,
        }
    }

    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::Memory(bytes) => Some(bytes.len() as u64),
            Self::File { progress, .. } | Self::Stream { progress, .. } => progress.len(),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Memory(bytes) => bytes.is_empty(),
            Self::File { progress, .. } | Self::Stream { progress, .. } => progress.is_over(),
        }
    }

    /// Whether bytes of it can follow at once: it is not a stream and not empty.
    pub(crate) fn is_at_hand(&self) -> bool {
        !matches!(self, Self::Stream { .. }) && !self.is_over()
    }
}

/// Where a range starts, and where it ends unless its end is open; `None` past 2^64 - 1.
pub(crate) fn bounds(range: impl RangeBounds<u64>) -> Option<(u64, Option<u64>)> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => Some(last.checked_add(1)?),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => None,
    };
    Some((start, end))
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::{ErrorKind, Sink, Transfer};

    #[test]
    fn ranges_that_cannot_be_are_refused_with_their_numbers() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(50).unwrap();
        let refused = |range: (Bound<u64>, Bound<u64>)| {
            let error = Source::file(&file, range).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            error.to_string()
        };
        use Bound::{Excluded, Included, Unbounded};
        let why = refused((Included(51), Unbounded));
        assert_eq!(why, "the range 51..50 does not start in a file of 50 bytes");
        refused((Included(9), Excluded(8)));
        refused((Included(51), Excluded(60)));
        refused((Included(0), Included(u64::MAX)));
        refused((Excluded(u64::MAX), Unbounded));
        assert!(refused((Included(0), Excluded(1 << 63))).contains("2^63 - 1"));
    }

    #[test]
    fn lengths_are_those_of_the_range_and_of_the_take() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(50).unwrap();
        let len = |source: Source<'_>| source.len_bytes();
        assert_eq!(len(Source::file(&file, ..).unwrap()), Some(50));
        assert_eq!(len(Source::file(&file, 50..).unwrap()), Some(0));
        assert_eq!(len(Source::file(&file, 10..=19).unwrap()), Some(10));
        assert_eq!(len(Source::file(&file, 10..100).unwrap().take(80)), Some(80));
        assert_eq!(len(Source::file(&file, 10..100).unwrap().take(95)), Some(90));
        let top = (1 << 63) - 1;
        assert_eq!(len(Source::file(&file, 10..top).unwrap()), Some(top - 10));
        assert_eq!(len(Source::bytes("hello").take(2)), Some(2));
        assert_eq!(len(Source::stream(&file)), None);
        assert_eq!(len(Source::stream(&file).take(7)), Some(7));
    }

    #[test]
    fn a_file_that_is_only_appended_to_is_not_looked_at_again() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 50]).unwrap();
        let (sink, mut peer) = UnixStream::pair().unwrap();
        let send = |source| Transfer::new(source, Sink::stream(&sink)).run();
        let (looked_at, appended) = (Source::file(&file, 10..30), Source::appended(&file, 10..30));
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(send(looked_at.unwrap()).unwrap_err().kind, ErrorKind::Changed);
        assert_eq!(send(appended), Ok(20));
        let mut came = [0; 20];
        peer.read_exact(&mut came).unwrap();
        assert_eq!(came, [7; 20]);
        let error = send(Source::appended(&file, 40..60)).unwrap_err();
        assert_eq!((error.moved, error.kind), (10, ErrorKind::Truncated { missing: 10 }));
    }

    #[test]
    fn a_directory_is_not_a_file_range() {
        let directory = std::fs::File::open("/").unwrap();
        let error = Source::file(&directory, ..).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
