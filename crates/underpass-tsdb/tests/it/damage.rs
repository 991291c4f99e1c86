//! Reading a block in which one byte is flipped or a file is cut: every sample that is not in the
//! damaged part is there, and nothing that was not in the block.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use tempfile::TempDir;
use underpass_testkit::block::{self, Block as Made, Chunk, Kind, Series, Written};
use underpass_tsdb::query::Selection;
use underpass_tsdb::verify::{self, Depth};
use underpass_tsdb::{Backend, Block, Fault, Samples, Selector, TimeRange, Window};

/// By labels, the times and bits of samples; of a histogram those of its sum.
type Found = BTreeMap<String, Vec<(i64, u64)>>;

/// A series and the samples of each of its chunks.
type Whole = (String, Vec<Vec<(i64, u64)>>);

/// Nothing, which needs no postings, and selectors that find every series by its postings.
const QUESTIONS: [&[&str]; 2] = [&[], &[r#"{job!=""}"#, r#"{word=~".+"}"#]];

fn made(version: u8) -> (TempDir, Written) {
    let root = tempfile::tempdir().unwrap();
    let written = Made::small(version).write(root.path()).unwrap();
    (root, written)
}

/// The samples that are found, and what is said about damage.
fn read(written: &Written, backend: Backend, question: &[&str]) -> (Found, Vec<String>) {
    let blocks = [Block::open(&written.dir, backend).unwrap()];
    let mut said: Vec<_> = blocks[0].damages().iter().map(ToString::to_string).collect();
    let selectors: Vec<Selector> = question.iter().map(|text| text.parse().unwrap()).collect();
    let selection = Selection::new(&blocks, selectors, TimeRange::ALL);
    let (mut merged, mut reader) = (selection.series(), selection.reader());
    let mut found = Found::new();
    for series in merged.by_ref() {
        let mut samples = Samples::default();
        reader.read(&series).read_all(&mut samples);
        let floats = samples.floats.iter().map(|sample| (sample.time, sample.value.to_bits()));
        let histograms =
            samples.histograms.iter().map(|sample| (sample.time, sample.histogram.sum.to_bits()));
        found.entry(series.labels.to_string()).or_default().extend(floats.chain(histograms));
    }
    found.retain(|_, samples| !samples.is_empty());
    said.extend(merged.take_losses().iter().map(ToString::to_string));
    said.extend(reader.take_losses().iter().map(ToString::to_string));
    (found, said)
}

/// The samples of the whole block, by series and chunk.
fn whole(written: &Written) -> Vec<Whole> {
    let (all, said) = read(written, Backend::Map, QUESTIONS[0]);
    assert_eq!(said, [] as [String; 0]);
    let made = Made::small(2);
    assert_eq!(all.values().map(Vec::len).sum::<usize>(), 19);
    let of_chunks = |(series, (labels, samples)): (usize, (String, Vec<(i64, u64)>))| {
        let chunks = made.series[series].chunks.iter();
        let within = chunks.map(|chunk| {
            let times = chunk.min_time..=chunk.max_time;
            samples.iter().copied().filter(|(time, _)| times.contains(time)).collect()
        });
        (labels, within.collect())
    };
    // Both are in the order of the labels.
    all.into_iter().enumerate().map(of_chunks).collect()
}

/// What is left without the chunks that `is_lost` names, by series and chunk.
fn without(whole: &[Whole], is_lost: impl Fn(usize, usize) -> bool) -> Found {
    let mut left = Found::new();
    for (series, (labels, chunks)) in whole.iter().enumerate() {
        let there = chunks.iter().enumerate().filter(|(chunk, _)| !is_lost(series, *chunk));
        for (_, samples) in there {
            left.entry(labels.clone()).or_default().extend(samples.iter().copied());
        }
    }
    left
}

#[test]
fn a_flipped_byte_costs_the_samples_it_is_part_of_and_no_others() {
    for (version, flips) in [(1, &[0x01_u8][..]), (2, &[0x01, 0x80, 0xff]), (3, &[0x10])] {
        let (_root, written) = made(version);
        let whole = whole(&written);
        for file in &written.files {
            for (offset, flip) in
                (0..file.bytes.len()).flat_map(|at| flips.iter().map(move |f| (at, *f)))
            {
                let kind = file.kind_at(offset);
                // Without its version, an index of version 1 is read as one of version 2.
                if (version, kind, offset) == (1, Kind::Header, 4) {
                    continue;
                }
                let mut bytes = file.bytes.0.clone();
                bytes[offset] ^= flip;
                written.put(&file.name, &bytes).unwrap();
                let wanted = without(&whole, |series, chunk| {
                    kind == Kind::Chunk { series, chunk } || kind == Kind::Series(series)
                });
                let backend = if offset % 2 == 0 { Backend::Map } else { Backend::Pread };
                let question = QUESTIONS[(offset / 2 + usize::from(flip)) % 2];
                let (found, said) = read(&written, backend, question);
                let place = format!("v{version} {} byte {offset} ^ {flip:#x} {kind:?}", file.name);
                assert!(found == wanted, "{place} {question:?}: {found:#?} {said:#?}");
                let is_met = matches!(kind, Kind::Chunk { .. } | Kind::Series(_) | Kind::Symbols);
                assert!(!is_met || !said.is_empty(), "{place}: nothing was said");
            }
            written.mend(&file.name).unwrap();
        }
    }
}

#[test]
fn a_cut_file_costs_the_samples_behind_the_cut_and_no_others() {
    for version in [1, 2] {
        let (_root, written) = made(version);
        let whole = whole(&written);
        for file in &written.files {
            for len in 0..file.bytes.len() {
                written.put(&file.name, &file.bytes.0[..len]).unwrap();
                let is_cut = |kind: Kind| {
                    file.parts.iter().any(|part| part.kind == kind && part.range.end > len)
                };
                let wanted = without(&whole, |series, chunk| {
                    is_cut(Kind::Symbols)
                        || is_cut(Kind::Series(series))
                        || is_cut(Kind::Chunk { series, chunk })
                        // Nothing says which version it is.
                        || (version == 1 && file.name == "index" && len < 5)
                });
                let question = QUESTIONS[len % 2];
                let (found, said) = read(&written, Backend::Map, question);
                let place = format!("v{version} {} cut to {len}", file.name);
                assert!(found == wanted, "{place} {question:?}: {found:#?} {said:#?}");
                assert!(!said.is_empty(), "{place}: nothing was said");
            }
            written.mend(&file.name).unwrap();
        }
    }
}

/// Many samples of one series in chunks of a few kilobytes, so that files have several pages.
fn large() -> (TempDir, Written) {
    let value = |n: i64| {
        f64::from_bits(0x3ff0_0000_0000_0000 | n.cast_unsigned().wrapping_mul(0x9e37_79b9))
    };
    let chunk = |start: i64| {
        let samples: Vec<_> = (0..200).map(|n| (start + n, value(start + n))).collect();
        Chunk::floats(&samples)
    };
    let chunks = (0..40).map(|place| chunk(block::START + place * 1000)).collect();
    let series = vec![Series::new(&[("__name__", "large")], chunks)];
    let root = tempfile::tempdir().unwrap();
    let written = Made::new(2, series).write(root.path()).unwrap();
    (root, written)
}

#[test]
fn a_segment_that_is_cut_while_it_is_read_is_an_error_at_the_cut() {
    let (_root, written) = large();
    let file = written.file("chunks/000001");
    for backend in [Backend::Map, Backend::Pread] {
        for cut in [0, 1, 4096, 10_000, 20_480, file.bytes.len() - 1] {
            let blocks = [Block::open(&written.dir, backend).unwrap()];
            // It is open, and mapped, when it is cut.
            assert_eq!(blocks[0].segment(0).unwrap().len(), file.bytes.len() as u64);
            let path = written.dir.join("chunks/000001");
            let segment = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            segment.set_len(cut as u64).unwrap();
            let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
            let (mut merged, mut reader) = (selection.series(), selection.reader());
            let mut samples = Samples::default();
            let series = merged.next().unwrap();
            reader.read(&series).read_all(&mut samples);
            let whole = file.parts.iter().filter(|part| part.range.end <= cut);
            let chunks = whole.filter(|part| matches!(part.kind, Kind::Chunk { .. })).count();
            assert_eq!(samples.floats.len(), 200 * chunks, "{backend:?} cut to {cut}");
            let losses = reader.take_losses();
            let lost = losses.iter().find(|loss| loss.damage.fault == Fault::Lost);
            assert!(lost.is_some(), "{backend:?} cut to {cut}: {losses:?}");
            let report = verify::verify(&blocks[0], Depth::Checksums, &AtomicU64::new(0));
            let found = report.findings.iter().any(|finding| {
                finding.damage.fault == Fault::Lost && finding.damage.file.ends_with("000001")
            });
            assert!(found, "{backend:?} cut to {cut}: {:#?}", report.findings.first());
            written.mend("chunks/000001").unwrap();
        }
    }
}

#[test]
fn a_length_that_no_chunk_has_is_not_read() {
    let (_root, written) = made(2);
    let mut bytes = written.file("chunks/000001").bytes.0.clone();
    // 33,554,431 bytes, which the file has.
    bytes[8..12].copy_from_slice(&[0xff, 0xff, 0xff, 0x0f]);
    bytes.resize(40 << 20, 0);
    written.put("chunks/000001", &bytes).unwrap();
    let block = Block::open(&written.dir, Backend::Map).unwrap();
    let damage = block.chunk(8, &mut Window::exact()).unwrap_err();
    assert!(matches!(damage.fault, Fault::Short { wanted: 33_554_440, .. }), "{damage}");
}
