//! What a fuzz target is shown of logs: one is written, and one is opened and read.

use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Incoming, Log, LogConfig, LogReader, Patience, Start, StorageError};
use crate::batch;
use crate::open_files::OpenFiles;
use crate::wire::Records;

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { segment_bytes: 6_000, ..LogConfig::default() })
}

fn files() -> Arc<OpenFiles> {
    Arc::new(OpenFiles::new(NonZeroUsize::MIN))
}

/// Writes a log of these batches, in several segments, and closes it in order or not.
pub fn write(dir: &Path, batches: &[Vec<u8>], is_closed: bool) {
    let mut log = Log::create(dir, config(), files()).expect("a new directory");
    append(&mut log, batches);
    if is_closed {
        log.close().expect("a directory that can be written");
    }
}

fn append(log: &mut Log, batches: &[Vec<u8>]) {
    for bytes in batches {
        let header = batch::check(bytes).expect("a batch");
        let incoming = Incoming::new(Bytes::copy_from_slice(bytes), header);
        log.append(&mut [incoming], 1).expect("a directory that can be written");
    }
}

/// Opens a log, whatever its files hold, and gives what reads from every offset answer. Then it is
/// appended to, closed, and has nothing wrong.
///
/// # Errors
///
/// If it cannot be opened.
pub fn open(dir: &Path, is_clean: bool, more: &[u8]) -> Result<Vec<Vec<u8>>, StorageError> {
    let start = if is_clean { Start::Clean } else { Start::Unclean };
    let (mut log, recovery) = Log::open(dir, config(), files(), start)?;
    let answers = read(&log.reader());
    append(&mut log, &[more.to_vec()]);
    log.close()?;
    // What was closed in order is believed, but for the last segment.
    if recovery.is_recovered {
        drop(Log::open(dir, config(), files(), Start::Clean)?);
    }
    Ok(answers)
}

/// The first batch of what each offset's read answers; damage that a reader meets ends them.
fn read(reader: &LogReader) -> Vec<Vec<u8>> {
    let (start, end) = (reader.start_offset(), reader.end_offset());
    let mut answers = Vec::new();
    // A damaged file may claim any offset.
    for from in (start..end).take(1_000) {
        let Ok(plan) = reader.plan(from, end, 0, true, Patience::Wait) else { continue };
        answers.push(match plan.records {
            Records::None => continue,
            Records::Memory(bytes) => bytes.to_vec(),
            Records::File(part) => {
                let len = usize::try_from(part.range.end - part.range.start).unwrap_or(0);
                let mut bytes = vec![0; len];
                match part.file.read_exact_at(&mut bytes, part.range.start) {
                    Ok(()) => bytes,
                    Err(_) => continue,
                }
            }
        });
        assert!(!reader.find_time(7, end).is_ok_and(|found| found.is_some_and(|it| it.0 >= end)));
    }
    answers
}
