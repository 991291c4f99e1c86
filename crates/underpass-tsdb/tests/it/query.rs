//! Which series a selection finds in a block, and their samples.

use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use underpass_testkit::block::{self, Chunk, START};
use underpass_testkit::prometheus::Fixture;
use underpass_testkit::require;
use underpass_tsdb::names::Names;
use underpass_tsdb::query::Selection;
use underpass_tsdb::sample::Reset;
use underpass_tsdb::{Backend, Block, HistogramSample, Samples, Selector, Series, TimeRange};

const A: &str = r#"{__name__="up", instance="a:9100", job="node"}"#;
const B: &str = r#"{__name__="up", instance="b:9100", job="node"}"#;
const P: &str = r#"{__name__="up", instance="a:9090", job="prometheus"}"#;
const HISTOGRAM: &str = r#"{__name__="latency_seconds", job="node"}"#;
const UNNAMED: &str = r#"{job="without a name"}"#;

const ODD: &str = r#"{__name__="odd_total", quote="a\"b\\c\nd", utf8="größe", word="x\xff\xfe"}"#;

fn small(version: u8) -> (TempDir, [Block; 1]) {
    let dir = TempDir::new().unwrap();
    let written = block::Block::small(version).write(dir.path()).unwrap();
    (dir, [open(&written.dir)])
}

fn open(dir: &Path) -> Block {
    Block::open(dir, Backend::Map).unwrap()
}

fn selectors(texts: &[&str]) -> Vec<Selector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The labels of what selectors select, in their order.
fn found(blocks: &[Block], texts: &[&str], range: TimeRange) -> Vec<String> {
    let selection = Selection::new(blocks, selectors(texts), range);
    let mut merged = selection.series();
    let found = merged.by_ref().map(|series| series.labels.to_string()).collect();
    assert_eq!(merged.take_losses(), [], "{texts:?}");
    found
}

#[test]
fn series_are_found_by_their_labels_in_every_version_of_the_index() {
    for version in [1, 2, 3] {
        let (_dir, blocks) = small(version);
        for (texts, labels) in [
            (&["{}"][..], vec![HISTOGRAM, ODD, P, A, B, UNNAMED]),
            (&[], vec![HISTOGRAM, ODD, P, A, B, UNNAMED]),
            (&["up"], vec![P, A, B]),
            (&["up{job=\"node\"}"], vec![A, B]),
            (&["{job=\"node\"}"], vec![HISTOGRAM, A, B]),
            (&["{job!=\"node\"}"], vec![ODD, P, UNNAMED]),
            (&["up{instance!=\"a:9100\"}"], vec![P, B]),
            (&["up{instance!~\"a:9100|b:9100\"}"], vec![P]),
            (&["up{instance=~\"a:.*\"}"], vec![P, A]),
            (&["up{instance=~\"a:.*\",instance!~\".*:9090\"}"], vec![A]),
            (&["{instance=~\"a:9100|b:9100\"}"], vec![A, B]),
            (&["{instance=\"\"}"], vec![HISTOGRAM, ODD, UNNAMED]),
            (&["{instance!=\"\"}"], vec![P, A, B]),
            (&["{instance=~\"|a:9100\"}"], vec![HISTOGRAM, ODD, A, UNNAMED]),
            (&["{__name__=~\".+\"}"], vec![HISTOGRAM, ODD, P, A, B]),
            (&["{__name__=\"\"}"], vec![UNNAMED]),
            (&["{__name__!~\".*\"}"], vec![]),
            (&["{__name__=~\".*\"}"], vec![HISTOGRAM, ODD, P, A, B, UNNAMED]),
            (&["down"], vec![]),
            (&["up{job=\"mode\"}"], vec![]),
            (&["up{none=~\"x|y\"}"], vec![]),
            (&["up{none=~\"x.*\"}"], vec![]),
            (&["up{none!=\"x\"}"], vec![P, A, B]),
            (&[r#"{word="x\xff\xfe"}"#], vec![ODD]),
            (&[r#"{quote="a\"b\\c\nd"}"#], vec![ODD]),
            (&["up{job=\"node\"}", "up{instance=\"a:9090\"}"], vec![P, A, B]),
            (&["up", "up{job=\"node\"}", "{job=\"node\"}"], vec![HISTOGRAM, P, A, B]),
            (&["down", "{utf8=\"größe\"}"], vec![ODD]),
        ] {
            assert_eq!(found(&blocks, texts, TimeRange::ALL), labels, "{version}: {texts:?}");
        }
    }
}

/// Each series begins a millisecond after the one before; `up` of `a:9100` and `a:9090` have a
/// second chunk.
#[test]
fn series_without_samples_in_the_range_are_left_out() {
    let (_dir, blocks) = small(2);
    for (min, max, labels) in [
        (0, 0, vec![A]),
        (30_000, 30_000, vec![ODD, A, B, UNNAMED]),
        (30_001, 30_001, vec![ODD, B, UNNAMED]),
        (30_006, 59_999, vec![ODD]),
        (60_000, 60_000, vec![ODD, A]),
        (90_003, 90_003, vec![P]),
        (-9, -1, vec![]),
    ] {
        let range = TimeRange { min: START + min, max: START + max };
        assert_eq!(found(&blocks, &[], range), labels, "{min} to {max}");
    }
}

/// Times since the start, and values.
fn samples_of(blocks: &[Block], text: &str, range: TimeRange) -> Vec<(i64, f64)> {
    let selection = Selection::new(blocks, selectors(&[text]), range);
    let mut reader = selection.reader();
    let all: Vec<Series> = selection.series().collect();
    let [series] = all.as_slice() else { panic!("{text}: {all:?}") };
    let mut samples = Samples::default();
    reader.read(series).read_all(&mut samples);
    assert_eq!(reader.take_losses(), []);
    samples.floats.iter().map(|float| (float.time - START, float.value)).collect()
}

/// The sample that would be at 3 ms was deleted.
#[test]
fn samples_are_those_in_the_range_that_were_not_deleted() {
    let (_dir, blocks) = small(2);
    let range = |min, max| TimeRange { min: START + min, max: START + max };
    let a = "{instance=\"a:9100\"}";
    let all = [(0, 1.0), (15_000, 1.0), (30_000, 0.0), (60_000, 1.0)];
    assert_eq!(samples_of(&blocks, a, TimeRange::ALL), all);
    assert_eq!(samples_of(&blocks, a, range(1, 30_000)), all[1..3]);
    assert_eq!(samples_of(&blocks, a, range(15_000, 59_999)), all[1..3]);
    assert_eq!(samples_of(&blocks, a, range(30_001, 60_000)), all[3..]);
}

fn names(blocks: &[Block], wanted: Names<'_>, texts: &[&str], range: TimeRange) -> Vec<String> {
    let selection = Selection::new(blocks, selectors(texts), range);
    let mut found = Vec::new();
    let losses = wanted.each(&selection, &mut |name| {
        found.push(name.escape_ascii().to_string());
        ControlFlow::Continue(())
    });
    assert_eq!(losses, [], "{wanted:?} {texts:?}");
    found
}

#[test]
fn names_of_several_blocks_are_sorted_and_each_is_there_once() {
    let labels = ["__name__", "instance", "job", "quote", "utf8", "word", "zone"];
    for version in [1, 2, 3] {
        let (dir, small) = small(version);
        let chunk = Chunk::floats(&[(START + 1_000_000, 1.0)]);
        let zones = ["a", "z", "é"].map(|zone| {
            block::Series::new(
                &[("__name__", "up"), ("job", "node"), ("zone", zone)],
                vec![chunk.clone()],
            )
        });
        let other = block::Block { ulid: "OTHER".into(), ..block::Block::new(2, zones.to_vec()) };
        let written = other.write(dir.path()).unwrap();
        let [small] = small;
        let blocks = [small, open(&written.dir)];
        let all = |wanted| names(&blocks, wanted, &[], TimeRange::ALL);
        assert_eq!(all(Names::Labels), labels, "{version}");
        assert_eq!(all(Names::Values(b"job")), ["node", "prometheus", "without a name"]);
        assert_eq!(all(Names::Values(b"zone")), ["a", "z", r"\xc3\xa9"]);
        assert_eq!(all(Names::Values(b"zon")), [""; 0]);
        let of = |wanted, texts| names(&blocks, wanted, texts, TimeRange::ALL);
        assert_eq!(of(Names::Values(b"job"), &["{instance=~\".+\"}"]), ["node", "prometheus"]);
        assert_eq!(of(Names::Labels, &["up{zone=\"z\"}"]), ["__name__", "job", "zone"]);
        let late = TimeRange { min: START + 500_000, max: i64::MAX };
        assert_eq!(names(&blocks, Names::Values(b"__name__"), &[], late), ["up"]);
    }
}

fn histogram(time: i64) -> Chunk {
    Chunk::histogram(START + time, 1.0, &[1])
}

/// Blocks of one series with these chunks each.
fn blocks_of(dir: &Path, chunks: &[&[Chunk]]) -> Vec<Block> {
    let block = |(number, chunks): (usize, &&[Chunk])| {
        let series = vec![block::Series::new(&[("__name__", "m")], chunks.to_vec())];
        let block = block::Block { ulid: format!("B{number}"), ..block::Block::new(2, series) };
        open(&block.write(dir).unwrap().dir)
    };
    chunks.iter().enumerate().map(block).collect()
}

fn histograms_of(blocks: &[Block]) -> Vec<HistogramSample> {
    let selection = Selection::new(blocks, Vec::new(), TimeRange::ALL);
    let (mut reader, mut samples) = (selection.reader(), Samples::default());
    selection.series().for_each(|series| reader.read(&series).read_all(&mut samples));
    samples.histograms
}

/// Of two samples with one time the second block's is taken, so each is behind one of the other.
#[test]
fn nothing_is_known_of_resets_behind_a_sample_of_another_block() {
    let data = require!(Fixture::Histograms.data());
    let once = crate::promtool::open(&data, Backend::Map);
    let expected = histograms_of(&once);
    let twice: Vec<_> = once.iter().chain(&once).map(|block| open(block.dir())).collect();
    let found = histograms_of(&twice);
    assert_eq!(found.len(), expected.len());
    let (mut gauges, mut counters) = (0, 0);
    for (merged, one) in found.iter().zip(&expected) {
        let reset = merged.histogram.reset;
        match one.histogram.reset {
            Reset::Gauge => gauges += usize::from(reset == Reset::Gauge),
            Reset::NoReset => counters += usize::from(reset == Reset::Unknown),
            Reset::Unknown | Reset::Reset => assert_eq!(reset, Reset::Unknown),
        }
    }
    let count = |reset| expected.iter().filter(|one| one.histogram.reset == reset).count();
    assert_eq!((gauges, counters), (count(Reset::Gauge), count(Reset::NoReset)));
    assert!(gauges > 0 && counters > 0, "{gauges} and {counters}");
}

/// Of a float and a histogram with one time one is taken, as of two floats.
#[test]
fn floats_and_histograms_of_overlapping_blocks_are_merged() {
    let dir = TempDir::new().unwrap();
    let floats = Chunk::floats(&[(START, 1.0), (START + 5, 2.0), (START + 9, 3.0)]);
    let blocks = blocks_of(dir.path(), &[&[floats], &[histogram(5)], &[histogram(7)]]);
    let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
    let (mut reader, mut samples) = (selection.reader(), Samples::default());
    let series = selection.series().next().unwrap();
    reader.read(&series).read_all(&mut samples);
    let floats: Vec<_> = samples.floats.iter().map(|one| one.time - START).collect();
    let histograms: Vec<_> = samples.histograms.iter().map(|one| one.time - START).collect();
    assert_eq!((floats, histograms), (vec![0, 9], vec![5, 7]));
}
