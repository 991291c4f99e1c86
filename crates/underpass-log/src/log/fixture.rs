//! Logs and batches for tests.

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;

use super::{Incoming, Log, LogConfig, LogReader, Patience};
use crate::batch;
use crate::open_files::OpenFiles;
use crate::wire::Records;

/// A batch as a producer sends it: `count` records of which nothing is looked at, `payload` bytes.
pub(crate) fn batch(count: i32, payload: usize, time: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(0_i64.to_be_bytes());
    bytes.extend(i32::try_from(49 + payload).unwrap().to_be_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.push(2);
    bytes.extend([0; 4]);
    bytes.extend(0_i16.to_be_bytes());
    bytes.extend((count - 1).to_be_bytes());
    bytes.extend(time.to_be_bytes());
    bytes.extend(time.to_be_bytes());
    bytes.extend((-1_i64).to_be_bytes());
    bytes.extend((-1_i16).to_be_bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes.extend(count.to_be_bytes());
    bytes.extend((0..payload).map(|at| u8::try_from(at % 251).unwrap()));
    seal(bytes)
}

/// Puts the checksum of a batch right.
pub(crate) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The same with the sequence number of an idempotent producer.
pub(crate) fn of_producer(mut bytes: Vec<u8>, id: i64, sequence: i32) -> Vec<u8> {
    bytes[43..51].copy_from_slice(&id.to_be_bytes());
    bytes[51..53].copy_from_slice(&0_i16.to_be_bytes());
    bytes[53..57].copy_from_slice(&sequence.to_be_bytes());
    seal(bytes)
}

pub(crate) fn incoming(bytes: Vec<u8>) -> Incoming {
    let header = batch::check(&bytes).unwrap();
    Incoming::new(Bytes::from(bytes), header)
}

/// The batch as it is in a log.
pub(crate) fn written(mut bytes: Vec<u8>, base_offset: i64, epoch: i32) -> Vec<u8> {
    bytes[..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes
}

pub(crate) fn files() -> Arc<OpenFiles> {
    Arc::new(OpenFiles::new(NonZeroUsize::new(8).unwrap()))
}

pub(crate) fn small_segments(segment_bytes: u64) -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes, ..LogConfig::default() })
}

/// A directory for one log.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("t-0");
    (parent, dir)
}

/// A directory for a log that is opened many times: in memory, if there is such a file system,
/// because fsync(2) has nothing to wait for there.
pub(crate) fn place_in_memory() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let dir = parent.path().join("t-0");
    (parent, dir)
}

/// Appends each by itself.
pub(crate) fn append(log: &mut Log, batches: impl IntoIterator<Item = Vec<u8>>) {
    for bytes in batches {
        log.append(&mut [incoming(bytes)], 1).unwrap();
    }
}

/// The bytes of a plan.
pub(crate) fn read(records: &Records) -> Vec<u8> {
    match records {
        Records::None => Vec::new(),
        Records::Memory(bytes) => bytes.to_vec(),
        Records::File(part) => {
            let mut bytes = vec![0; usize::try_from(records.len()).unwrap()];
            part.file.read_exact_at(&mut bytes, part.range.start).unwrap();
            bytes
        }
    }
}

pub(crate) fn plan(
    reader: &LogReader,
    from: i64,
    visible: i64,
    max: u64,
    min_one: bool,
) -> Vec<u8> {
    read(&reader.plan(from, visible, max, min_one, Patience::Wait).unwrap().records)
}
