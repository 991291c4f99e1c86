//! Files of `chunks_head`: chunks that are full and not yet part of a block.
//!
//! A chunk has the number of its series, whose labels are in the write-ahead log alone, and its
//! times. A file is made as large as it may become before anything is written, so it ends with
//! zeros: its length is what it is when it is opened, and not what it may become. The file that a
//! running Prometheus writes may end in the middle of a chunk.
//!
//! Source: Prometheus, tsdb/docs/format/head_chunks.md; tsdb/chunks/head_chunks.go,
//! `IterateAllChunks`.

use std::path::Path;

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Malformed, Section};
use crate::file::{Backend, BlockFile, Window};

use super::Encoding;

/// The first four bytes of a file.
pub const MAGIC: u32 = 0x0130_bc91;

/// Bytes of magic number, version and padding.
const HEADER_LEN: u64 = 8;

/// Number of the series and times: all zero where nothing was written.
const KEY_LEN: usize = 24;

/// What comes before the data: number, times, encoding, and a length of five bytes at most.
const HEAD_LEN: usize = KEY_LEN + 1 + 5;

/// The longest chunk that is looked for behind a damaged one, in bytes. Prometheus ends a chunk of
/// floats at 1 KiB, one of histograms at ten samples.
const FOUND_MAX: u64 = 64 << 10;

/// The bit of the encoding's byte that marks samples that came out of order.
const OUT_OF_ORDER: u8 = 0x80;

/// A file of `chunks_head`, open for reading.
#[derive(Debug)]
pub struct HeadFile {
    file: BlockFile,
}

/// A chunk of such a file, whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadChunk<'w> {
    /// The number of its series in the write-ahead log.
    pub series: u64,
    /// Of its first sample, in milliseconds since 1970.
    pub min_time: i64,
    /// Of its last sample.
    pub max_time: i64,
    /// Whether its samples came after later ones of the same series.
    pub is_out_of_order: bool,
    /// How it is encoded.
    pub encoding: u8,
    /// The samples.
    pub data: &'w [u8],
    /// Where it starts in the file.
    pub start: u64,
    /// Bytes in the file, checksum included.
    pub len: u64,
}

impl HeadFile {
    /// Opens the file at `path`. Nothing of it is read.
    ///
    /// # Errors
    ///
    /// If there is no such file, or the kernel cannot open or map it.
    pub fn open(path: &Path, backend: Backend) -> Result<Self, Damage> {
        Ok(Self { file: BlockFile::open(path, backend)? })
    }

    /// The file.
    #[must_use]
    pub const fn file(&self) -> &BlockFile {
        &self.file
    }

    /// Looks at magic number and version.
    ///
    /// # Errors
    ///
    /// If they are not those of such a file. Its chunks can be read anyway.
    pub fn check_header(&self) -> Result<(), Damage> {
        let mut window = Window::exact();
        let bytes = self.file.read(0..HEADER_LEN, Section::Header, &mut window)?;
        let mut cursor = Cursor::new(bytes);
        let (magic, version) = (cursor.u32().unwrap_or(0), cursor.u8().unwrap_or(0));
        let wrong = |offset, what, found: u32, wanted| {
            let fault = Fault::Value { what, found: found.into(), wanted };
            Err(self.file.damage(offset, Section::Header, fault))
        };
        if magic != MAGIC {
            return wrong(0, "the magic number", magic, "not 0x0130bc91 of head chunks");
        }
        if version != 1 {
            return wrong(4, "the version", version.into(), "not 1");
        }
        Ok(())
    }

    /// The chunks, from the first on.
    #[must_use]
    pub const fn chunks(&self) -> HeadChunks<'_> {
        HeadChunks { file: &self.file, at: HEADER_LEN }
    }

    /// The chunk that starts at a byte of the file.
    ///
    /// # Errors
    ///
    /// If it is cut or damaged.
    pub fn chunk<'w>(&self, start: u64, window: &'w mut Window) -> Result<HeadChunk<'w>, Damage> {
        chunk_at(&self.file, start, window)
    }
}

/// The chunks of a file, one after the other.
#[derive(Debug)]
pub struct HeadChunks<'f> {
    file: &'f BlockFile,
    at: u64,
}

impl HeadChunks<'_> {
    /// The next chunk; `None` behind the last. After a damaged one the next place is looked for at
    /// which a chunk's checksum is right.
    ///
    /// # Errors
    ///
    /// If a chunk is damaged: at least its samples are lost.
    pub fn next<'w>(&mut self, window: &'w mut Window) -> Option<Result<HeadChunk<'w>, Damage>> {
        let start = self.at;
        match self.is_behind_last(window) {
            Ok(true) => return None,
            Ok(false) => {}
            Err(damage) => {
                self.at = self.file.len();
                return Some(Err(damage));
            }
        }
        match chunk_at(self.file, start, window).map(|chunk| chunk.len) {
            Ok(len) => {
                self.at = start + len;
                Some(chunk_at(self.file, start, window))
            }
            Err(damage) => {
                self.at = self.resume(window);
                Some(Err(damage))
            }
        }
    }

    /// Whether nothing but zeros is left.
    fn is_behind_last(&self, window: &mut Window) -> Result<bool, Damage> {
        let mut at = self.at;
        while at < self.file.len() {
            let bytes = self.file.read_up_to(at, KEY_LEN.max(1 << 10), Section::Chunk, window)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// Where the next chunk is behind a damaged one: where that one's length says, or else the
    /// first place at which a checksum is right.
    fn resume(&self, window: &mut Window) -> u64 {
        let is_right = |start: &u64, window: &mut Window| {
            let is_likely = likely_len(self.file, *start, window).is_some();
            is_likely && chunk_at(self.file, *start, window).is_ok()
        };
        let said = likely_len(self.file, self.at, window).map(|len| self.at + len);
        if let Some(start) = said.filter(|start| is_right(start, window)) {
            return start;
        }
        let places = self.at + 1..self.file.len();
        places.into_iter().find(|start| is_right(start, window)).unwrap_or(self.file.len())
    }
}

fn chunk_at<'w>(
    file: &BlockFile,
    start: u64,
    window: &'w mut Window,
) -> Result<HeadChunk<'w>, Damage> {
    let malformed = |wrong: Malformed| wrong.within(file.path(), start, Section::Chunk);
    let head = file.read_up_to(start, HEAD_LEN, Section::Chunk, window)?;
    let (key, len) = key_and_len(head).map_err(malformed)?;
    let end = start.saturating_add(len);
    let bytes = file.read(start..end, Section::Chunk, window)?;
    let content = checksum::content(bytes).map_err(|wrong| file.or_lost(malformed(wrong), end))?;
    let data = content.get(key.data_at..).unwrap_or_default();
    Ok(HeadChunk {
        series: key.series,
        min_time: key.min_time,
        max_time: key.max_time,
        is_out_of_order: key.encoding & OUT_OF_ORDER != 0,
        encoding: key.encoding & !OUT_OF_ORDER,
        data,
        start,
        len,
    })
}

struct Key {
    series: u64,
    min_time: i64,
    max_time: i64,
    encoding: u8,
    data_at: usize,
}

/// What comes before the data of a chunk, and the bytes of the whole.
fn key_and_len(head: &[u8]) -> Result<(Key, u64), Malformed> {
    let mut cursor = Cursor::new(head);
    let series = cursor.u64()?;
    let (min_time, max_time) = (cursor.u64()?.cast_signed(), cursor.u64()?.cast_signed());
    let encoding = cursor.u8()?;
    let len = cursor.uvarint()?;
    let data_at = cursor.at();
    let key = Key { series, min_time, max_time, encoding, data_at };
    Ok((key, len.saturating_add((data_at + checksum::LEN) as u64)))
}

/// The bytes of a chunk at this place, if what comes before its data could be that of one.
fn likely_len(file: &BlockFile, start: u64, window: &mut Window) -> Option<u64> {
    let head = file.read_up_to(start, HEAD_LEN, Section::Chunk, window).ok()?;
    let (key, len) = key_and_len(head).ok()?;
    let is_known = Encoding::try_from(key.encoding & !OUT_OF_ORDER).is_ok();
    (is_known && key.min_time <= key.max_time && len <= FOUND_MAX).then_some(len)
}
