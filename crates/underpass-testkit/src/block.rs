//! A Prometheus block written byte by byte, by code that shares nothing with the reader under
//! test, so that tests know of each byte what it is part of.
//!
//! Source: Prometheus, tsdb/docs/format, and the Go sources where those documents are stale.

pub mod bytes;
pub mod chunk;
mod index;
mod sparse;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use chunk::Chunk;
pub use sparse::SparseBlock;

use bytes::{Bytes, crc32c};

/// What a block is to hold.
#[derive(Debug, Clone)]
pub struct Block {
    /// The name of its directory.
    pub ulid: String,
    /// Of its index.
    pub version: u8,
    /// Sorted by their labels.
    pub series: Vec<Series>,
    /// Tombstones.
    pub tombstones: Vec<Tombstone>,
    /// Chunks in one segment.
    pub segment_chunks: usize,
    /// Whether the index has the obsolete label indices, as Prometheus up to 3.5 writes them.
    pub label_indices: bool,
}

/// A series.
#[derive(Debug, Clone)]
pub struct Series {
    /// Names and values, sorted.
    pub labels: Vec<(Vec<u8>, Vec<u8>)>,
    /// By time.
    pub chunks: Vec<Chunk>,
}

/// A closed interval of a series that was deleted.
#[derive(Debug, Clone, Copy)]
pub struct Tombstone {
    /// Its place among the block's series.
    pub series: usize,
    /// In milliseconds, inclusive.
    pub times: (i64, i64),
}

impl Series {
    /// A series with these labels, which it sorts.
    #[must_use]
    pub fn new(labels: &[(&str, &str)], chunks: Vec<Chunk>) -> Self {
        let pair = |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        let mut labels: Vec<_> = labels.iter().map(pair).collect();
        labels.sort();
        Self { labels, chunks }
    }
}

/// 2023-11-14T22:13:20Z: the time of the first sample of [`Block::small`].
pub const START: i64 = 1_700_000_000_000;

impl Block {
    /// A block with these series, sorted, and nothing unusual.
    #[must_use]
    pub fn new(version: u8, mut series: Vec<Series>) -> Self {
        series.sort_by(|one, other| one.labels.cmp(&other.labels));
        Self {
            ulid: "01HF7MQX0000000000000000AB".to_owned(),
            version,
            series,
            tombstones: Vec::new(),
            segment_chunks: usize::MAX,
            label_indices: false,
        }
    }

    /// Six series, two segments, one tombstone, a histogram, a stale marker; label values with
    /// quotes, UTF-8 and no UTF-8; label indices. Each series has its own time range.
    #[must_use]
    pub fn small(version: u8) -> Self {
        let floats = |start: i64, values: &[f64]| {
            let times = (0..).map(|place| START + start + 15_000 * place);
            Chunk::floats(&times.zip(values.iter().copied()).collect::<Vec<_>>())
        };
        let up = |job, instance, chunks| {
            Series::new(&[("__name__", "up"), ("job", job), ("instance", instance)], chunks)
        };
        let mut odd = Series::new(
            &[("__name__", "odd_total"), ("quote", "a\"b\\c\nd"), ("utf8", "größe")],
            vec![floats(3, &[-0.0, 1e300, f64::NAN, f64::INFINITY, 5e-324])],
        );
        odd.labels.push((b"word".to_vec(), vec![b'x', 0xff, 0xfe]));
        let mut series = vec![
            up("node", "a:9100", vec![floats(0, &[1.0, 1.0, 0.0]), floats(60_000, &[1.0])]),
            up("node", "b:9100", vec![floats(1, &[1.0, 0.5, chunk::STALE])]),
            up("prometheus", "a:9090", vec![floats(2, &[1.0]), floats(90_002, &[0.25, 1e9])]),
            odd,
            Series::new(
                &[("__name__", "latency_seconds"), ("job", "node")],
                vec![Chunk::histogram(START + 4, 7.5, &[2, -1, 3])],
            ),
        ];
        series.push(Series::new(&[("job", "without a name")], vec![floats(5, &[1.5, 2.5, 4.5])]));
        let tombstones = vec![Tombstone { series: 0, times: (START + 3, START + 3) }];
        Self { tombstones, segment_chunks: 5, label_indices: true, ..Self::new(version, series) }
    }

    /// Writes it as a directory of `parent` that has its ULID's name.
    ///
    /// # Errors
    ///
    /// Those of making directories and files.
    pub fn write(&self, parent: &Path) -> io::Result<Written> {
        let written = self.files(parent.join(&self.ulid));
        std::fs::create_dir_all(written.dir.join("chunks"))?;
        for file in &written.files {
            std::fs::write(written.dir.join(&file.name), &file.bytes.0)?;
        }
        Ok(written)
    }

    fn files(&self, dir: PathBuf) -> Written {
        let (mut files, references) = self.segments();
        let (index, ids) = index::write(self, &references);
        files.push(index);
        files.push(self.tombstones(&ids));
        files.push(self.meta());
        Written { dir, files }
    }

    /// The segments, and the references of the chunks by series.
    fn segments(&self) -> (Vec<File>, Vec<Vec<u64>>) {
        let mut files = Vec::new();
        let mut references = Vec::new();
        let mut in_segment = self.segment_chunks;
        for (place, series) in self.series.iter().enumerate() {
            let mut of_series = Vec::new();
            for (nth, chunk) in series.chunks.iter().enumerate() {
                if in_segment == self.segment_chunks || files.is_empty() {
                    files.push(segment(files.len()));
                    in_segment = 0;
                }
                in_segment += 1;
                let segment = files.len() as u64 - 1;
                if let Some(file) = files.last_mut() {
                    of_series.push(segment << 32 | file.bytes.len() as u64);
                    file.part(Kind::Chunk { series: place, chunk: nth }, |bytes| {
                        put_chunk(bytes, chunk);
                    });
                }
            }
            references.push(of_series);
        }
        (files, references)
    }

    /// Magic number, version, records, and the checksum of the records alone.
    fn tombstones(&self, ids: &[u64]) -> File {
        let mut records = Bytes::default();
        for tombstone in &self.tombstones {
            let (min, max) = tombstone.times;
            records.uvarint(ids[tombstone.series]).varint(min).varint(max);
        }
        let mut file = File::new("tombstones");
        file.part(Kind::TombstonesHeader, |bytes| {
            bytes.u32(0x0130_ba30).raw(&[1]);
        });
        file.part(Kind::Tombstones, |bytes| {
            bytes.raw(&records.0).u32(crc32c(&records.0));
        });
        file
    }

    fn meta(&self) -> File {
        let chunks = || self.series.iter().flat_map(|series| &series.chunks);
        let min = chunks().map(|chunk| chunk.min_time).min().unwrap_or(0);
        let max = chunks().map(|chunk| chunk.max_time).max().unwrap_or(0) + 1;
        let samples: usize = chunks().map(|chunk| chunk.samples).sum();
        let text = format!(
            "{{\n\t\"ulid\": \"{ulid}\",\n\t\"minTime\": {min},\n\t\"maxTime\": {max},\n\
             \t\"stats\": {{\n\
             \t\t\"numSamples\": {samples},\n\t\t\"numSeries\": {},\n\t\t\"numChunks\": {},\n\
             \t\t\"numTombstones\": {}\n\t}},\n\t\"compaction\": {{\n\t\t\"level\": 1,\n\
             \t\t\"sources\": [\n\t\t\t\"{ulid}\"\n\t\t]\n\t}},\n\t\"version\": 1\n}}",
            self.series.len(),
            chunks().count(),
            self.tombstones.len(),
            ulid = self.ulid,
        );
        let mut file = File::new("meta.json");
        file.part(Kind::Meta, |bytes| {
            bytes.raw(text.as_bytes());
        });
        file
    }
}

/// A segment with its header alone: the files are numbered from 1.
fn segment(before: usize) -> File {
    let mut file = File::new(&format!("chunks/{:06}", before + 1));
    file.part(Kind::SegmentHeader, |bytes| {
        bytes.u32(0x85bd_40dd).raw(&[1, 0, 0, 0]);
    });
    file
}

/// The length counts the data; the checksum covers the encoding too.
fn put_chunk(bytes: &mut Bytes, chunk: &Chunk) {
    let checked = [&[chunk.encoding], chunk.data.as_slice()].concat();
    bytes.uvarint(chunk.data.len() as u64).raw(&checked).u32(crc32c(&checked));
}

/// A block on a disk.
#[derive(Debug, Clone)]
pub struct Written {
    /// Its directory.
    pub dir: PathBuf,
    /// Its files.
    pub files: Vec<File>,
}

impl Written {
    /// The file of this name in the block: `chunks/000001`.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn file(&self, name: &str) -> &File {
        self.files.iter().find(|file| file.name == name).expect("a file of the block")
    }

    /// Writes the file of this name anew, with other bytes.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(self.dir.join(name), bytes)
    }

    /// Writes the file of this name as it was at first.
    ///
    /// # Errors
    ///
    /// Those of writing a file.
    pub fn mend(&self, name: &str) -> io::Result<()> {
        self.put(name, &self.file(name).bytes.0)
    }
}

/// A file of a block, and what its bytes are.
#[derive(Debug, Clone)]
pub struct File {
    /// Its name within the block.
    pub name: String,
    /// Its bytes.
    pub bytes: Bytes,
    /// Its parts, in order and without gaps.
    pub parts: Vec<Part>,
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct Part {
    /// What it is.
    pub kind: Kind,
    /// Where it is.
    pub range: Range<usize>,
}

/// What some bytes of a block are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the format")]
pub enum Kind {
    Header,
    Symbols,
    SeriesPadding,
    /// The series at this place.
    Series(usize),
    LabelIndices,
    PostingsPadding,
    Postings,
    LabelOffsetTable,
    PostingsTable,
    Toc,
    SegmentHeader,
    /// A chunk of a series, each by its place.
    Chunk {
        series: usize,
        chunk: usize,
    },
    TombstonesHeader,
    Tombstones,
    Meta,
}

impl File {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), bytes: Bytes::default(), parts: Vec::new() }
    }

    fn part(&mut self, kind: Kind, put: impl FnOnce(&mut Bytes)) {
        let start = self.bytes.len();
        put(&mut self.bytes);
        if self.bytes.len() > start {
            self.parts.push(Part { kind, range: start..self.bytes.len() });
        }
    }

    /// What the byte at `offset` is.
    ///
    /// # Panics
    ///
    /// If the file is shorter.
    #[must_use]
    pub fn kind_at(&self, offset: usize) -> Kind {
        let part = self.parts.iter().find(|part| part.range.contains(&offset));
        part.expect("a byte of the file").kind
    }
}
