//! `check`: whether the files of a log are whole and agree with one another.
//!
//! Nothing is written. A log that is appended to meanwhile may look cut short at its end.

use std::collections::VecDeque;
use std::error::Error as _;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::epochs::Epochs;
use super::error::StorageError;
use super::names::Kind;
use super::open::{self, Found, START_FILE};
use super::segment::SIZE_MAX;
use super::walk::{Checksums, Walk};
use super::{epochs, index, index_file, times};
use crate::batch::BatchHeader;
use crate::producers::Producers;

/// Findings that are kept of a log; others are counted.
const FINDINGS_MAX: usize = 1_000;

/// Something in a file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub position: u64,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: byte {}: {}", self.path.display(), self.position, self.what)
    }
}

/// What was found in the log of a partition.
#[derive(Debug, Default)]
pub struct Checked {
    /// Its directory.
    pub dir: PathBuf,
    /// How many segments it has.
    pub segments: usize,
    /// Batches that are whole.
    pub batches: u64,
    /// Their records, as their headers count them.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first offset that may be read.
    pub start: i64,
    /// The offset behind the last.
    pub end: i64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// Findings that are not kept.
    pub further: u64,
    /// What is unusual and harmless: offsets that are missing.
    pub notes: Vec<String>,
}

impl Checked {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The directories of logs at `path`: itself, if it is one, or else those in it, and those that it
/// is to have.
///
/// # Errors
///
/// If a directory cannot be listed.
pub fn partitions(path: &Path) -> Result<Vec<PathBuf>, StorageError> {
    if !open::find(path)?.segments.is_empty() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error| StorageError::new("list", path, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_partition(&entry.file_name().to_string_lossy()) && entry.path().is_dir() {
            found.push(entry.path());
        }
    }
    // Those that are missing too.
    found.extend(crate::topics::partition_directories(path));
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Whether a directory's name is that of a topic, and the number of a partition.
fn is_partition(name: &str) -> bool {
    let digits = name.rsplit_once('-').map_or("", |(_, digits)| digits);
    !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())
}

/// Checks the log of the partition in `dir`. That something cannot be read is a finding.
#[must_use]
pub fn check(dir: &Path) -> Checked {
    let found = match open::find(dir) {
        Ok(found) => found,
        Err(error) => {
            let mut checking = Checking::new(dir, &Found::default());
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            checking.find(dir, 0, format_args!("cannot be listed: {cause}"));
            return checking.checked;
        }
    };
    let mut checking = Checking::new(dir, &found);
    checking.small_files();
    for (base, size) in &found.segments {
        checking.segment(*base, *size);
    }
    checking.snapshots(&found);
    checking.checked
}

/// A check under way.
struct Checking {
    checked: Checked,
    epochs: Option<Epochs>,
}

/// What is compared with the batches of a segment while they are walked over.
struct Indexes {
    index: VecDeque<index::Entry>,
    times: VecDeque<times::Entry>,
    /// Bytes of either that were compared.
    read: (u64, u64),
}

impl Checking {
    fn new(dir: &Path, found: &Found) -> Self {
        let first = found.segments.first().map_or(0, |(base, _)| *base);
        let checked = Checked {
            dir: dir.to_owned(),
            segments: found.segments.len(),
            start: first,
            end: first,
            ..Checked::default()
        };
        Self { checked, epochs: None }
    }

    fn find(&mut self, path: &Path, position: u64, what: impl fmt::Display) {
        if self.checked.findings.len() == FINDINGS_MAX {
            self.checked.further += 1;
            return;
        }
        let (path, what) = (path.to_owned(), what.to_string());
        self.checked.findings.push(Finding { path, position, what });
    }

    /// The epochs, and the start of the log.
    fn small_files(&mut self) {
        let path = self.checked.dir.join(epochs::FILE);
        match fs::read_to_string(&path) {
            Ok(text) => match Epochs::decode(&text) {
                Ok(epochs) => self.epochs = Some(epochs),
                Err(fault) => self.find(&path, 0, fault),
            },
            Err(error) => self.find(&path, 0, format_args!("cannot be read: {error}")),
        }
        let path = self.checked.dir.join(START_FILE);
        match fs::read_to_string(&path).map(|text| text.trim().parse::<i64>()) {
            Ok(Ok(start)) => self.checked.start = self.checked.start.max(start),
            Ok(Err(_)) => self.find(&path, 0, "an offset is to be here"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.find(&path, 0, format_args!("cannot be read: {error}")),
        }
    }

    fn segment(&mut self, base: i64, size: u64) {
        let path = Kind::Log.path(&self.checked.dir, base);
        if base > self.checked.end {
            self.note_gap(self.checked.end, base);
        } else if base < self.checked.end {
            let end = self.checked.end;
            self.find(&path, 0, format_args!("the segment before has offsets up to {}", end - 1));
        }
        if size > SIZE_MAX {
            self.find(&path, SIZE_MAX, format_args!("{size} bytes are more than a segment has"));
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return self.find(&path, 0, format_args!("cannot be opened: {error}")),
        };
        let mut indexes = self.indexes(base);
        let mut walk = Walk::new(&file, size.min(SIZE_MAX), 0, base);
        let mut next = base;
        loop {
            match walk.next(Checksums::Compare) {
                Ok(Some((position, header))) => {
                    if header.base_offset > next {
                        self.note_gap(next, header.base_offset);
                    }
                    next = walk.offset();
                    self.batch(&path, position, &header);
                    self.compare(&mut indexes, base, position, &header);
                }
                Ok(None) => break,
                Err(fault) => {
                    self.find(&path, walk.position(), fault);
                    break;
                }
            }
        }
        self.checked.end = self.checked.end.max(next);
        self.left(&indexes, base);
    }

    fn note_gap(&mut self, from: i64, to: i64) {
        if self.checked.notes.len() < FINDINGS_MAX {
            self.checked.notes.push(match to - from {
                1 => format!("offset {from} is missing"),
                _ => format!("offsets {from} to {} are missing", to - 1),
            });
        }
    }

    fn batch(&mut self, path: &Path, position: u64, header: &BatchHeader) {
        let checked = &mut self.checked;
        checked.batches += 1;
        checked.records += u64::try_from(header.count).unwrap_or(0);
        checked.bytes += header.size() as u64;
        let known = self.epochs.as_ref().and_then(|epochs| epochs.at(header.base_offset));
        if let Some(known) = known.filter(|known| *known != header.leader_epoch) {
            let found = header.leader_epoch;
            self.find(path, position, format_args!("leader epoch {found}, and {known} wrote then"));
        }
    }

    fn indexes(&mut self, base: i64) -> Indexes {
        let path = Kind::Index.path(&self.checked.dir, base);
        let index = fs::read(&path).unwrap_or_default();
        let index = index_file::decode(&index).unwrap_or_else(|fault| {
            self.find(&path, 0, fault);
            Vec::new()
        });
        let path = Kind::TimeIndex.path(&self.checked.dir, base);
        let times = fs::read(&path).unwrap_or_default();
        let times = index_file::decode_times(&times).unwrap_or_else(|fault| {
            self.find(&path, 0, fault);
            Vec::new()
        });
        let (index, times) = (index.into(), times.into());
        Indexes { index, times, read: (0, 0) }
    }

    /// Compares the entries that are about a batch with it.
    fn compare(&mut self, indexes: &mut Indexes, base: i64, position: u64, header: &BatchHeader) {
        let last = u32::try_from(header.last_offset() - base).unwrap_or(u32::MAX);
        while let Some(entry) = indexes
            .index
            .pop_front_if(|entry| u64::from(entry.position) <= position || entry.last <= last)
        {
            if (entry.last, u64::from(entry.position)) != (last, position) {
                let path = Kind::Index.path(&self.checked.dir, base);
                let offset = base + i64::from(entry.last);
                let what = format!("no batch up to offset {offset} is at byte {}", entry.position);
                self.find(&path, indexes.read.0, what);
            }
            indexes.read.0 += index_file::INDEX_ENTRY_BYTES as u64;
        }
        while let Some(entry) = indexes.times.pop_front_if(|entry| entry.offset <= last) {
            if (entry.time, entry.offset) != (header.max_timestamp, last) {
                let path = Kind::TimeIndex.path(&self.checked.dir, base);
                let offset = base + i64::from(entry.offset);
                let what = format!("no batch up to offset {offset} is of time {}", entry.time);
                self.find(&path, indexes.read.1, what);
            }
            indexes.read.1 += index_file::TIME_ENTRY_BYTES as u64;
        }
    }

    /// Entries that are about no batch.
    fn left(&mut self, indexes: &Indexes, base: i64) {
        let left = [
            (Kind::Index, indexes.index.len(), indexes.read.0),
            (Kind::TimeIndex, indexes.times.len(), indexes.read.1),
        ];
        for (kind, count, position) in left.into_iter().filter(|(_, count, _)| *count > 0) {
            let path = kind.path(&self.checked.dir, base);
            let what = format!("{count} entries are about offsets behind the last batch");
            self.find(&path, position, what);
        }
    }

    fn snapshots(&mut self, found: &Found) {
        for base in &found.snapshots {
            let path = Kind::Producers.path(&self.checked.dir, *base);
            match fs::read(&path).map(|bytes| Producers::decode(&bytes)) {
                Ok(Ok(_)) => {}
                Ok(Err(fault)) => self.find(&path, 0, fault),
                Err(error) => self.find(&path, 0, format_args!("cannot be read: {error}")),
            }
        }
    }
}
