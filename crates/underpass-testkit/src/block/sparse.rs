//! A block as large as those of a big server, whose segments are holes but for one series.
//!
//! Its index is whole: every series, every postings list. What a reader of the one series needs is
//! there, and anything else that it reads of a segment is zeros.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::bytes::{Bytes, crc32c, to_u32};
use super::{Chunk, put_chunk, segment};

/// How much there is: a series for each metric and instance.
#[derive(Debug, Clone, Copy)]
pub struct SparseBlock {
    /// Values of `__name__`: `metric_0000`, ….
    pub metrics: usize,
    /// Values of `instance`: `host-00000`, ….
    pub instances: usize,
    /// Chunks of each series; each has half an hour.
    pub chunks: usize,
}

/// Bytes from one chunk to the next: what 120 values take that share no digit.
const SLOT: u64 = 1_200;

/// Bytes of a whole segment: Prometheus' 512 MiB.
const SEGMENT: u64 = 512 << 20;

const SAMPLES: i64 = 120;

const STEP_MS: i64 = 15_000;

/// The time of the first sample.
const START: i64 = 1_699_999_200_000;

impl SparseBlock {
    /// 57.6 GB of chunks, of two million series.
    pub const LARGE: Self = Self { metrics: 1_000, instances: 2_000, chunks: 24 };

    /// The labels of the one series that has samples: a metric and an instance.
    #[must_use]
    pub fn series(self) -> [String; 2] {
        [metric(self.metrics / 2), instance(self.instances / 2)]
    }

    /// Its samples.
    pub fn samples(self) -> impl Iterator<Item = (i64, f64)> {
        let mut state = 12_u64;
        let count = SAMPLES * i64::try_from(self.chunks).expect("a few");
        (0..count).map(move |i| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // 1 to 2, with every bit of the fraction at random.
            (START + i * STEP_MS, f64::from_bits(0x3ff << 52 | state >> 12))
        })
    }

    /// Bytes of its segments.
    #[must_use]
    pub fn chunk_bytes(self) -> u64 {
        (self.metrics * self.instances * self.chunks) as u64 * SLOT
    }

    /// Writes it to a new directory.
    ///
    /// # Errors
    ///
    /// Those of the file system, which has to know sparse files.
    pub fn write(self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir.join("chunks"))?;
        self.segments(&dir.join("chunks"))?;
        self.index(&dir.join("index"))?;
        fs::write(dir.join("tombstones"), b"\x01\x30\xba\x30\x01\0\0\0\0")?;
        let (series, end) = (self.metrics * self.instances, self.chunk_times(self.chunks).0);
        let (samples, chunks) = (series * self.chunks * 120, series * self.chunks);
        let ulid = "01HF5GWQ00SPARSEBQ0CK00000";
        let meta = format!(
            "{{\"ulid\":\"{ulid}\",\"minTime\":{START},\"maxTime\":{end},\
             \"stats\":{{\"numSamples\":{samples},\"numSeries\":{series},\"numChunks\":{chunks}}},\
             \"compaction\":{{\"level\":1,\"sources\":[\"{ulid}\"]}},\"version\":1}}"
        );
        fs::write(dir.join("meta.json"), meta)
    }

    fn chunk_times(self, chunk: usize) -> (i64, i64) {
        let first = START + i64::try_from(chunk).expect("a few") * SAMPLES * STEP_MS;
        (first, first + (SAMPLES - 1) * STEP_MS)
    }

    /// Where a chunk is: the number of its segment, counted from 0, and the offset there.
    fn place(self, series: usize, chunk: usize) -> (u64, u64) {
        let slots = (SEGMENT - 8) / SLOT;
        let slot = (series * self.chunks + chunk) as u64;
        (slot / slots, 8 + slot % slots * SLOT)
    }

    fn segments(self, dir: &Path) -> io::Result<()> {
        let series = self.metrics / 2 * self.instances + self.instances / 2;
        let (last, _) = self.place(self.metrics * self.instances, 0);
        let mut files = Vec::new();
        for before in 0..=usize::try_from(last).expect("some segments") {
            let file = File::create(dir.join(format!("{:06}", before + 1)))?;
            file.write_all_at(&segment(before).bytes.0, 0)?;
            file.set_len(SEGMENT)?;
            files.push(file);
        }
        let samples: Vec<_> = self.samples().collect();
        for (place, samples) in samples.chunks(120).enumerate() {
            let mut bytes = Bytes::default();
            put_chunk(&mut bytes, &Chunk::floats(samples));
            assert!(bytes.len() as u64 <= SLOT, "a chunk of {} bytes", bytes.len());
            let (number, offset) = self.place(series, place);
            files[usize::try_from(number).expect("some segments")]
                .write_all_at(&bytes.0, offset)?;
        }
        Ok(())
    }

    fn index(self, path: &Path) -> io::Result<()> {
        let mut index = Index { to: BufWriter::new(File::create(path)?), at: 0 };
        index.put(b"\xba\xaa\xd7\x00\x02")?;
        let symbols = index.at;
        index.section(&self.symbols())?;
        let series = index.at.next_multiple_of(16);
        let ids = self.series_entries(&mut index)?;
        let postings = index.at;
        let offsets = self.postings(&mut index, &ids)?;
        let table = index.at;
        index.section(&self.table(&offsets))?;
        let mut toc = Bytes::default();
        for offset in [symbols, series, 0, 0, postings, table] {
            toc.u64(offset);
        }
        let checksum = crc32c(&toc.0);
        index.put(&toc.u32(checksum).0)?;
        index.to.flush()
    }

    /// `__name__`, the instances, `instance`, the metrics: in the order of their bytes.
    fn symbols(self) -> Bytes {
        let mut symbols = Bytes::default();
        symbols.u32(to_u32(self.metrics + self.instances + 2)).counted(b"__name__");
        for place in 0..self.instances {
            symbols.counted(instance(place).as_bytes());
        }
        symbols.counted(b"instance");
        for place in 0..self.metrics {
            symbols.counted(metric(place).as_bytes());
        }
        symbols
    }

    fn series_entries(self, index: &mut Index) -> io::Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(self.metrics * self.instances);
        for series in 0..self.metrics * self.instances {
            index.pad(16)?;
            ids.push(u32::try_from(index.at / 16).expect("an index of 64 GiB at most"));
            let body = self.series_entry(series);
            let mut entry = Bytes::default();
            entry.counted(&body.0).u32(crc32c(&body.0));
            index.put(&entry.0)?;
        }
        Ok(ids)
    }

    fn series_entry(self, series: usize) -> Bytes {
        let (metric, instance) = (series / self.instances, series % self.instances);
        let mut body = Bytes::default();
        body.uvarint(2).uvarint(0).uvarint((self.instances + 2 + metric) as u64);
        body.uvarint((self.instances + 1) as u64).uvarint(1 + instance as u64);
        body.uvarint(self.chunks as u64);
        let (mut before, mut end) = (0_i64, 0_i64);
        for chunk in 0..self.chunks {
            let ((min, max), (number, offset)) =
                (self.chunk_times(chunk), self.place(series, chunk));
            let reference = (number << 32 | offset).cast_signed();
            let length = (max - min).cast_unsigned();
            if chunk == 0 {
                body.varint(min).uvarint(length).uvarint(reference.cast_unsigned());
            } else {
                body.uvarint((min - end).cast_unsigned())
                    .uvarint(length)
                    .varint(reference - before);
            }
            (before, end) = (reference, max);
        }
        body
    }

    /// Where each list begins: all series, those of each instance, those of each metric.
    fn postings(self, index: &mut Index, ids: &[u32]) -> io::Result<Vec<u64>> {
        let mut offsets = vec![index.list(ids)?];
        for metric in ids.chunks(self.instances) {
            offsets.push(index.list(metric)?);
        }
        for instance in 0..self.instances {
            let of: Vec<_> = ids.iter().skip(instance).step_by(self.instances).copied().collect();
            offsets.push(index.list(&of)?);
        }
        Ok(offsets)
    }

    fn table(self, offsets: &[u64]) -> Bytes {
        let metrics = (0..self.metrics).map(|place| ("__name__", metric(place)));
        let instances = (0..self.instances).map(|place| ("instance", instance(place)));
        let names = std::iter::once(("", String::new())).chain(metrics).chain(instances);
        let mut table = Bytes::default();
        table.u32(to_u32(offsets.len()));
        for ((name, value), offset) in names.zip(offsets) {
            table.uvarint(2).counted(name.as_bytes()).counted(value.as_bytes()).uvarint(*offset);
        }
        table
    }
}

fn metric(place: usize) -> String {
    format!("metric_{place:04}")
}

fn instance(place: usize) -> String {
    format!("host-{place:05}")
}

/// An index that is being written.
struct Index {
    to: BufWriter<File>,
    at: u64,
}

impl Index {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.to.write_all(bytes)
    }

    fn pad(&mut self, align: u64) -> io::Result<()> {
        let missing = self.at.next_multiple_of(align) - self.at;
        self.put(&[0; 16][..usize::try_from(missing).unwrap_or(0)])
    }

    fn section(&mut self, content: &Bytes) -> io::Result<()> {
        let mut section = Bytes::default();
        section.section(&content.0);
        self.put(&section.0)
    }

    fn list(&mut self, ids: &[u32]) -> io::Result<u64> {
        self.pad(4)?;
        let start = self.at;
        let mut list = Bytes::default();
        list.u32(to_u32(ids.len()));
        for id in ids {
            list.u32(*id);
        }
        self.section(&list)?;
        Ok(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prometheus::Suite;

    #[test]
    fn promtool_finds_the_one_series_and_its_samples() {
        let tools = crate::require!(Suite::Sid.tools());
        let dir = tempfile::tempdir_in(crate::disk::disk_dir().unwrap()).unwrap();
        let block = SparseBlock { metrics: 30, instances: 50, chunks: 10 };
        block.write(&dir.path().join("01HF5GWQ00SPARSEBQ0CK00000")).unwrap();
        fs::create_dir(dir.path().join("wal")).unwrap();
        let [metric, instance] = block.series();
        let selector = format!("--match={metric}{{instance=\"{instance}\"}}");
        let mut promtool = std::process::Command::new(tools.promtool);
        promtool.args(["tsdb", "dump", &selector]).arg(dir.path());
        promtool.arg(format!("--sandbox-dir-root={}", dir.path().display()));
        let output = promtool.output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let labels = format!("{{__name__=\"{metric}\", instance=\"{instance}\"}}");
        let expected = block.samples().map(|(time, value)| format!("{labels} {value} {time}\n"));
        assert_eq!(lines, expected.collect::<String>());
    }
}
