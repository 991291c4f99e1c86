//! What is kept next to an object's file, so that a start finds again what had come.
//!
//! ```text
//! "UPOBJ1" | u32 length of the head | the head, JSON
//!     | u32 pieces | pieces × (u64 start, u32 length, u32 crc32c) | u32 crc32c of all before
//! ```
//!
//! Numbers are little-endian. A file that is cut, changed or of another format counts as none: the
//! object is then asked for anew, which costs time and no byte of an answer.

use serde::{Deserialize, Serialize};

use crate::extents::{Extents, Piece};
use crate::head::Head;

const MAGIC: &[u8] = b"UPOBJ1";

/// The head of an origin's answer is at most 64 KiB and a key 8 KiB; as JSON they may be longer.
const HEAD_BYTES_MAX: usize = 256 << 10;

const PIECE_BYTES: usize = 16;

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) about: About,
    pub(crate) there: Extents,
}

/// What is kept of an object but for its pieces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// The key.
    pub(crate) url: String,
    /// Tells it from others that are or were under this key.
    pub(crate) generation: u64,
    /// All bytes are there, on the disk, and equal to the checksum that the origin gave, if any.
    pub(crate) is_whole: bool,
    pub(crate) head: Head,
}

impl Meta {
    /// The bytes of the file; `None` if the head is longer than what [`Meta::read`] takes.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        let head = serde_json::to_vec(&self.about).expect("strings and numbers");
        if head.len() > HEAD_BYTES_MAX {
            return None;
        }
        let pieces = self.there.pieces();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(length(head.len()));
        bytes.extend(head);
        bytes.extend(length(pieces.len()));
        for piece in pieces {
            bytes.extend(piece.start.to_le_bytes());
            bytes.extend(piece.len.to_le_bytes());
            bytes.extend(piece.crc32c.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes);
        bytes.extend(sum.to_le_bytes());
        Some(bytes)
    }

    /// What a file says; `None` unless all of it is as it was written.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (all, sum) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(all) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = all.strip_prefix(MAGIC)?;
        let head_len = take_length(&mut rest).filter(|len| *len <= HEAD_BYTES_MAX)?;
        let (head, mut rest) = rest.split_at_checked(head_len)?;
        let about: About = serde_json::from_slice(head).ok()?;
        let count = take_length(&mut rest)?;
        let (pieces, []) = rest.as_chunks::<PIECE_BYTES>() else { return None };
        if pieces.len() != count {
            return None;
        }
        let pieces: Vec<Piece> = pieces.iter().map(piece).collect();
        let there = Extents::of_pieces(about.head.len, &pieces)?;
        (!about.is_whole || there.is_whole()).then_some(Self { about, there })
    }
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("bounded by the callers").to_le_bytes()
}

fn take_length(bytes: &mut &[u8]) -> Option<usize> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*len)).ok()
}

fn piece(bytes: &[u8; PIECE_BYTES]) -> Piece {
    let [start, rest] = [&bytes[..8], &bytes[8..]];
    let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("4 bytes"));
    Piece {
        start: u64::from_le_bytes(start.try_into().expect("8 bytes")),
        len: number(&rest[..4]),
        crc32c: number(&rest[4..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> Meta {
        let mut there = Extents::none(100);
        there.insert(Piece { start: 10, len: 5, crc32c: 0x1234_5678 });
        let head = Head {
            status: 200,
            fields: vec![("etag".to_owned(), "\"x\"".to_owned())],
            asked: vec![],
            len: 100,
            answered_ms: 1_795_996_800_000,
        };
        let url = "https://o/a?b".to_owned();
        Meta { about: About { url, generation: 3, is_whole: false, head }, there }
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = meta().write().unwrap();
        let json = concat!(
            r#"{"url":"https://o/a?b","generation":3,"is_whole":false,"#,
            r#""head":{"status":200,"fields":[["etag","\"x\""]],"asked":[],"#,
            r#""len":100,"answered_ms":1795996800000}}"#,
        );
        let mut wanted = b"UPOBJ1".to_vec();
        wanted.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
        wanted.extend(json.bytes());
        wanted.extend([1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(&bytes[..bytes.len() - 4], wanted);
        assert_eq!(Meta::read(&bytes), Some(meta()));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_none() {
        let bytes = meta().write().unwrap();
        for len in 0..bytes.len() {
            assert_eq!(Meta::read(&bytes[..len]), None, "{len}");
            let mut changed = bytes.clone();
            changed[len] ^= 1;
            assert_eq!(Meta::read(&changed), None, "{len}");
        }
    }

    #[test]
    fn what_says_that_it_is_whole_and_has_a_gap_is_none() {
        let mut meta = meta();
        meta.about.is_whole = true;
        assert_eq!(Meta::read(&meta.write().unwrap()), None);
    }
}
