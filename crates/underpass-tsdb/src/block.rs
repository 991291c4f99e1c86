//! A block: a directory with an index, segments of chunks, tombstones and `meta.json`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::checksum;
use crate::cursor::Cursor;
use crate::damage::{Damage, Fault, Section};
use crate::file::{self, Backend, BlockFile, Pattern, Window};
use crate::index::Index;
use crate::meta::Meta;
use crate::tombstones::Tombstones;

/// The first four bytes of a segment.
pub const SEGMENT_MAGIC: u32 = 0x85bd_40dd;

/// Bytes of a segment's magic number, version and padding.
pub const SEGMENT_HEADER_LEN: u64 = 8;

/// Bytes of a chunk that are read before its length is known.
const CHUNK_GUESS: usize = 512;

/// Bytes of the longest length of a chunk.
const LENGTH_MAX: usize = 5;

/// Bytes of the longest chunk that is believed; one of 65,535 floats has some 1.3 million.
const CHUNK_MAX: u64 = 16 << 20;

/// A block, open for reading. Opening reads `meta.json`, the tombstones and two places of the
/// index; segments are opened when a chunk of them is read.
#[derive(Debug)]
pub struct Block {
    dir: Arc<Path>,
    name: String,
    meta: Option<Meta>,
    index: Index,
    tombstones: Tombstones,
    segments: Vec<Segment>,
    damages: Vec<Damage>,
    backend: Backend,
}

/// A file of chunks.
#[derive(Debug)]
struct Segment {
    path: PathBuf,
    opened: OnceLock<Result<BlockFile, Damage>>,
}

/// A chunk whose checksum is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawChunk<'w> {
    /// How it is encoded.
    pub encoding: u8,
    /// The samples.
    pub data: &'w [u8],
    /// Bytes in the segment: length, encoding, samples and checksum.
    pub len: u64,
}

impl Block {
    /// Opens the block in the directory `dir`.
    ///
    /// # Errors
    ///
    /// If its index is not there or cannot be opened: then nothing of it can be read. Damage
    /// is not an error here: see [`damages`](Self::damages).
    pub fn open(dir: &Path, backend: Backend) -> Result<Self, Damage> {
        let index = Index::open(&dir.join("index"), backend)?;
        let mut damages = index.damages().to_vec();
        let mut keep = |damage| damages.push(damage);
        let meta = read_meta(&dir.join("meta.json")).map_err(&mut keep).ok();
        let tombstones = read_tombstones(&dir.join("tombstones"));
        let tombstones = tombstones.map_err(&mut keep).unwrap_or_default();
        let segments = find_segments(&dir.join("chunks")).map_err(&mut keep).unwrap_or_default();
        let name = dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned();
        let dir = dir.into();
        Ok(Self { dir, name, meta, index, tombstones, segments, damages, backend })
    }

    /// Its directory.
    #[must_use]
    pub const fn dir(&self) -> &Arc<Path> {
        &self.dir
    }

    /// Its name: that of the directory, a ULID.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself; `None` if that cannot be read.
    #[must_use]
    pub const fn meta(&self) -> Option<&Meta> {
        self.meta.as_ref()
    }

    /// Its index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What was deleted from it.
    #[must_use]
    pub const fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// What was found damaged when it was opened, those of the index among it.
    #[must_use]
    pub fn damages(&self) -> &[Damage] {
        &self.damages
    }

    /// The paths of its segments, that of number 0 first. There may be no file at one.
    pub fn segments(&self) -> impl Iterator<Item = &Path> {
        self.segments.iter().map(|segment| segment.path.as_path())
    }

    /// The segment of this number, counted from 0, opened when it is first asked for.
    ///
    /// # Errors
    ///
    /// If there is none, or it cannot be opened.
    pub fn segment(&self, number: usize) -> Result<&BlockFile, Damage> {
        let Some(segment) = self.segments.get(number) else {
            let fault = Fault::Reference { what: "segment", reference: number as u64 + 1 };
            let file = self.dir.join("chunks").into();
            return Err(Damage { file, offset: 0, section: Section::File, fault });
        };
        let open = || BlockFile::open(&segment.path, self.backend);
        segment.opened.get_or_init(open).as_ref().map_err(Clone::clone)
    }

    /// Tells the kernel in which order the block is going to be read.
    pub fn advise(&self, pattern: Pattern) {
        self.index.file().advise(pattern);
        for number in 0..self.segments.len() {
            if let Ok(segment) = self.segment(number) {
                segment.advise(pattern);
            }
        }
    }

    /// The chunk at a reference of the index, its checksum compared.
    ///
    /// # Errors
    ///
    /// If there is none at that place, or it is damaged.
    pub fn chunk<'w>(
        &self,
        reference: u64,
        window: &'w mut Window,
    ) -> Result<RawChunk<'w>, Damage> {
        let number = usize::try_from(reference >> 32).unwrap_or(usize::MAX);
        chunk_at(self.segment(number)?, reference & 0xffff_ffff, window)
    }
}

/// The chunk at byte `start` of a segment.
///
/// # Errors
///
/// If it is cut or damaged.
pub fn chunk_at<'w>(
    file: &BlockFile,
    start: u64,
    window: &'w mut Window,
) -> Result<RawChunk<'w>, Damage> {
    let section = Section::Chunk;
    let malformed = |wrong: crate::Malformed| wrong.within(file.path(), start, section);
    let head = file.read_up_to(start, CHUNK_GUESS, section, window)?;
    let mut cursor = Cursor::new(&head[..head.len().min(LENGTH_MAX)]);
    let len = cursor.uvarint().map_err(malformed)?;
    let before = cursor.at();
    let total = (before as u64 + 1 + checksum::LEN as u64).saturating_add(len);
    let end = start.saturating_add(total);
    if total > CHUNK_MAX {
        let left = file.len().saturating_sub(start);
        return Err(file.damage(start, section, Fault::Short { wanted: total, left }));
    }
    let bytes = file.read(start..end, section, window)?;
    let content =
        checksum::content(&bytes[before..]).map_err(|wrong| file.or_lost(malformed(wrong), end))?;
    let (encoding, data) = content.split_first().unwrap_or((&0, &[]));
    Ok(RawChunk { encoding: *encoding, data, len: total })
}

/// Bytes of `meta.json` or tombstones that are read: millions of records.
const SMALL_FILE_MAX: u64 = 64 << 20;

fn small_file(path: &Path, section: Section) -> Result<Vec<u8>, Damage> {
    let refused = |error: std::io::Error| {
        let fault = Fault::Call { call: "read", reason: error.to_string() };
        Damage { file: path.into(), offset: 0, section, fault }
    };
    let mut bytes = Vec::new();
    let file = file::open_regular(path).map_err(refused)?;
    file.take(SMALL_FILE_MAX).read_to_end(&mut bytes).map_err(refused)?;
    Ok(bytes)
}

fn read_meta(path: &Path) -> Result<Meta, Damage> {
    let bytes = small_file(path, Section::Meta)?;
    Meta::decode(&bytes).map_err(|error| Damage {
        file: path.into(),
        offset: offset_of(&bytes, error.line(), error.column()),
        section: Section::Meta,
        fault: Fault::Text(error.to_string()),
    })
}

/// The byte at a line and a column, both counted from 1.
fn offset_of(bytes: &[u8], line: usize, column: usize) -> u64 {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + column.saturating_sub(1)) as u64
}

/// A block without the file has no tombstones, as those of Thanos in a bucket.
fn read_tombstones(path: &Path) -> Result<Tombstones, Damage> {
    if !path.exists() {
        return Ok(Tombstones::default());
    }
    let bytes = small_file(path, Section::Tombstones)?;
    let file = path.into();
    Tombstones::decode(&bytes).map_err(|wrong| wrong.within(&file, 0, Section::Tombstones))
}

/// References count segments from 0, file names from 1. A file that is missing keeps its number.
fn find_segments(dir: &Path) -> Result<Vec<Segment>, Damage> {
    let refused = |error: std::io::Error| {
        let fault = Fault::Call { call: "getdents", reason: error.to_string() };
        Damage { file: dir.into(), offset: 0, section: Section::File, fault }
    };
    let mut last = 0;
    for entry in fs::read_dir(dir).map_err(refused)? {
        let name = entry.map_err(refused)?.file_name();
        let number = name.to_str().and_then(|name| name.parse::<u32>().ok());
        last = last.max(number.unwrap_or(0));
    }
    let segment =
        |number| Segment { path: dir.join(format!("{number:06}")), opened: OnceLock::new() };
    Ok((1..=last.min(SEGMENTS_MAX)).map(segment).collect())
}

/// Segments a block may have: 50 TB of the usual size. A file named otherwise is none of them.
const SEGMENTS_MAX: u32 = 100_000;
