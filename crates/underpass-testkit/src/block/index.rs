//! The index of a block, versions 1 to 3.
//!
//! Version 1 refers to symbols and series by their offsets in the file and pads neither series nor
//! anything else to 16 bytes; its postings offset table may be in any order, so it is written
//! backwards here. Versions 2 and 3 are the same but for the byte.
//!
//! Source: Prometheus, tsdb/docs/format/index.md (whose version is stale), tsdb/index/index.go.

use std::collections::{BTreeMap, BTreeSet};

use super::bytes::{Bytes, crc32c, to_u32};
use super::{Block, File, Kind, Series};

type Pair = (Vec<u8>, Vec<u8>);

/// The index of `block`, whose chunks have the references given, by series.
pub(super) fn write(block: &Block, references: &[Vec<u64>]) -> (File, Vec<u64>) {
    let mut writer = Writer { file: File::new("index"), version: block.version };
    writer.file.part(Kind::Header, |bytes| {
        bytes.u32(0xbaaa_d700).raw(&[block.version]);
    });
    let mut toc = [0; 6];
    toc[0] = writer.at();
    let symbols = writer.symbols(block);
    toc[1] = writer.at();
    let ids = writer.all_series(block, &symbols, references);
    toc[2] = writer.at();
    let label_indices = block.label_indices.then(|| writer.label_indices(block, &symbols));
    toc[4] = writer.at();
    let offsets = writer.postings(block, &ids);
    toc[3] = writer.at();
    if let Some(label_indices) = label_indices {
        writer.label_offset_table(&label_indices);
    }
    toc[5] = writer.at();
    writer.postings_table(offsets);
    writer.toc(toc);
    (writer.file, ids)
}

struct Writer {
    file: File,
    version: u8,
}

impl Writer {
    fn at(&self) -> u64 {
        self.file.bytes.len() as u64
    }

    /// The reference of each symbol.
    fn symbols(&mut self, block: &Block) -> BTreeMap<Vec<u8>, u64> {
        let labels = block.series.iter().flat_map(|series| &series.labels);
        let strings: BTreeSet<Vec<u8>> =
            labels.flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
        let start = self.file.bytes.len() + 4;
        let mut content = Bytes::default();
        content.u32(to_u32(strings.len()));
        let mut references = BTreeMap::new();
        for (ordinal, string) in strings.into_iter().enumerate() {
            let place = if self.version == 1 { start + content.len() } else { ordinal };
            content.counted(&string);
            references.insert(string, place as u64);
        }
        self.file.part(Kind::Symbols, |bytes| {
            bytes.section(&content.0);
        });
        references
    }

    /// The id of each series.
    fn all_series(
        &mut self,
        block: &Block,
        symbols: &BTreeMap<Vec<u8>, u64>,
        references: &[Vec<u64>],
    ) -> Vec<u64> {
        let align = if self.version == 1 { 1 } else { 16 };
        let mut ids = Vec::new();
        for (place, (series, references)) in block.series.iter().zip(references).enumerate() {
            self.file.part(Kind::SeriesPadding, |bytes| {
                bytes.pad(align);
            });
            ids.push(self.at() / align as u64);
            let body = series_body(series, symbols, references);
            self.file.part(Kind::Series(place), |bytes| {
                bytes.counted(&body).u32(crc32c(&body));
            });
        }
        ids
    }

    /// Offsets by label name. A label index holds the names' count, that of entries, and the
    /// values' references.
    fn label_indices(
        &mut self,
        block: &Block,
        symbols: &BTreeMap<Vec<u8>, u64>,
    ) -> Vec<(Vec<u8>, u64)> {
        let mut values = BTreeMap::<Vec<u8>, BTreeSet<Vec<u8>>>::new();
        for (name, value) in block.series.iter().flat_map(|series| &series.labels) {
            values.entry(name.clone()).or_default().insert(value.clone());
        }
        let mut offsets = Vec::new();
        for (name, values) in values {
            let mut content = Bytes::default();
            content.u32(1).u32(to_u32(values.len()));
            for value in values {
                content.u32(u32::try_from(symbols[&value]).expect("small"));
            }
            self.file.part(Kind::LabelIndices, |bytes| {
                bytes.pad(4);
            });
            offsets.push((name, self.at()));
            self.file.part(Kind::LabelIndices, |bytes| {
                bytes.section(&content.0);
            });
        }
        offsets
    }

    fn postings(&mut self, block: &Block, ids: &[u64]) -> Vec<(Pair, u64)> {
        let mut lists = BTreeMap::<Pair, Vec<u64>>::new();
        for (series, id) in block.series.iter().zip(ids) {
            let all = (Vec::new(), Vec::new());
            for pair in std::iter::once(all).chain(series.labels.iter().cloned()) {
                lists.entry(pair).or_default().push(*id);
            }
        }
        let mut offsets = Vec::new();
        for (pair, list) in lists {
            let mut content = Bytes::default();
            content.u32(to_u32(list.len()));
            for id in list {
                content.u32(u32::try_from(id).expect("small"));
            }
            self.file.part(Kind::PostingsPadding, |bytes| {
                bytes.pad(4);
            });
            offsets.push((pair, self.at()));
            self.file.part(Kind::Postings, |bytes| {
                bytes.section(&content.0);
            });
        }
        offsets
    }

    fn label_offset_table(&mut self, offsets: &[(Vec<u8>, u64)]) {
        let mut content = Bytes::default();
        content.u32(to_u32(offsets.len()));
        for (name, offset) in offsets {
            content.uvarint(1).counted(name).uvarint(*offset);
        }
        self.file.part(Kind::LabelOffsetTable, |bytes| {
            bytes.section(&content.0);
        });
    }

    fn postings_table(&mut self, mut offsets: Vec<(Pair, u64)>) {
        if self.version == 1 {
            offsets.reverse();
        }
        let mut content = Bytes::default();
        content.u32(to_u32(offsets.len()));
        for ((name, value), offset) in offsets {
            content.uvarint(2).counted(&name).counted(&value).uvarint(offset);
        }
        self.file.part(Kind::PostingsTable, |bytes| {
            bytes.section(&content.0);
        });
    }

    fn toc(&mut self, places: [u64; 6]) {
        let mut content = Bytes::default();
        for place in places {
            content.u64(place);
        }
        self.file.part(Kind::Toc, |bytes| {
            bytes.raw(&content.0).u32(crc32c(&content.0));
        });
    }
}

fn series_body(series: &Series, symbols: &BTreeMap<Vec<u8>, u64>, references: &[u64]) -> Vec<u8> {
    let mut body = Bytes::default();
    body.uvarint(series.labels.len() as u64);
    for (name, value) in &series.labels {
        body.uvarint(symbols[name]).uvarint(symbols[value]);
    }
    body.uvarint(references.len() as u64);
    let mut before: Option<(i64, u64)> = None;
    for (chunk, reference) in series.chunks.iter().zip(references) {
        match before {
            None => body.varint(chunk.min_time),
            Some((max_time, _)) => body.uvarint((chunk.min_time - max_time).cast_unsigned()),
        };
        body.uvarint((chunk.max_time - chunk.min_time).cast_unsigned());
        match before {
            None => body.uvarint(*reference),
            Some((_, last)) => body.varint(reference.wrapping_sub(last).cast_signed()),
        };
        before = Some((chunk.max_time, *reference));
    }
    body.0
}
