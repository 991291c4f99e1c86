//! Looking into a segment for a batch that has no entry in the index.

use std::cell::Cell;
use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::error::{ReadError, StorageError};
use super::index::Place;
use super::names::Kind;
use super::reader::Patience;
use super::state::Shared;
use crate::batch::{BatchFault, BatchHeader, HEADER_BYTES};
use crate::open_files::OpenFile;
use crate::wire::{FileRange, Records};

/// Bytes of a read: the headers that may have to be looked at, and as much again of what is behind
/// them. A small answer is then in memory already.
const READ_BYTES: u32 = 8192;

/// Bytes of the first read for an answer that is to have one batch at most: most have that much.
const READ_BYTES_MIN: u32 = 512;

/// A segment that is looked into.
pub(super) struct Look<'a> {
    file: &'a Arc<OpenFile>,
    shared: &'a Shared,
    /// The offset from which others count.
    base: i64,
    /// Bytes of whole batches.
    size: u32,
    patience: Patience,
    room: Vec<u8>,
    /// How much of the room was read.
    filled: usize,
    /// Where in the file the read starts.
    at: u32,
}

thread_local! {
    /// Room for one read, of which an answer takes what it needs.
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        ROOM.set(std::mem::take(&mut self.room));
    }
}

impl<'a> Look<'a> {
    pub(super) fn new(
        file: &'a Arc<OpenFile>,
        shared: &'a Shared,
        base: i64,
        size: u32,
        patience: Patience,
    ) -> Self {
        let mut room = ROOM.take();
        room.resize(READ_BYTES as usize, 0);
        Self { file, shared, base, size, patience, room, filled: 0, at: 0 }
    }

    /// Where the batch starts that answers `offset`; the size, if there is none.
    pub(super) fn find(&mut self, offset: u32, place: Place) -> Result<u32, ReadError> {
        let (mut position, next) = match place {
            Place::At(position) => return Ok(position),
            Place::From { position, next } => (position, next),
        };
        let end = next.map_or(self.size, |next| next.position);
        if next.is_some() && end - position > READ_BYTES {
            // Most likely this batch is that long itself, and not the one: its header is enough.
            let header = self.header_alone(position)?;
            if self.answers(&header, offset) {
                return Ok(position);
            }
            position = self.behind(position, &header)?;
        }
        while position < end {
            let header = self.header(position)?;
            if self.answers(&header, offset) {
                return Ok(position);
            }
            position = self.behind(position, &header)?;
        }
        Ok(position)
    }

    /// The end of the batches from `start` on that are in `max_bytes`, as far as the read goes, and
    /// the last offset before it.
    pub(super) fn walk(
        &mut self,
        start: u32,
        end: u32,
        max_bytes: u64,
        min_one: bool,
    ) -> Result<(u32, Option<i64>), ReadError> {
        let max_bytes = u32::try_from(max_bytes).unwrap_or(u32::MAX);
        let limit = end.min(start.saturating_add(max_bytes));
        if !self.holds_header(start) {
            self.read_at(start, max_bytes.clamp(READ_BYTES_MIN, READ_BYTES))?;
        }
        let (mut position, mut last) = (start, None);
        while position < end {
            let is_first = position == start;
            if !is_first && !self.holds_header(position) {
                break;
            }
            let header = self.header(position)?;
            let behind = self.behind(position, &header)?;
            if behind > limit && !(is_first && min_one) {
                break;
            }
            if is_first && !self.holds(start..behind) && behind - start <= READ_BYTES {
                self.read_at(start, behind - start)?;
            }
            (position, last) = (behind, Some(header.last_offset()));
        }
        Ok((position, last))
    }

    /// Whether the read has all these bytes of the file.
    pub(super) fn holds(&self, range: Range<u32>) -> bool {
        range.start >= self.at && u64::from(range.end) <= self.read_end()
    }

    /// The batches in `range`: from memory, if that is where they are.
    pub(super) fn records(&self, range: Range<u32>) -> Records {
        if self.holds(range.clone()) {
            let (start, end) = (range.start - self.at, range.end - self.at);
            let bytes = &self.read()[start as usize..end as usize];
            return Records::Memory(Bytes::copy_from_slice(bytes));
        }
        let range = u64::from(range.start)..u64::from(range.end);
        Records::File(FileRange { file: Arc::clone(self.file), range })
    }

    fn holds_header(&self, position: u32) -> bool {
        position >= self.at && u64::from(position) + HEADER_BYTES as u64 <= self.read_end()
    }

    fn read_end(&self) -> u64 {
        u64::from(self.at) + self.filled as u64
    }

    /// What was read.
    fn read(&self) -> &[u8] {
        &self.room[..self.filled]
    }

    fn header(&mut self, position: u32) -> Result<BatchHeader, ReadError> {
        if !self.holds_header(position) {
            self.read_at(position, READ_BYTES)?;
        }
        let from = self.read().get((position - self.at) as usize..).unwrap_or_default();
        BatchHeader::parse(from).map_err(|source| self.damaged(position, source))
    }

    /// Whether a batch holds `offset`, or is behind it.
    fn answers(&self, header: &BatchHeader, offset: u32) -> bool {
        header.last_offset() - self.base >= i64::from(offset)
    }

    /// A header, and nothing of what is behind it.
    fn header_alone(&self, position: u32) -> Result<BatchHeader, ReadError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = self.read_into(&mut bytes, position)?;
        let header = BatchHeader::parse(&bytes[..read]);
        header.map_err(|source| self.damaged(position, source))
    }

    /// Where the batch behind the one at `position` starts.
    fn behind(&self, position: u32, header: &BatchHeader) -> Result<u32, ReadError> {
        let (wanted, there) = (header.size(), (self.size - position) as usize);
        if wanted > there {
            return Err(self.damaged(position, BatchFault::Short { wanted, there }));
        }
        Ok(position + u32::try_from(wanted).unwrap_or(u32::MAX))
    }

    fn path(&self) -> PathBuf {
        Kind::Log.path(&self.shared.dir(), self.base)
    }

    fn damaged(&self, position: u32, source: BatchFault) -> ReadError {
        let source = source.into();
        ReadError::Damaged { path: self.path(), position: position.into(), source }
    }

    fn read_at(&mut self, position: u32, len: u32) -> Result<(), ReadError> {
        let len = len.min(self.size.saturating_sub(position));
        let mut room = std::mem::take(&mut self.room);
        let read = self.read_into(&mut room[..len as usize], position);
        self.room = room;
        (self.filled, self.at) = (read?, position);
        Ok(())
    }

    /// Reads a header at least, and as much of `bytes` as there is.
    fn read_into(&self, bytes: &mut [u8], position: u32) -> Result<usize, ReadError> {
        let read = match self.patience {
            Patience::Wait => read_all(self.file, bytes, position.into()),
            Patience::Now => read_cached(self.file, bytes, position.into()),
        };
        match read {
            Ok(read) if self.patience == Patience::Now && read < HEADER_BYTES.min(bytes.len()) => {
                Err(ReadError::Cold)
            }
            Ok(read) => Ok(read),
            Err(Errno::AGAIN) => Err(ReadError::Cold),
            Err(errno) => Err(StorageError::new("read", &self.path(), errno).into()),
        }
    }
}

/// Reads what is in the page cache, however little; [`Errno::AGAIN`] if it is nothing.
fn read_cached(file: &File, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut slices = [IoSliceMut::new(bytes)];
    match preadv2(file, &mut slices, offset, ReadWriteFlags::NOWAIT) {
        // preadv2(2): a file system that cannot tell. Those in memory are among them.
        Err(Errno::OPNOTSUPP) => pread(file, bytes, offset),
        read => read,
    }
}

/// Reads as much as there is.
pub(super) fn read_all(file: &File, bytes: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut done = 0;
    while done < bytes.len() {
        match pread(file, &mut bytes[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done)
}
