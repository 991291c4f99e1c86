//! Content that is put together: bytes in memory and parts of files, one after the other.
//!
//! A part of a mapped file leaves by its address, as the whole of one does; a segment of nothing
//! is passed over. Where there are too many segments to have them all at once, they are made while
//! those before them are sent.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::body::Payload;
use crate::reading::Making;
use crate::representation::Representation;

/// A piece of a [`Sequence`].
#[derive(Debug)]
pub enum Segment {
    /// Bytes in memory.
    Memory(Bytes),
    /// These bytes of a file, within its length.
    File(Arc<Representation>, Range<u64>),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, range) => range.end - range.start,
        }
    }
}

/// Segments that follow each other.
#[derive(Debug, Default)]
pub struct Sequence {
    segments: Queue,
    len: u64,
}

/// Segments that are still to be sent: those that are here, and then those that are made later.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    here: VecDeque<Segment>,
    later: Option<Making<Segment>>,
}

impl Queue {
    /// Whether there is none for certain.
    pub(crate) fn is_empty(&self) -> bool {
        self.here.is_empty() && self.later.is_none()
    }

    /// The next one. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Segment>>> {
        match (self.here.pop_front(), &mut self.later) {
            (Some(segment), _) => Poll::Ready(Some(Ok(segment))),
            (None, Some(later)) => later.poll_next(cx),
            (None, None) => Poll::Ready(None),
        }
    }
}

impl Sequence {
    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a length of content, not of a collection")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn into_segments(self) -> Queue {
        self.segments
    }

    /// Segments that are made when it is their turn, on threads that may wait. They have `len`
    /// bytes.
    pub(crate) fn made_of(
        segments: impl Iterator<Item = io::Result<Segment>> + Send + 'static,
        len: u64,
    ) -> Self {
        let later = Some(Making::new(segments));
        Self { segments: Queue { here: VecDeque::new(), later }, len }
    }

    #[cfg(test)]
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.here.iter()
    }
}

impl FromIterator<Segment> for Sequence {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        let here: VecDeque<_> = segments.into_iter().collect();
        let len = here.iter().map(Segment::len).sum();
        Self { segments: Queue { here, later: None }, len }
    }
}

/// A [`Sequence`] on its way.
pub(crate) struct InSequence {
    /// What is left of the segment that is being sent.
    current: Payload,
    rest: Queue,
    left: u64,
}

impl InSequence {
    pub(crate) fn new(sequence: Sequence) -> Self {
        let current = Payload::Bytes(Bytes::new());
        Self { current, rest: sequence.segments, left: sequence.len }
    }

    /// Bytes that are to come.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// The next slice: a segment, or a piece of one that is read. Must run within a tokio runtime.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            let slice = ready!(self.current.poll_next(cx)?);
            if let Some(slice) = slice {
                self.left = self.left.saturating_sub(slice.len() as u64);
                return Poll::Ready(Some(Ok(slice)));
            }
            self.current = match ready!(self.rest.poll_next(cx)?) {
                None => return Poll::Ready(None),
                Some(Segment::Memory(bytes)) => Payload::Bytes(bytes),
                Some(Segment::File(file, range)) => file.to_be_sent(range),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::future::poll_fn;
    use std::io::Write;
    use std::path::Path;

    use underpass::Stability;

    use super::*;
    use crate::metadata_rules::MetadataRules;

    fn sent(sequence: Sequence) -> (Vec<u64>, Vec<Bytes>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut sending = InSequence::new(sequence);
        let (mut left, mut slices) = (vec![sending.left()], vec![]);
        while let Some(slice) = runtime.block_on(poll_fn(|cx| sending.poll_next(cx))) {
            slices.push(slice.unwrap());
            left.push(sending.left());
        }
        (left, slices)
    }

    #[test]
    fn parts_of_files_are_sent_by_address_between_bytes_in_memory() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let mapped =
            Representation::of(file, Path::new("a"), Stability::None, &MetadataRules::default())
                .unwrap();
        let Payload::Bytes(whole) = mapped.to_be_sent(0..10) else { panic!("it is mapped") };
        let mapped = Arc::new(mapped);
        let part = |range| Segment::File(Arc::clone(&mapped), range);
        let memory = |text: &'static str| Segment::Memory(Bytes::from_static(text.as_bytes()));
        let segments = [memory("<"), part(7..9), part(3..3), memory(""), part(0..1), memory(">")];
        let sequence: Sequence = segments.into_iter().collect();
        assert_eq!(sequence.len(), 5);
        let (left, slices) = sent(sequence);
        assert_eq!(slices, ["<", "78", "0", ">"]);
        assert_eq!(left, [5, 4, 2, 1, 0]);
        assert_eq!(slices[1].as_ptr(), whole[7..].as_ptr());
    }

    #[test]
    fn a_part_of_a_file_that_is_read_comes_before_what_follows_it() {
        const NOTES: &str = "/sys/kernel/notes";
        let file = File::open(NOTES).unwrap();
        let read = Representation::read(
            file,
            Path::new(NOTES),
            Stability::None,
            &MetadataRules::default(),
        )
        .unwrap();
        assert!(read.file().is_none());
        let end = Segment::Memory(Bytes::from_static(b"end"));
        let (left, slices) = sent([Segment::File(Arc::new(read), 1..9), end].into_iter().collect());
        let notes = std::fs::read(NOTES).unwrap();
        assert_eq!(slices.concat(), [&notes[1..9], b"end"].concat());
        assert_eq!((left.first(), left.last()), (Some(&11), Some(&0)));
    }

    #[test]
    fn segments_that_are_made_later_come_one_by_one_until_one_cannot_be_made() {
        let made =
            ["ab", "", "c"].map(|text| Ok(Segment::Memory(Bytes::from_static(text.as_bytes()))));
        let (left, slices) = sent(Sequence::made_of(made.into_iter(), 3));
        assert_eq!((left, slices), (vec![3, 1, 0], vec!["ab".into(), Bytes::from("c")]));
        let broken = || Err(io::Error::other("it was changed"));
        let made = [Ok(Segment::Memory("ab".into())), broken(), Ok(Segment::Memory("c".into()))];
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut sending = InSequence::new(Sequence::made_of(made.into_iter(), 3));
        let mut next = || runtime.block_on(poll_fn(|cx| sending.poll_next(cx)));
        assert_eq!(next().unwrap().unwrap(), "ab");
        assert_eq!(next().unwrap().unwrap_err().to_string(), "it was changed");
        assert!(next().is_none());
    }

    #[test]
    fn nothing_is_a_sequence_too() {
        let (left, slices) = sent(Sequence::default());
        assert_eq!((left, slices.len()), (vec![0], 0));
    }
}
