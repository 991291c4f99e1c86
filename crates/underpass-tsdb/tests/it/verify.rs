//! A block in which one byte is flipped or a file is cut: every place is named.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use tempfile::TempDir;
use underpass_testkit::block::{Block as Made, File, Kind, Written};
use underpass_tsdb::verify::{self, Depth, Report};
use underpass_tsdb::{Backend, Block};

/// Bits that a byte is changed by: the lowest, the highest, all.
const FLIPS: &[u8] = &[0x01, 0x80, 0xff];

fn made(version: u8) -> (TempDir, Written) {
    let root = tempfile::tempdir().unwrap();
    let written = Made::small(version).write(root.path()).unwrap();
    (root, written)
}

fn look(written: &Written, depth: Depth, backend: Backend) -> Report {
    match Block::open(&written.dir, backend) {
        Ok(block) => verify::verify(&block, depth, &AtomicU64::new(0)),
        Err(damage) => Report::of_unopened(&written.dir, damage),
    }
}

/// What is said of a damage: file and section of each finding.
fn places(report: &Report) -> BTreeSet<(String, &'static str)> {
    let place = |finding: &verify::Finding| {
        let damage = &finding.damage;
        let name = damage.file.file_name().unwrap().to_string_lossy().into_owned();
        (name, damage.section.name())
    };
    report.findings.iter().map(place).collect()
}

/// The name of the section a byte is in, in the words of Prometheus' format documents.
fn section(kind: Kind) -> &'static str {
    match kind {
        Kind::Header | Kind::SegmentHeader => "header",
        Kind::Symbols => "symbol table",
        Kind::SeriesPadding | Kind::Series(_) => "series",
        Kind::LabelIndices => "label indices",
        Kind::PostingsPadding | Kind::Postings => "postings",
        Kind::LabelOffsetTable => "label offset table",
        Kind::PostingsTable => "postings offset table",
        Kind::Toc => "TOC",
        Kind::Chunk { .. } => "chunk",
        Kind::TombstonesHeader | Kind::Tombstones => "tombstones",
        Kind::Meta => "meta.json",
    }
}

#[test]
fn an_untouched_block_is_sound_by_both_backends_and_in_every_version() {
    for version in 1..=3 {
        let (_root, written) = made(version);
        for depth in [Depth::Checksums, Depth::Samples] {
            for backend in [Backend::Map, Backend::Pread] {
                let report = look(&written, depth, backend);
                assert_eq!(report.findings, [], "version {version} {depth:?} {backend:?}");
                assert_eq!(report.notes, [] as [String; 0]);
                assert_eq!((report.series, report.chunks, report.samples), (6, 8, 19));
                let bytes: usize = written.files.iter().map(|file| file.bytes.len()).sum();
                assert_eq!(report.bytes, bytes as u64, "every byte is read once");
            }
        }
    }
}

fn flip_each(
    written: &Written,
    file: &File,
    flips: &[u8],
    mut each: impl FnMut(usize, u8, &Report),
) {
    for offset in 0..file.bytes.len() {
        for &flip in flips {
            let mut bytes = file.bytes.0.clone();
            bytes[offset] ^= flip;
            written.put(&file.name, &bytes).unwrap();
            each(offset, flip, &look(written, Depth::Checksums, Backend::Pread));
        }
    }
    written.mend(&file.name).unwrap();
}

#[test]
fn every_flipped_byte_of_index_chunks_and_tombstones_is_named() {
    for (version, flips) in [(1, &FLIPS[..1]), (2, FLIPS), (3, &FLIPS[2..])] {
        let (_root, written) = made(version);
        for file in written.files.iter().filter(|file| file.name != "meta.json") {
            let name = file.name.rsplit('/').next().unwrap();
            flip_each(&written, file, flips, |offset, flip, report| {
                let kind = file.kind_at(offset);
                // Versions 2 and 3 differ in this byte alone: nothing could tell.
                if (version, offset, flip, kind) == (2, 4, 1, Kind::Header) {
                    return;
                }
                let is_named = places(report).contains(&(name.to_owned(), section(kind)));
                assert!(is_named, "v{version} byte {offset} ^ {flip}: {kind:?}: {report:#?}");
            });
        }
    }
}

#[test]
fn every_cut_of_every_file_is_named() {
    let (_root, written) = made(2);
    for file in &written.files {
        let name = file.name.rsplit('/').next().unwrap();
        for len in 0..file.bytes.len() {
            written.put(&file.name, &file.bytes.0[..len]).unwrap();
            let report = look(&written, Depth::Checksums, Backend::Map);
            let named: BTreeSet<_> = places(&report).into_iter().map(|(name, _)| name).collect();
            assert!(named.contains(name), "{name} cut to {len}: {report:#?}");
        }
        written.mend(&file.name).unwrap();
    }
}

/// Labels in the order of their names.
fn text(labels: &[(Vec<u8>, Vec<u8>)]) -> String {
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        // The only bytes of the block that are not UTF-8.
        let value = value.replace("\u{fffd}\u{fffd}", "\\xff\\xfe");
        format!("{name}=\"{value}\"")
    };
    format!("{{{}}}", labels.iter().map(pair).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_flipped_byte_of_a_chunk_loses_that_chunk_alone() {
    let (_root, written) = made(2);
    let made = Made::small(2);
    for file in written.files.iter().filter(|file| file.name.starts_with("chunks/")) {
        flip_each(&written, file, &FLIPS[..1], |offset, _, report| {
            let Kind::Chunk { series, chunk } = file.kind_at(offset) else { return };
            let [finding] = &*report.findings else { panic!("byte {offset}: {report:#?}") };
            let series = &made.series[series];
            let times = (series.chunks[chunk].min_time, series.chunks[chunk].max_time);
            let lost = &finding.lost;
            assert_eq!((lost.chunks, lost.times), (1, Some(times)), "byte {offset}: {finding}");
            assert_eq!(lost.labels, [text(&series.labels)], "byte {offset}: {finding}");
        });
    }
}

#[test]
fn a_flipped_byte_of_a_series_is_told_with_the_labels_that_the_postings_know() {
    let (_root, written) = made(2);
    let (made, file) = (Made::small(2), written.file("index"));
    flip_each(&written, file, &FLIPS[..1], |offset, _, report| {
        let Kind::Series(series) = file.kind_at(offset) else { return };
        let in_index = report.findings.iter().filter(|finding| {
            finding.damage.file.ends_with("index") || finding.damage.file.ends_with("tombstones")
        });
        let in_index: Vec<_> = in_index.collect();
        let [finding] = &*in_index else { panic!("byte {offset}: {report:#?}") };
        assert_eq!(finding.lost.labels, [text(&made.series[series].labels)], "{finding}");
    });
}

#[test]
fn parts_that_contradict_one_another_are_told_though_every_checksum_is_right() {
    let (one, other) = (Made::small(2), Made::small(2));
    let mut other = other;
    // The same sizes, so that a file of one fits the other.
    other.series[4].labels[1].1 = b"c:9100".to_vec();
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (one.write(root.path()).unwrap(), other.write(elsewhere.path()).unwrap());
    let (index, strange) = (one.file("index"), other.file("index"));
    let range_of =
        |file: &File, kind| file.parts.iter().find(|part| part.kind == kind).unwrap().range.clone();
    let mut bytes = index.bytes.0.clone();
    let symbols = range_of(index, Kind::Symbols);
    bytes[symbols].copy_from_slice(&strange.bytes.0[range_of(strange, Kind::Symbols)]);
    one.put("index", &bytes).unwrap();
    let report = look(&one, Depth::Checksums, Backend::Map);
    let faults: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert!(faults.iter().any(|fault| fault.contains("instance=\"b:9100\"")), "{faults:#?}");
    assert!(faults.iter().all(|fault| fault.contains("postings")), "{faults:#?}");
}

#[test]
fn what_meta_json_says_is_held_against_the_block() {
    let (_root, written) = made(2);
    let text = String::from_utf8(written.file("meta.json").bytes.0.clone()).unwrap();
    for (from, to, told) in [
        ("\"numSamples\": 19", "\"numSamples\": 18", "numSamples"),
        ("\"numSeries\": 6", "\"numSeries\": 7", "numSeries"),
        ("\"numChunks\": 8", "\"numChunks\": 80", "numChunks"),
        ("\"minTime\": 1700000000000", "\"minTime\": 1700000000001", "minTime"),
        ("\"maxTime\": 1700000105003", "\"maxTime\": 1700000105002", "maxTime"),
        ("\"version\": 1", "\"version\": 2", "version"),
        ("\"ulid\": \"01HF7MQX0000000000000000AB\"", "\"ulid\": \"01HF\"", "ulid"),
    ] {
        assert!(text.contains(from), "{from}");
        written.put("meta.json", text.replace(from, to).as_bytes()).unwrap();
        let report = look(&written, Depth::Checksums, Backend::Map);
        let [finding] = &*report.findings else { panic!("{to}: {report:#?}") };
        assert!(finding.to_string().contains(told), "{to}: {finding}");
    }
    written.mend("meta.json").unwrap();
}

#[test]
fn samples_that_are_not_as_the_index_says_are_found_when_they_are_decoded() {
    let mut block = Made::small(2);
    block.series[0].chunks[0].max_time += 1;
    let root = tempfile::tempdir().unwrap();
    let written = block.write(root.path()).unwrap();
    assert!(look(&written, Depth::Checksums, Backend::Map).is_sound());
    let report = look(&written, Depth::Samples, Backend::Map);
    let [finding] = &*report.findings else { panic!("{report:#?}") };
    assert_eq!(finding.lost.labels, [text(&block.series[0].labels)]);
    assert!(finding.to_string().contains("and the index says from"), "{finding}");
}

#[test]
fn a_chunk_that_does_not_hold_what_it_counts_is_found_when_it_is_decoded() {
    let mut block = Made::small(2);
    // The lower byte of the count of samples.
    block.series[1].chunks[0].data[1] += 100;
    let root = tempfile::tempdir().unwrap();
    let written = block.write(root.path()).unwrap();
    let report = look(&written, Depth::Samples, Backend::Map);
    let lost: Vec<_> = report.findings.iter().flat_map(|finding| &finding.lost.labels).collect();
    assert_eq!(lost, [&text(&block.series[1].labels)]);
}

#[test]
fn a_segment_that_was_cut_is_one_finding_with_all_that_is_lost() {
    let (_root, written) = made(2);
    let file = written.file("chunks/000001");
    let third = &file.parts[3].range;
    written.put("chunks/000001", &file.bytes.0[..third.start]).unwrap();
    let report = look(&written, Depth::Checksums, Backend::Map);
    let [finding] = &*report.findings else { panic!("{report:#?}") };
    assert_eq!(finding.damage.offset, third.start as u64);
    // Chunks 3 to 5 of the segment are of series 2 and 3 of the block.
    assert_eq!((finding.lost.chunks, finding.lost.series), (3, 2));
    std::fs::remove_file(written.dir.join("chunks/000001")).unwrap();
    let report = look(&written, Depth::Checksums, Backend::Map);
    let [finding] = &*report.findings else { panic!("{report:#?}") };
    assert_eq!((finding.lost.chunks, finding.lost.series), (5, 4));
}

#[test]
fn zeros_of_a_segment_that_was_not_closed_are_noted() {
    let (_root, written) = made(2);
    let mut bytes = written.file("chunks/000002").bytes.0.clone();
    for zeros in [1, 2, 300_000] {
        bytes.truncate(written.file("chunks/000002").bytes.len());
        bytes.resize(bytes.len() + zeros, 0);
        written.put("chunks/000002", &bytes).unwrap();
        let report = look(&written, Depth::Checksums, Backend::Map);
        assert_eq!(report.findings, []);
        assert!(report.notes[0].contains(&format!("{zeros} bytes of zeros")), "{report:#?}");
    }
    *bytes.last_mut().unwrap() = 7;
    written.put("chunks/000002", &bytes).unwrap();
    let report = look(&written, Depth::Checksums, Backend::Map);
    let [finding] = &*report.findings else { panic!("{report:#?}") };
    assert!(finding.to_string().contains("do not make a chunk"), "{finding}");
}
