//! A segment that is damaged, or of which the series say something else: each chunk is looked at
//! where the series say it is, so that one damaged length does not hide what is behind it.

use std::ops::Range;

use super::segments::times_of;
use super::series::segment_of;
use super::{Checks, Depth, Lost};
use crate::block::{RawChunk, SEGMENT_HEADER_LEN, chunk_at};
use crate::chunk::Encoding;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};
use crate::index::{ChunkMeta, Index, SeriesEntry, SeriesId};
use crate::sample::Samples;

/// A chunk, as a series refers to it.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// In the segment.
    offset: u32,
    series: SeriesId,
    min_time: i64,
    max_time: i64,
}

/// The chunks of segment `number` that the series refer to, by offset.
fn wanted(index: &Index, number: u32) -> Vec<Wanted> {
    let (mut walk, mut window) = (index.walk(), Window::ahead(Window::AHEAD));
    let (mut entry, mut all) = (SeriesEntry::default(), Vec::new());
    while let Some(found) = walk.next(index, &mut window, &mut entry) {
        let Ok(series) = found else { continue };
        for &ChunkMeta { min_time, max_time, reference } in &entry.chunks {
            let (segment, offset) = segment_of(reference);
            if segment == number {
                all.push(Wanted { offset, series, min_time, max_time });
            }
        }
    }
    all.sort_unstable_by_key(|wanted| wanted.offset);
    all
}

/// Reports the chunks of a segment that cannot be opened: all that series refer to are lost.
pub(super) fn missing(index: &Index, number: u32, damage: Damage, checks: &mut Checks<'_>) {
    let mut lost = Lost::default();
    for wanted in wanted(index, number) {
        lost.add_chunk(index, wanted.series, (wanted.min_time, wanted.max_time));
    }
    checks.add_lost(damage, lost);
}

/// Reports what is wrong with the chunks of segment `number`.
pub(super) fn check(
    index: &Index,
    file: &BlockFile,
    number: u32,
    depth: Depth,
    checks: &mut Checks<'_>,
) {
    let wanted = wanted(index, number);
    let mut look = Look { index, file, depth, window: Window::ahead(Window::AHEAD) };
    let mut at = SEGMENT_HEADER_LEN;
    for (place, chunk) in wanted.iter().enumerate() {
        let next = wanted.get(place + 1).map_or(file.len(), |next| next.offset.into());
        let start = u64::from(chunk.offset);
        if start >= file.len() {
            look.behind_the_end(&wanted[place..], checks);
            return;
        }
        if at < start {
            look.between(at..start, checks);
        }
        at = look.chunk(chunk, next, checks).max(at);
    }
    if at < file.len() {
        look.between(at..file.len(), checks);
    }
}

struct Look<'i> {
    index: &'i Index,
    file: &'i BlockFile,
    depth: Depth,
    window: Window,
}

impl Look<'_> {
    /// Checks a chunk, and gives where the next can be: behind it, or where the next one is that a
    /// series refers to, if this one is damaged.
    fn chunk(&mut self, wanted: &Wanted, next: u64, checks: &mut Checks<'_>) -> u64 {
        let start = wanted.offset.into();
        let found = chunk_at(self.file, start, &mut self.window);
        let judged = found.and_then(|chunk| {
            let end = start + chunk.len;
            let wrong = judge(&chunk, wanted, self.depth);
            wrong.map_or(Ok(end), |fault| Err(self.file.damage(start, Section::Chunk, fault)))
        });
        judged.unwrap_or_else(|damage| {
            let mut lost = Lost::default();
            lost.add_chunk(self.index, wanted.series, (wanted.min_time, wanted.max_time));
            checks.add_lost(damage, lost);
            next
        })
    }

    /// One damage for all chunks behind the end of a segment that was cut.
    fn behind_the_end(&self, wanted: &[Wanted], checks: &mut Checks<'_>) {
        let mut lost = Lost::default();
        for wanted in wanted {
            lost.add_chunk(self.index, wanted.series, (wanted.min_time, wanted.max_time));
        }
        let last = wanted.last().map_or(0, |wanted| u64::from(wanted.offset));
        let fault = Fault::Mismatch(format!("the file ends here, and a chunk is at byte {last}"));
        checks.add_lost(self.file.damage(self.file.len(), Section::Chunk, fault), lost);
    }

    /// Bytes that no series refers to: chunks, the zeros of a segment that was not closed, or
    /// neither.
    fn between(&mut self, gap: Range<u64>, checks: &mut Checks<'_>) {
        let (mut at, mut lost) = (gap.start, Lost::default());
        let mut samples = Samples::default();
        while at < gap.end {
            let Ok(chunk) = chunk_at(self.file, at, &mut self.window) else { break };
            if at + chunk.len > gap.end {
                break;
            }
            let encoding = Encoding::try_from(chunk.encoding);
            let times =
                encoding.ok().and_then(|known| times_of(known, chunk.data, &mut samples).ok());
            lost.add_unnamed(times);
            at += chunk.len;
        }
        if lost.chunks > 0 {
            let (count, end) = (lost.chunks, at);
            let text =
                format!("no readable series refers to {count} chunks from here to byte {end}");
            let damage = self.file.damage(gap.start, Section::Chunk, Fault::Mismatch(text));
            checks.add_lost(damage, lost);
        }
        let is_end = gap.end == self.file.len();
        if at < gap.end && !(is_end && is_zero(self.file, at..gap.end, &mut self.window)) {
            let text = format!(
                "the bytes up to {} do not make a chunk, and no series refers to them",
                gap.end
            );
            checks.add(self.file.damage(at, Section::Chunk, Fault::Mismatch(text)));
        }
    }
}

/// What is wrong with a chunk whose checksum is right.
fn judge(chunk: &RawChunk<'_>, wanted: &Wanted, depth: Depth) -> Option<Fault> {
    let Ok(encoding) = Encoding::try_from(chunk.encoding) else { return None };
    if depth == Depth::Checksums {
        return None;
    }
    let said = (wanted.min_time, wanted.max_time);
    match times_of(encoding, chunk.data, &mut Samples::default()) {
        Ok(found) if found == said => None,
        Ok((min, max)) => Some(Fault::Mismatch(format!(
            "its samples are from {min} to {max}, and the index says from {} to {}",
            said.0, said.1
        ))),
        Err(fault) => Some(fault),
    }
}

fn is_zero(file: &BlockFile, range: Range<u64>, window: &mut Window) -> bool {
    let mut at = range.start;
    while at < range.end {
        let most = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(Window::AHEAD);
        match file.read(at..at + most as u64, Section::Chunk, window) {
            Ok(bytes) if bytes.iter().all(|byte| *byte == 0) => at += most as u64,
            Ok(_) | Err(_) => return false,
        }
    }
    true
}
