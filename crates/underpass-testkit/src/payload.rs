//! Bytes that tell where they belong.
//!
//! Byte `i` of every payload is `i` mod 251: prime to the sizes of pages, pipes and buffers, so
//! that a block that is lost, repeated or out of place cannot go unnoticed.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::disk;

const PERIOD: u8 = 251;

/// The bytes `range` of the endless payload.
///
/// # Panics
///
/// If they do not fit in memory.
#[must_use]
pub fn pattern(range: Range<u64>) -> Vec<u8> {
    let len = usize::try_from(range.end.saturating_sub(range.start)).expect("fits in memory");
    let period: Vec<u8> = (0..PERIOD).collect();
    let start = usize::try_from(range.start % u64::from(PERIOD)).unwrap_or(0);
    let mut payload = Vec::with_capacity(len + period.len());
    payload.extend_from_slice(&period[start..]);
    while payload.len() < len {
        payload.extend_from_slice(&period);
    }
    payload.truncate(len);
    payload
}

/// An unnamed file on a disk (not in memory) that holds the first `len` bytes of the payload.
///
/// # Errors
///
/// Those of making and writing a temporary file.
pub fn patterned_file(len: u64) -> io::Result<File> {
    let file = tempfile::tempfile_in(disk::disk_dir()?)?;
    file.write_all_at(&pattern(0..len), 0)?;
    Ok(file)
}

/// Where `got` first differs from the payload from `start` on, or is shorter or longer than
/// `len`; `None` if it is the same. For messages that can be read: dumps of payloads cannot.
#[must_use]
pub fn difference(got: &[u8], start: u64, len: u64) -> Option<String> {
    let want = pattern(start..start + len);
    if got == want {
        return None;
    }
    let lens = format!("{} bytes instead of {len}", got.len());
    Some(match got.iter().zip(&want).position(|(got, want)| got != want) {
        Some(at) => format!("{lens}, the first wrong one at {at}"),
        None => lens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_depends_on_the_position_and_differences_are_found() {
        assert_eq!(pattern(249..253), [249, 250, 0, 1]);
        assert_eq!(difference(&[249, 250, 0, 1], 249, 4), None);
        assert_eq!(
            difference(&[249, 250, 9, 1], 249, 4).unwrap(),
            "4 bytes instead of 4, the first wrong one at 2"
        );
        assert_eq!(difference(&[249], 249, 2).unwrap(), "1 bytes instead of 2");
    }
}
