//! An object whose length is not known before it ends: it is kept when it has ended whole.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use crate::checksum;
use crate::directory::{self, Name};
use crate::error::ObjectError;
use crate::extents::{CELL_BYTES_MIN, Extents, Piece};
use crate::fill::write_all;
use crate::head::Head;
use crate::key::Key;
use crate::meta::{About, Meta};
use crate::store::Store;

/// Content that comes, for an object of a length that is not known yet. Dropped before its end, it
/// leaves nothing behind.
pub struct Collect {
    store: Arc<Store>,
    key: Key,
    about: About,
    name: Name,
    file: File,
    /// Each within one of the smallest cells.
    pieces: Vec<Piece>,
    len: u64,
    is_kept: bool,
}

impl fmt::Debug for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collect").field("key", &self.key).field("len", &self.len).finish()
    }
}

impl Collect {
    pub(crate) fn new(
        store: Arc<Store>,
        (key, name): (Key, Name),
        about: About,
    ) -> io::Result<Self> {
        let file = name.create(0)?;
        Ok(Self { store, key, about, name, file, pieces: Vec::new(), len: 0, is_kept: false })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// [`ObjectError::Disk`] if there is no room for them, or they are more than the store takes:
    /// then this is to be dropped.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ObjectError> {
        if self.len + bytes.len() as u64 > self.store.len_max() {
            return Err(ObjectError::Disk(Errno::FBIG));
        }
        write_all(self.file.as_fd(), bytes, self.len).map_err(ObjectError::Disk)?;
        while !bytes.is_empty() {
            let room = CELL_BYTES_MIN - self.len % CELL_BYTES_MIN;
            let (some, rest) =
                bytes.split_at(usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len()));
            let len = u32::try_from(some.len()).expect("a cell");
            match self.pieces.last_mut().filter(|_| room < CELL_BYTES_MIN) {
                Some(last) => {
                    last.crc32c = crc32c::crc32c_append(last.crc32c, some);
                    last.len += len;
                }
                None => {
                    let crc32c = crc32c::crc32c(some);
                    self.pieces.push(Piece { start: self.len, len, crc32c });
                }
            }
            self.len += u64::from(len);
            bytes = rest;
        }
        Ok(())
    }

    /// All came: it is under its key from now on, and what was there is replaced. It writes to the
    /// disk, so it is for a thread that may wait.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or is not what the head says that it is.
    pub fn finish(mut self) -> Result<(), ObjectError> {
        let disk =
            |error: io::Error| ObjectError::Disk(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let head = Head { len: self.len, ..self.about.head.clone() };
        let there = Extents::of_pieces(self.len, &self.pieces).expect("pieces of it");
        checksum::of(&head, self.file.as_fd(), &there)?;
        self.file.sync_data().map_err(disk)?;
        let about = About { is_whole: true, head, ..self.about.clone() };
        let meta = Meta { about, there };
        self.name.write(&meta, true).map_err(disk)?;
        self.is_kept = true;
        let stat = rustix::fs::fstat(&self.file).map_err(ObjectError::Disk)?;
        let blocks = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        self.store.adopt(self.key.clone(), meta.about, blocks);
        Ok(())
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        if !self.is_kept {
            directory::remove(&self.name);
        }
    }
}
