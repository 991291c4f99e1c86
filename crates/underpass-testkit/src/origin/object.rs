//! What an origin has under a name: content that tells whose it is, and the fields of its answers.

use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

/// How many bytes differ from each other; prime to the sizes of pages and buffers.
const PERIOD: u64 = 251;

/// How far apart the same byte is in two generations that follow each other.
const STEP: u64 = 37;

/// The most content that is sent at once.
pub const GRAIN: u64 = 16 << 10;

/// When the first generation was last modified: November 2023.
const FIRST_MODIFIED: Duration = Duration::from_secs(1_700_000_000);

/// A grain and a period of the pattern.
static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..GRAIN + PERIOD).map(|at| byte(0, at)).collect());

/// One generation of what is under a name, and how its answers look.
#[derive(Debug, Clone)]
pub struct Object {
    len: u64,
    given: Option<Vec<u8>>,
    generation: u64,
    tag: Tag,
    modified: Option<SystemTime>,
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) has_ranges: bool,
    pub(super) framing: Framing,
}

/// Which ETag an object has.
#[derive(Debug, Clone)]
enum Tag {
    /// Of its generation.
    Own,
    Given(String),
    None,
}

/// How an answer tells where its content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By a Content-Length.
    Length,
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Object {
    /// An object of `len` bytes without a zero among them, each of which differs from the byte at
    /// its place in the 250 generations before and after it. It has a strong ETag, a
    /// Last-Modified and ranges, and says nothing of how long it may be kept.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self {
            len,
            given: None,
            generation: 0,
            tag: Tag::Own,
            modified: None,
            status: 200,
            fields: Vec::new(),
            has_ranges: true,
            framing: Framing::Length,
        }
    }

    /// An object with this content.
    #[must_use]
    pub fn of(content: impl Into<Vec<u8>>) -> Self {
        let content = content.into();
        Self { given: Some(content.clone()), ..Self::new(content.len() as u64) }
    }

    /// With this Cache-Control.
    #[must_use]
    pub fn cache_control(self, value: &str) -> Self {
        self.field("Cache-Control", value)
    }

    /// With one more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this ETag as it is written, quotes or not; `None`: without one.
    #[must_use]
    pub fn etag(mut self, tag: Option<&str>) -> Self {
        self.tag = tag.map_or(Tag::None, |tag| Tag::Given(tag.to_owned()));
        self
    }

    /// With this Last-Modified, of which an answer has the seconds. A date before 1970 leaves the
    /// field out.
    #[must_use]
    pub fn modified(mut self, at: SystemTime) -> Self {
        self.modified = Some(at);
        self
    }

    /// Without Accept-Ranges, and whole whatever range is asked for.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.has_ranges = false;
        self
    }

    /// With content that ends in another way.
    #[must_use]
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// Answered with this status instead of 200, whole and without conditions.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn of_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Which of all objects that were put it is, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Its ETag as answers have it.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        match &self.tag {
            Tag::Own => Some(format!("\"g{}\"", self.generation)),
            Tag::Given(tag) => Some(tag.clone()),
            Tag::None => None,
        }
    }

    /// Its Last-Modified as answers have it.
    #[must_use]
    pub fn last_modified(&self) -> Option<String> {
        let own = SystemTime::UNIX_EPOCH + FIRST_MODIFIED + Duration::from_secs(self.generation);
        let at = self.modified.unwrap_or(own);
        (at >= SystemTime::UNIX_EPOCH).then(|| httpdate::fmt_http_date(at))
    }

    /// These bytes of it.
    ///
    /// # Panics
    ///
    /// If it has no such bytes.
    #[must_use]
    pub fn bytes(&self, range: Range<u64>) -> Vec<u8> {
        assert!(range.end <= self.len, "{range:?} of {} bytes", self.len);
        let mut bytes = Vec::with_capacity(size(range.end.saturating_sub(range.start)));
        let mut at = range.start;
        while at < range.end {
            let piece = self.piece(at..range.end);
            bytes.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        bytes
    }

    /// Where `got` first differs from its bytes from `start` on, for messages that can be read.
    #[must_use]
    pub fn difference(&self, start: u64, got: &[u8]) -> Option<String> {
        let mut at = start;
        for got in got.chunks(size(GRAIN)) {
            let end = (at + got.len() as u64).min(self.len);
            let want = if at < end { self.piece(at..end) } else { &[] };
            if got != want {
                let same = got.iter().zip(want).take_while(|(got, want)| got == want).count();
                let (got, want) = (got.get(same), want.get(same));
                let place = at + same as u64;
                return Some(format!("byte {place} is {got:?} and not {want:?}"));
            }
            at = end;
        }
        None
    }

    /// The first bytes of a range, at most a grain.
    pub(super) fn piece(&self, range: Range<u64>) -> &[u8] {
        let len = size((range.end - range.start).min(GRAIN));
        if let Some(given) = &self.given {
            return &given[size(range.start)..][..len];
        }
        let start = (range.start + STEP * self.generation) % PERIOD;
        &PATTERN[size(start)..][..len]
    }
}

/// The byte at a place of a generation.
fn byte(generation: u64, at: u64) -> u8 {
    u8::try_from(1 + (at + STEP * generation) % PERIOD).expect("at most 251")
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_zero_and_generations_differ_everywhere() {
        let objects = [1, 2, 250].map(|generation| Object::new(1 << 16).of_generation(generation));
        let [first, second, last] = objects.each_ref().map(|object| object.bytes(0..1 << 16));
        assert!(!first.contains(&0) && !last.contains(&0));
        for (at, byte) in first.iter().enumerate() {
            assert!(*byte != second[at] && *byte != last[at], "{at}");
            assert_eq!(*byte, super::byte(1, at as u64));
        }
        let range = GRAIN - 3..3 * GRAIN + 5;
        let part = objects[1].bytes(range.clone());
        assert_eq!(part, second[size(range.start)..size(range.end)]);
    }

    #[test]
    fn a_difference_is_told_by_its_place() {
        let object = Object::new(40_000).of_generation(3);
        let mut got = object.bytes(100..40_000);
        assert_eq!(object.difference(100, &got), None);
        got[20_000] = 0;
        let want = object.bytes(20_100..20_101)[0];
        let said = format!("byte 20100 is Some(0) and not Some({want})");
        assert_eq!(object.difference(100, &got), Some(said));
        let longer = [object.bytes(39_999..40_000), vec![7]].concat();
        let said = "byte 40000 is Some(7) and not None".to_owned();
        assert_eq!(object.difference(39_999, &longer), Some(said));
        assert_eq!(Object::of("abc").bytes(1..3), b"bc");
    }
}
