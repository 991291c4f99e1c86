//! A snappy block that is packed piece by piece, so that a long answer is never held unpacked.
//!
//! The format wants the unpacked length in front and then elements one after another; a copy
//! reaches back at most as far as its own piece here. So pieces can be packed as they come, and
//! what has to be in front of them, such as the length of a message, is added at the end as a
//! literal.
//!
//! Source: google/snappy, format_description.txt, §1 (preamble), §2.1 (literals).

use bytes::Bytes;
use snap::raw::Encoder;

use super::protobuf::put_varint;

/// The encoder packs pieces of this size by themselves anyway.
const PIECE_BYTES: usize = 64 << 10;

/// Bytes that were packed, without their length in front.
pub(super) struct Packer {
    encoder: Encoder,
    pending: Vec<u8>,
    pieces: Vec<Bytes>,
    len: u64,
}

impl Packer {
    pub(super) fn new() -> Self {
        let (pending, pieces) = Default::default();
        Self { encoder: Encoder::new(), pending, pieces, len: 0 }
    }

    /// Adds bytes; `put` appends them.
    pub(super) fn add(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), snap::Error> {
        put(&mut self.pending);
        if self.pending.len() >= PIECE_BYTES { self.pack() } else { Ok(()) }
    }

    fn pack(&mut self) -> Result<(), snap::Error> {
        for piece in self.pending.chunks(PIECE_BYTES) {
            let packed = self.encoder.compress_vec(piece)?;
            let head_len = packed.iter().take_while(|byte| **byte >= 0x80).count() + 1;
            self.pieces.push(Bytes::from(packed).slice(head_len..));
        }
        self.len += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }

    /// What was added.
    pub(super) fn end(mut self) -> Result<Packed, snap::Error> {
        self.pack()?;
        Ok(Packed { pieces: self.pieces, len: self.len })
    }
}

/// Elements of a block, and the length of what they are unpacked.
#[derive(Debug, Default)]
pub(super) struct Packed {
    pieces: Vec<Bytes>,
    len: u64,
}

impl Packed {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    /// Adds up to 60 bytes as they are, and then what `packed` holds.
    pub(super) fn append(&mut self, head: &[u8], packed: Self) {
        // §2.1: up to 60 bytes have their length in the tag.
        debug_assert!((1..=60).contains(&head.len()));
        let tag = (head.len() - 1) << 2;
        self.pieces.push([&tag.to_le_bytes()[..1], head].concat().into());
        self.len += head.len() as u64 + packed.len;
        self.pieces.extend(packed.pieces);
    }

    /// The whole block.
    pub(super) fn into_block(self) -> Vec<Bytes> {
        let mut preamble = Vec::new();
        put_varint(self.len, &mut preamble);
        std::iter::once(preamble.into()).chain(self.pieces).collect()
    }
}

#[cfg(test)]
mod tests {
    use snap::raw::Decoder;

    use super::*;

    #[test]
    fn a_block_of_pieces_unpacks_to_all_of_them() {
        let mut whole = Packed::default();
        let mut wanted = Vec::new();
        for (head, words) in [(&b"one"[..], 3_u64), (&[9; 60], 50_000), (&b"empty"[..], 0)] {
            let mut packer = Packer::new();
            wanted.extend_from_slice(head);
            for word in 0..words {
                let text = format!("{word} and {}; ", word * word);
                packer.add(|into| into.extend_from_slice(text.as_bytes())).unwrap();
                wanted.extend_from_slice(text.as_bytes());
            }
            whole.append(head, packer.end().unwrap());
        }
        let block = whole.into_block().concat();
        assert!(block.len() < wanted.len() * 3 / 4, "{} of {}", block.len(), wanted.len());
        assert!(Decoder::new().decompress_vec(&block).unwrap() == wanted);
    }

    #[test]
    fn an_empty_block_is_its_length() {
        assert_eq!(Packed::default().into_block().concat(), [0]);
    }
}
