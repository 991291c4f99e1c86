//! `dump`: the batches and records of segment files, as lines.
//!
//! The words are those of Kafka's `DumpLogSegments`; as JSON each line is an object.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::check::Finding;
use super::error::StorageError;
use super::look::read_all;
use super::names::Kind;
use super::open;
use super::walk::{Checksums, Walk, WalkFault};
use crate::batch::BatchHeader;
use crate::compression::Codec;
use crate::records::{Contents, Field, Record, Records};

/// Bytes of a key or a value that are printed.
const PRINTED_MAX: usize = 1 << 20;

/// What is wanted of a dump.
#[derive(Debug, Clone, Copy, Default)]
pub struct DumpOptions {
    /// Batches that end before this offset are left out.
    pub from: i64,
    /// How many batches at most.
    pub batches: Option<u64>,
    /// Whether records are wanted, and not batches alone.
    pub records: bool,
    /// Whether lines are JSON.
    pub json: bool,
}

/// Why a dump ended early.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// A file cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The lines cannot be written.
    #[error("cannot write")]
    Write(#[from] io::Error),
    /// It is not a segment.
    #[error("{} is not a segment: its name is not 20 digits and '.log'", .0.display())]
    Name(PathBuf),
}

/// Writes the batches of a segment file, or of all segments in a directory, to `out`. What is not
/// whole is given back: the segment ends there.
///
/// # Errors
///
/// [`DumpError`].
pub fn dump(
    path: &Path,
    options: &DumpOptions,
    out: &mut impl Write,
) -> Result<Vec<Finding>, DumpError> {
    let mut dumping = Dumping { options, out, left: options.batches.unwrap_or(u64::MAX) };
    let mut findings = Vec::new();
    for (path, base) in segments(path)? {
        findings.extend(dumping.segment(&path, base)?);
    }
    dumping.out.flush()?;
    Ok(findings)
}

/// The segment files at a path, and where each starts.
fn segments(path: &Path) -> Result<Vec<(PathBuf, i64)>, DumpError> {
    if path.is_dir() {
        let found = open::find(path)?;
        let bases = found.segments.into_iter().map(|(base, _)| base);
        return Ok(bases.map(|base| (Kind::Log.path(path, base), base)).collect());
    }
    let name = path.file_name().and_then(|name| name.to_str()).and_then(Kind::parse);
    match name {
        Some((Kind::Log, base)) => Ok(vec![(path.to_owned(), base)]),
        _ => Err(DumpError::Name(path.to_owned())),
    }
}

/// A dump under way.
struct Dumping<'a, W> {
    options: &'a DumpOptions,
    out: &'a mut W,
    left: u64,
}

impl<W: Write> Dumping<'_, W> {
    fn segment(&mut self, path: &Path, base: i64) -> Result<Option<Finding>, DumpError> {
        let failed = |error| StorageError::new("open", path, error);
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let mut walk = Walk::new(&file, size, 0, base);
        while self.left > 0 {
            let (position, header) = match walk.next(Checksums::Compare) {
                Ok(Some(batch)) => batch,
                Ok(None) => return Ok(None),
                Err(WalkFault::Read(errno)) => {
                    return Err(StorageError::new("read", path, errno).into());
                }
                Err(fault) => {
                    let (path, position) = (path.to_owned(), walk.position());
                    return Ok(Some(Finding { path, position, what: fault.to_string() }));
                }
            };
            if header.last_offset() >= self.options.from {
                self.left -= 1;
                self.batch(position, &header)?;
                if self.options.records {
                    self.records(path, &file, position, &header)?;
                }
            }
        }
        Ok(None)
    }

    fn batch(&mut self, position: u64, header: &BatchHeader) -> io::Result<()> {
        if self.options.json {
            return writeln!(self.out, "{}", batch_json(position, header));
        }
        let BatchHeader { base_offset, count, producer_id, producer_epoch, .. } = header;
        let BatchHeader { base_sequence, leader_epoch, magic, crc, max_timestamp, .. } = header;
        writeln!(
            self.out,
            "baseOffset: {base_offset} lastOffset: {} count: {count} baseSequence: \
             {base_sequence} lastSequence: {} producerId: {producer_id} producerEpoch: \
             {producer_epoch} partitionLeaderEpoch: {leader_epoch} isTransactional: {} isControl: \
             {} position: {position} {}: {max_timestamp} size: {} magic: {magic} compresscodec: \
             {} crc: {crc} isvalid: true",
            header.last_offset(),
            last_sequence(header),
            header.is_transactional(),
            header.is_control(),
            time_type(header),
            header.size(),
            codec(header),
        )
    }

    fn records(
        &mut self,
        path: &Path,
        file: &File,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), DumpError> {
        let mut bytes = vec![0; header.size()];
        read_all(file, &mut bytes, position)
            .map_err(|errno| StorageError::new("read", path, errno))?;
        match Records::of(header, &bytes, Contents::Keep) {
            Ok(records) => {
                for record in records {
                    match record {
                        Ok(record) => self.record(header, &record)?,
                        Err(fault) => self.fault(&fault)?,
                    }
                }
            }
            Err(fault) => self.fault(&fault)?,
        }
        Ok(())
    }

    fn record(&mut self, header: &BatchHeader, record: &Record) -> io::Result<()> {
        if self.options.json {
            return writeln!(self.out, "{}", record_json(record));
        }
        let Record { offset, timestamp, key, value, headers } = record;
        let keys: Vec<String> = headers.iter().map(|(key, _)| printable(&key.bytes)).collect();
        write!(
            self.out,
            "| offset: {offset} {}: {timestamp} keySize: {} valueSize: {} headerKeys: [{}]",
            time_type(header),
            size(key.as_ref()),
            size(value.as_ref()),
            keys.join(","),
        )?;
        for (name, field) in [("key", key), ("payload", value)] {
            if let Some(field) = field {
                write!(self.out, " {name}: {}", printable(&field.bytes))?;
            }
        }
        writeln!(self.out)
    }

    fn fault(&mut self, fault: &dyn std::error::Error) -> io::Result<()> {
        match self.options.json {
            true => writeln!(self.out, "{}", json!({ "fault": fault.to_string() })),
            false => writeln!(self.out, "| {fault}"),
        }
    }
}

fn batch_json(position: u64, header: &BatchHeader) -> Value {
    json!({
        "baseOffset": header.base_offset,
        "lastOffset": header.last_offset(),
        "count": header.count,
        "baseSequence": header.base_sequence,
        "lastSequence": last_sequence(header),
        "producerId": header.producer_id,
        "producerEpoch": header.producer_epoch,
        "partitionLeaderEpoch": header.leader_epoch,
        "isTransactional": header.is_transactional(),
        "isControl": header.is_control(),
        "position": position,
        "timestampType": time_type(header),
        "maxTimestamp": header.max_timestamp,
        "size": header.size(),
        "magic": header.magic,
        "compressionType": codec(header),
        "crc": header.crc,
    })
}

fn record_json(record: &Record) -> Value {
    let field = |field: Option<&Field>| field.map(|field| text(&field.bytes));
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(key, value)| json!({ "key": text(&key.bytes), "value": field(value.as_ref()) }))
        .collect();
    json!({
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": field(record.key.as_ref()),
        "value": field(record.value.as_ref()),
        "headers": headers,
    })
}

/// As text, cut where it is long. What is not UTF-8 is replaced.
fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(PRINTED_MAX)];
    String::from_utf8_lossy(cut).into_owned()
}

/// As text that does nothing to a terminal.
fn printable(bytes: &[u8]) -> String {
    let mut printable = String::new();
    for c in text(bytes).chars() {
        // The second are marks and overrides of the direction of writing, and ends of lines.
        match c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}') {
            true => printable.extend(c.escape_unicode()),
            false => printable.push(c),
        }
    }
    printable
}

fn size(field: Option<&Field>) -> i64 {
    field.map_or(-1, |field| i64::try_from(field.len_bytes).unwrap_or(i64::MAX))
}

fn codec(header: &BatchHeader) -> &'static str {
    Codec::of(header.codec()).map_or("unknown", Codec::name)
}

const fn time_type(header: &BatchHeader) -> &'static str {
    if header.has_append_time() { "LogAppendTime" } else { "CreateTime" }
}

/// The sequence number of the last record: numbers start again at 0 behind the largest.
fn last_sequence(header: &BatchHeader) -> i32 {
    if header.base_sequence < 0 {
        return -1;
    }
    let last = i64::from(header.base_sequence) + i64::from(header.last_offset_delta);
    i32::try_from(last % (i64::from(i32::MAX) + 1)).unwrap_or(-1)
}
