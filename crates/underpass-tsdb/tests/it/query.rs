//! Which series a selection finds in a block, and their samples.

use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use underpass_testkit::block::{self, Chunk, START};
use underpass_tsdb::names::Names;
use underpass_tsdb::query::Selection;
use underpass_tsdb::{Backend, Block, Samples, Selector, Series, TimeRange};

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
