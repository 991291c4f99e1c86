//! Reads a range of a file from end to end, a piece at a time, however large it is.

use std::ops::Range;

use super::Checks;
use crate::checksum;
use crate::damage::{Damage, Fault, Section};
use crate::file::{BlockFile, Window};

/// Bytes of the largest record that is looked for. A piece grows up to this where a record does
/// not fit into a window.
pub(super) const RECORD_MAX: usize = 16 << 20;

/// A piece of a range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    /// Where it is in the file.
    pub(super) at: u64,
    pub(super) bytes: &'a [u8],
    /// Whether there is no use in asking for more of the record at its end.
    pub(super) is_last: bool,
}

/// Gives the bytes of `range` to `each`, which answers how many of them it has taken, or `None` to
/// stop; what it leaves it gets again, with more behind it. Returns where it stopped taking.
///
/// # Errors
///
/// If the file cannot be read.
pub(super) fn walk(
    file: &BlockFile,
    range: Range<u64>,
    section: Section,
    window: &mut Window,
    checks: &mut Checks<'_>,
    mut each: impl FnMut(Piece<'_>, &mut Checks<'_>) -> Option<usize>,
) -> Result<u64, Damage> {
    let (mut at, mut wanted) = (range.start, Window::AHEAD);
    while at < range.end {
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let is_last = left <= wanted || wanted >= RECORD_MAX;
        let bytes = file.read(at..at + left.min(wanted) as u64, section, window)?;
        let Some(taken) = each(Piece { at, bytes, is_last }, checks) else { break };
        let taken = taken.min(bytes.len());
        checks.advance(taken as u64);
        at += taken as u64;
        match taken {
            0 if is_last => break,
            0 => wanted = wanted.saturating_mul(2).min(RECORD_MAX),
            _ => wanted = Window::AHEAD,
        }
    }
    Ok(at)
}

/// A section whose lengths are within its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sectioned {
    /// Behind its checksum.
    pub(super) end: u64,
    /// Whether its checksum is right.
    pub(super) is_sound: bool,
}

/// Checks the section that starts at `start`: its length in four bytes, the content, which is
/// given to `each` as [`walk`] gives it, and its checksum. What is wrong is reported; `None` if
/// that is the length, or if the file cannot be read.
pub(super) fn section(
    file: &BlockFile,
    within: Range<u64>,
    section: Section,
    window: &mut Window,
    checks: &mut Checks<'_>,
    mut each: impl FnMut(Piece<'_>, &mut Checks<'_>) -> Option<usize>,
) -> Option<Sectioned> {
    let start = within.start;
    let content = match content(file, &within, section, window) {
        Ok(content) => content,
        Err(damage) => {
            checks.add(damage);
            return None;
        }
    };
    let mut computed = 0;
    let walked = walk(file, content.clone(), section, window, checks, |piece, checks| {
        let taken = each(piece, checks)?.min(piece.bytes.len());
        computed = crc32c::crc32c_append(computed, &piece.bytes[..taken]);
        Some(taken)
    });
    let end = content.end + checksum::LEN as u64;
    let compared = walked.and_then(|at| finish(file, at..content.end, computed, section, window));
    checks.compared();
    checks.advance(8);
    match compared {
        Ok((stored, computed)) if stored == computed => Some(Sectioned { end, is_sound: true }),
        Ok((stored, computed)) => {
            let damage = file.damage(start, section, Fault::Checksum { stored, computed });
            checks.add(file.or_lost(damage, end));
            Some(Sectioned { end, is_sound: false })
        }
        Err(damage) => {
            checks.add(damage);
            None
        }
    }
}

/// Where the content of the section is that starts `within` a range.
pub(super) fn content(
    file: &BlockFile,
    within: &Range<u64>,
    section: Section,
    window: &mut Window,
) -> Result<Range<u64>, Damage> {
    let start = within.start;
    let bytes = file.read(start..start.saturating_add(4), section, window)?;
    let len = u64::from(u32::from_be_bytes(bytes.try_into().unwrap_or_default()));
    let (wanted, left) = (len + 8, within.end.saturating_sub(start));
    if wanted > left {
        return Err(file.damage(start, section, Fault::Short { wanted, left }));
    }
    Ok(start + 4..start + 4 + len)
}

/// Computes the checksum of the `rest` of a content too, and reads the one that is stored.
fn finish(
    file: &BlockFile,
    rest: Range<u64>,
    before: u32,
    section: Section,
    window: &mut Window,
) -> Result<(u32, u32), Damage> {
    let (mut at, mut computed) = (rest.start, before);
    while at < rest.end {
        let most = usize::try_from(rest.end - at).unwrap_or(usize::MAX).min(Window::AHEAD);
        let bytes = file.read(at..at + most as u64, section, window)?;
        computed = crc32c::crc32c_append(computed, bytes);
        at += most as u64;
    }
    let stored = file.read(rest.end..rest.end + checksum::LEN as u64, section, window)?;
    Ok((u32::from_be_bytes(stored.try_into().unwrap_or_default()), computed))
}

/// Reports bytes of `gap` that are not zero, or more than `most` of them: nothing refers to them.
pub(super) fn padding(
    file: &BlockFile,
    gap: Range<u64>,
    most: u64,
    section: Section,
    window: &mut Window,
    checks: &mut Checks<'_>,
) {
    let mut wrong = (gap.end.saturating_sub(gap.start) >= most).then_some(gap.start);
    let walked = walk(file, gap.clone(), section, window, checks, |piece, _| {
        if let Some(at) = piece.bytes.iter().position(|byte| *byte != 0) {
            wrong.get_or_insert(piece.at + at as u64);
        }
        Some(piece.bytes.len())
    });
    if let Err(damage) = walked {
        return checks.add(damage);
    }
    if let Some(at) = wrong {
        let count = gap.end - gap.start;
        let text = format!("{count} bytes between two parts are not padding of zeros");
        checks.add(file.damage(at, section, Fault::Mismatch(text)));
    }
}
