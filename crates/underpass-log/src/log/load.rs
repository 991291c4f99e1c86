//! The index of a closed segment, from its file or from its batches.

use std::fs;
use std::io;
use std::sync::Arc;

use super::error::{ReadError, StorageError};
use super::index::Index;
use super::index_file;
use super::names::Kind;
use super::segment::Segment;
use super::state::Shared;
use super::walk::{Checksums, Walk, WalkFault};
use crate::open_files::FileKey;

/// Loads the index of the segment `key` of `size` bytes, and keeps it.
pub(super) fn index(
    shared: &Shared,
    key: FileKey,
    base: i64,
    size: u32,
) -> Result<Arc<Index>, ReadError> {
    let bytes = {
        let dir = shared.dir();
        let path = Kind::Index.path(&dir, base);
        match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StorageError::new("read", &path, error).into()),
        }
    };
    let index = match index_file::decode(&bytes) {
        // A segment that is small enough needs no entry, and its walk is short.
        Ok(entries) if entries.last().is_some_and(|last| last.position < size) => {
            Index::sealed(entries)
        }
        _ => from_batches(shared, key, base, size)?,
    };
    let index = Arc::new(index);
    shared.files.keep_index(key, Arc::clone(&index));
    Ok(index)
}

fn from_batches(shared: &Shared, key: FileKey, base: i64, size: u32) -> Result<Index, ReadError> {
    let file = shared.file(key, base)?;
    let mut segment = Segment::new(base);
    let mut walk = Walk::new(&file, size.into(), 0, base);
    loop {
        match walk.next(Checksums::Trust) {
            Ok(Some((_, header))) => segment.push(&header),
            Ok(None) => return Ok(segment.index.unwrap_or_default()),
            Err(fault) => return Err(damaged(shared, base, walk.position(), fault)),
        }
    }
}

/// What a reader is told of a walk that broke off.
pub(super) fn damaged(shared: &Shared, base: i64, position: u64, fault: WalkFault) -> ReadError {
    let path = Kind::Log.path(&shared.dir(), base);
    if let WalkFault::Read(errno) = fault {
        return StorageError::new("read", &path, errno).into();
    }
    ReadError::Damaged { path, position, source: fault }
}
