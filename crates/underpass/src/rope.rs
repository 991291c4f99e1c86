//! A rope: what an encoder wrote, with file-backed bytes referred to instead of copied.
//!
//! An encoder that writes into a [`BufMut`](bytes::BufMut) copies every field. A rope is such a
//! buffer, but looks at the address of what it is given: bytes of a mapped file are kept as a
//! reference, so a message becomes `[head][file range][tail]` and its payload leaves by
//! sendfile. prost and kafka-protocol need no change for that.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use underpass_sys::region::RegionSlice;

/// Bytes in pieces: memory, and ranges of mapped files.
///
/// Written through [`BufMut`](bytes::BufMut), read and sent through [`Buf`]; what is written is
/// read in the same order. Shorter file-backed pieces than [`Rope::REFER_MIN_BYTES`] are copied,
/// because a reference costs more than they do.
#[derive(Debug, Default)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    /// Bytes of `pieces`.
    len: usize,
    tail: BytesMut,
}

impl Rope {
    /// The shortest file-backed slice that is referred to.
    pub const REFER_MIN_BYTES: usize = 512;

    /// An empty rope.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece without copying it, file-backed or not.
    pub fn push(&mut self, piece: Bytes) {
        self.seal();
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Bytes in the rope.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len + self.tail.len()
    }

    /// Whether the rope has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order, none of them empty.
    #[must_use]
    pub fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.seal();
        self.pieces
    }

    /// Appends `bytes`: a reference if they are file-backed and not short, a copy otherwise.
    pub(crate) fn refer_or_copy(&mut self, bytes: &[u8]) {
        match referred(bytes) {
            Some(owner) => self.push(Bytes::from_owner(owner)),
            None => self.tail.extend_from_slice(bytes),
        }
    }

    /// Appends what `source` has, as [`Self::refer_or_copy`] does.
    pub(crate) fn refer_or_copy_all<T: Buf>(&mut self, mut source: T) {
        while source.has_remaining() {
            let len = source.chunk().len();
            if referred(source.chunk()).is_some() {
                // Cheaper than the owner found: a `Bytes` hands over its own reference.
                self.push(source.copy_to_bytes(len));
            } else {
                self.tail.extend_from_slice(source.chunk());
                source.advance(len);
            }
        }
    }

    /// The buffer of the copied bytes at the end.
    pub(crate) const fn tail_mut(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Ends the run of copied bytes.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.len += self.tail.len();
            self.pieces.push_back(self.tail.split().freeze());
        }
    }
}

/// The owner of a file-backed slice, if it is one worth referring to.
fn referred(bytes: &[u8]) -> Option<RegionSlice> {
    if bytes.len() < Rope::REFER_MIN_BYTES {
        return None;
    }
    RegionSlice::of(bytes)
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.tail, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        let chunks = self.pieces.iter().map(|piece| &piece[..]).chain(tail);
        into.iter_mut().zip(chunks).map(|(slot, chunk)| *slot = IoSlice::new(chunk)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.pieces.front_mut() {
            let n = count.min(front.len());
            front.advance(n);
            (count, self.len) = (count - n, self.len - n);
            if !front.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use bytes::BufMut;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use underpass_sys::region::Region;

    use super::*;
    use crate::{FileBytes, Stability};

    /// Bytes that the kernel guarantees not to change: a sealed memfd.
    fn file_backed(len: usize) -> Bytes {
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let file = memfd_create("f", flags).unwrap();
        rustix::io::write(&file, &vec![b'f'; len]).unwrap();
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK).unwrap();
        let mapped = FileBytes::map(file, .., Stability::None).unwrap();
        mapped.into_bytes_if_immutable().unwrap()
    }

    fn is_file_backed(bytes: &[u8]) -> bool {
        Region::find(bytes).is_some()
    }

    #[test]
    fn a_large_file_backed_field_is_referred_to_and_small_ones_are_copied() {
        let (large, small) = (file_backed(10_000), file_backed(100));
        let mut rope = Rope::new();
        rope.put_u32(0x0102_0304);
        rope.put_slice(&small);
        rope.put(large.clone());
        rope.put_slice(&large[5_000..]);
        rope.put_u8(b'!');
        assert_eq!(rope.len(), 4 + 100 + 10_000 + 5_000 + 1);
        let pieces: Vec<_> = rope.into_pieces().into();
        let shape: Vec<_> = pieces.iter().map(|p| (p.len(), is_file_backed(p))).collect();
        assert_eq!(shape, [(104, false), (10_000, true), (5_000, true), (1, false)]);
        assert_eq!(pieces[1].as_ptr(), large.as_ptr());
        assert_eq!(pieces[2].as_ptr(), large[5_000..].as_ptr());
        assert_eq!((&pieces[0][..4], &pieces[3][..]), (&[1, 2, 3, 4][..], &b"!"[..]));
    }

    #[test]
    fn a_slice_that_was_referred_to_outlives_what_it_was_cut_from() {
        let mut rope = Rope::new();
        {
            let bytes = file_backed(4_096);
            rope.put_slice(&bytes[1_000..2_000]);
        }
        assert_eq!(rope.copy_to_bytes(1_000), vec![b'f'; 1_000]);
        assert!(rope.is_empty());
    }

    #[test]
    fn what_was_written_is_read_in_order_whatever_the_steps() {
        let large = file_backed(1_000);
        for step in [1, 3, 999, 1_000, 1_003, 2_006] {
            let mut rope = Rope::new();
            rope.put_slice(b"abc");
            rope.put_slice(&large);
            rope.put_slice(b"def");
            rope.put_slice(&large);
            let mut read = Vec::new();
            while rope.has_remaining() {
                let n = step.min(rope.remaining());
                let mut slots = [IoSlice::new(&[]); 8];
                let used = rope.chunks_vectored(&mut slots);
                let all: usize = slots[..used].iter().map(|slot| slot.len()).sum();
                assert_eq!(all, rope.remaining(), "every piece is shown");
                read.extend_from_slice(&rope.copy_to_bytes(n));
            }
            let f = "f".repeat(1_000);
            assert_eq!(read, format!("abc{f}def{f}").into_bytes(), "{step}");
        }
    }
}
