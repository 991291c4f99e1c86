//! The segments: headers, the checksum of every chunk, and what is behind the last.
//!
//! A segment is walked from its first chunk on, without the index: every byte of it is looked at
//! once. What that finds is compared with what the series say by sums; where it differs, or a
//! chunk is damaged, the segment is read again chunk by chunk as the series refer to them.
//!
//! Source: Prometheus, tsdb/docs/format/chunks.md, tsdb/chunks/chunks.go.

use super::series::ChunkSums;
use super::walk::{Piece, walk};
use super::{Checks, Depth};
use crate::block::{SEGMENT_HEADER_LEN, SEGMENT_MAGIC};
use crate::checksum;
use crate::chunk::{self, Encoding};
use crate::cursor::Cursor;
use crate::damage::{Fault, Section};
use crate::file::{BlockFile, Window};
use crate::index::ChunkMeta;
use crate::sample::Samples;

/// What a walk over a segment found.
#[derive(Debug, Default)]
pub(super) struct SegmentFacts {
    /// Of chunks whose checksums are right. Their times are those of their samples, if these were
    /// looked at.
    pub(super) sums: ChunkSums,
    pub(super) samples: u64,
    /// Chunks whose encoding is unknown.
    pub(super) unknown: u64,
    /// Whether something does not make a chunk, or a chunk is damaged or has wrong samples.
    pub(super) is_damaged: bool,
    /// Where zeros begin that reach to the end: the segment was not closed.
    pub(super) zeros: Option<u64>,
}

/// Walks over segment `number`.
pub(super) fn check(
    file: &BlockFile,
    number: u32,
    depth: Depth,
    checks: &mut Checks<'_>,
) -> SegmentFacts {
    let mut window = Window::ahead(Window::AHEAD);
    check_header(file, &mut window, checks);
    let start = SEGMENT_HEADER_LEN.min(file.len());
    let mut walker = Walker::new(number, depth);
    let range = start..file.len();
    let take = |piece: Piece<'_>, checks: &mut Checks<'_>| walker.take(piece, checks);
    let walked = walk(file, range, Section::Chunk, &mut window, checks, take);
    walker.facts.is_damaged |= walked.is_err();
    walker.facts
}

/// Magic number, version 1, three zeros.
fn check_header(file: &BlockFile, window: &mut Window, checks: &mut Checks<'_>) {
    let read = file.read(0..SEGMENT_HEADER_LEN, Section::Header, window);
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(damage) => return checks.add(damage),
    };
    checks.advance(SEGMENT_HEADER_LEN);
    let mut cursor = Cursor::new(bytes);
    let (magic, version) = (cursor.u32().unwrap_or(0), cursor.u8().unwrap_or(0));
    let rest = cursor.rest().iter().fold(0, |all, byte| all | byte);
    let mut wrong = |offset, what, found: u32, wanted| {
        let found = found.into();
        checks.add(file.damage(offset, Section::Header, Fault::Value { what, found, wanted }));
    };
    if magic != SEGMENT_MAGIC {
        wrong(0, "the magic number", magic, "not 0x85bd40dd of a segment");
    }
    if version != 1 {
        wrong(4, "the version", version.into(), "not 1");
    }
    if rest != 0 {
        wrong(5, "the padding", rest.into(), "not 0");
    }
}

/// A chunk at the front of some bytes.
enum Frame<'a> {
    Chunk {
        encoding: u8,
        data: &'a [u8],
        is_sound: bool,
        len: usize,
    },
    /// The bytes end within it.
    Cut,
    /// A length and an encoding of 0: what a segment is filled with before it is written.
    Zero,
}

fn frame(bytes: &[u8]) -> Frame<'_> {
    if let [0, 0, ..] = bytes {
        return Frame::Zero;
    }
    let mut cursor = Cursor::new(bytes);
    let content = cursor.uvarint().ok().and_then(|len| {
        let len = usize::try_from(len).ok()?.checked_add(1)?;
        cursor.take(len).ok()
    });
    let (Some(content), Ok(stored)) = (content, cursor.u32()) else { return Frame::Cut };
    let Some((encoding, data)) = content.split_first() else { return Frame::Cut };
    let is_sound = checksum::compare(content, stored).is_ok();
    Frame::Chunk { encoding: *encoding, data, is_sound, len: cursor.at() }
}

struct Walker {
    number: u32,
    depth: Depth,
    facts: SegmentFacts,
    samples: Samples,
}

impl Walker {
    fn new(number: u32, depth: Depth) -> Self {
        Self { number, depth, facts: SegmentFacts::default(), samples: Samples::default() }
    }

    fn take(&mut self, piece: Piece<'_>, checks: &mut Checks<'_>) -> Option<usize> {
        if self.facts.zeros.is_some() {
            return self.pass_zeros(piece.bytes);
        }
        let mut at = 0;
        while let Some(rest) = piece.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let place = piece.at + at as u64;
            match frame(rest) {
                Frame::Chunk { encoding, data, is_sound, len } => {
                    checks.compared();
                    self.facts.is_damaged |= !is_sound;
                    if is_sound {
                        self.add(place, encoding, data);
                    }
                    at += len;
                }
                Frame::Cut if !piece.is_last => break,
                Frame::Cut if rest == [0] => {
                    self.facts.zeros = Some(place);
                    at += 1;
                }
                Frame::Cut => {
                    self.facts.is_damaged = true;
                    return None;
                }
                Frame::Zero => {
                    self.facts.zeros = Some(place);
                    self.pass_zeros(rest)?;
                    return Some(piece.bytes.len());
                }
            }
        }
        Some(at)
    }

    fn pass_zeros(&mut self, bytes: &[u8]) -> Option<usize> {
        if bytes.iter().any(|byte| *byte != 0) {
            self.facts.is_damaged = true;
            return None;
        }
        Some(bytes.len())
    }

    fn add(&mut self, place: u64, encoding: u8, data: &[u8]) {
        let reference = u64::from(self.number) << 32 | place;
        let Ok(encoding) = Encoding::try_from(encoding) else {
            self.facts.unknown += 1;
            self.facts.sums.add(&ChunkMeta { min_time: 0, max_time: 0, reference });
            return;
        };
        let count = chunk::sample_count(encoding, data).unwrap_or(0);
        self.facts.samples += u64::from(count);
        let times = match self.depth {
            Depth::Checksums => Ok((0, 0)),
            Depth::Samples => times_of(encoding, data, &mut self.samples),
        };
        self.facts.is_damaged |= times.is_err();
        let (min_time, max_time) = times.unwrap_or_default();
        self.facts.sums.add(&ChunkMeta { min_time, max_time, reference });
    }
}

/// Decodes a chunk, and gives the times of its first and last sample.
///
/// # Errors
///
/// If it cannot be decoded, holds fewer samples than it says, or samples that are not in order.
pub(super) fn times_of(
    encoding: Encoding,
    data: &[u8],
    samples: &mut Samples,
) -> Result<(i64, i64), Fault> {
    samples.clear();
    let said = usize::from(chunk::sample_count(encoding, data).map_err(|wrong| wrong.fault)?);
    chunk::decode(encoding, data, samples).map_err(|wrong| wrong.fault)?;
    if samples.len() != said {
        let found = samples.len();
        return Err(Fault::Mismatch(format!("it says that it holds {said} samples, not {found}")));
    }
    let floats = samples.floats.iter().map(|sample| sample.time);
    let histograms = samples.histograms.iter().map(|sample| sample.time);
    let mut times = floats.chain(histograms);
    let Some(first) = times.next() else {
        return Err(Fault::Mismatch("it holds no sample".into()));
    };
    let last = times.try_fold(first, |last, time| (last < time).then_some(time));
    last.map(|last| (first, last)).ok_or(Fault::Order("its samples"))
}
