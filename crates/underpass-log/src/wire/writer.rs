//! Writes a frame: bytes in memory, and ranges of files between them.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::open_files::OpenFile;

/// Bytes of a file that are not read here.
#[derive(Debug, Clone)]
pub(crate) struct FileRange {
    /// Stays open while it is to be sent, whatever becomes of its name.
    pub(crate) file: Arc<OpenFile>,
    /// Which of its bytes.
    pub(crate) range: Range<u64>,
}

impl FileRange {
    /// How many bytes.
    pub(crate) const fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// What is sent at a stretch.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Bytes in memory.
    Memory(Bytes),
    /// Bytes of a file.
    File(FileRange),
}

impl Piece {
    /// What it is of a file, if it is of one.
    pub(crate) const fn file(&self) -> Option<&FileRange> {
        match self {
            Self::Memory(_) => None,
            Self::File(file) => Some(file),
        }
    }
}

/// A frame, or a part of one, while it is made.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    memory: BytesMut,
    /// Each with its place in `memory`.
    files: Vec<(usize, FileRange)>,
}

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

impl Writer {
    /// A frame, whose length is written when it is done.
    pub(crate) fn frame() -> Self {
        Self::frame_in(BytesMut::new())
    }

    /// The same, in the room of `memory`, which is empty.
    pub(crate) fn frame_in(mut memory: BytesMut) -> Self {
        memory.put_bytes(0, LENGTH_BYTES);
        Self { memory, files: Vec::new() }
    }

    /// Adds bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.memory.put_slice(bytes);
    }

    /// Adds an UNSIGNED_VARINT.
    pub(crate) fn put_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.memory.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.memory.put_u8(value.to_le_bytes()[0]);
    }

    /// Adds a length of two or four bytes, or a compact one; none is null.
    ///
    /// # Panics
    ///
    /// If the length does not fit. What is written is ours, and has limits far below.
    pub(crate) fn put_length(&mut self, length: Option<u64>, is_short: bool, is_compact: bool) {
        let length = length.map_or(-1, |length| i32::try_from(length).expect("lengths are i32"));
        if is_compact {
            self.put_varint(length.wrapping_add(1).cast_unsigned());
        } else if is_short {
            self.put(&i16::try_from(length).expect("strings are cut").to_be_bytes());
        } else {
            self.put(&length.to_be_bytes());
        }
    }

    /// Adds bytes of a file, which stay there.
    pub(crate) fn refer(&mut self, range: FileRange) {
        if range.len() > 0 {
            self.files.push((self.memory.len(), range));
        }
    }

    /// Adds a section of tagged fields.
    pub(crate) fn put_tags(&mut self, tags: &[(u32, Self)]) {
        self.put_varint(u32::try_from(tags.len()).expect("a handful"));
        for (tag, content) in tags {
            self.put_varint(*tag);
            self.put_varint(u32::try_from(content.memory.len()).expect("small"));
            self.put(&content.memory);
        }
    }

    /// Bytes so far, those of files too.
    pub(crate) fn len(&self) -> u64 {
        let files: u64 = self.files.iter().map(|(_, file)| file.len()).sum();
        self.memory.len() as u64 + files
    }

    /// What to send, with the frame's length at its start.
    ///
    /// # Panics
    ///
    /// If the frame has more bytes than its length can say. A fetch is limited below that.
    pub(crate) fn into_pieces(mut self) -> Vec<Piece> {
        let length =
            i32::try_from(self.len() - LENGTH_BYTES as u64).expect("responses are limited");
        self.memory[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        let mut pieces = Vec::with_capacity(2 * self.files.len() + 1);
        let (mut memory, mut from) = (self.memory.freeze(), 0);
        for (at, file) in self.files {
            let before = memory.split_to(at - from);
            from = at;
            if !before.is_empty() {
                pieces.push(Piece::Memory(before));
            }
            pieces.push(Piece::File(file));
        }
        if !memory.is_empty() {
            pieces.push(Piece::Memory(memory));
        }
        pieces
    }

    /// What was written, without a frame and without files.
    ///
    /// # Panics
    ///
    /// If it has ranges of files.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn into_bytes(self) -> Bytes {
        assert!(self.files.is_empty(), "memory alone");
        self.memory.freeze()
    }
}
