//! Figures of blocks: of blocks written by hand every one, of real blocks those of promtool.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use underpass_testkit::block::{self, Chunk, Kind, START, Series, Written};
use underpass_testkit::prometheus::{Fixture, Suite, Tools};
use underpass_testkit::require;
use underpass_tsdb::analyze::difference::Turnover;
use underpass_tsdb::analyze::{Damages, Depth, Part, Report, analyze, difference};
use underpass_tsdb::{Backend, Block, Section};

fn small(version: u8) -> (TempDir, Written) {
    let dir = TempDir::new().unwrap();
    let written = block::Block::small(version).write(dir.path()).unwrap();
    (dir, written)
}

fn open(dir: &Path) -> Block {
    Block::open(dir, Backend::Map).unwrap()
}

fn part(block: &Block, selectors: &[&str]) -> Part {
    let parsed = |text: &&str| ((*text).to_owned(), text.parse().unwrap());
    let (part, damages) = Part::of(block, &selectors.iter().map(parsed).collect::<Vec<_>>());
    assert_eq!(damages, Damages::default());
    part
}

fn report(dir: &Path, depth: Depth) -> Report {
    let (report, damages) = analyze(&open(dir), &Part::default(), depth, 0);
    assert_eq!(damages, Damages::default());
    report
}

/// Bytes of the parts of a block's files that satisfy `is_wanted`.
fn bytes(written: &Written, is_wanted: impl Fn(Kind) -> bool) -> u64 {
    let parts = written.files.iter().flat_map(|file| &file.parts);
    parts.filter(|part| is_wanted(part.kind)).map(|part| part.range.len() as u64).sum()
}

#[test]
fn totals_are_those_a_block_was_written_with() {
    for version in 1..=3 {
        let (_dir, written) = small(version);
        for depth in [Depth::Series, Depth::Chunks] {
            let report = report(&written.dir, depth);
            let total = report.total;
            assert_eq!((total.series, total.chunks), (6, 8), "version {version}, {depth:?}");
            let chunk_bytes = bytes(&written, |kind| matches!(kind, Kind::Chunk { .. }));
            assert_eq!(total.chunk_bytes, chunk_bytes, "version {version}, {depth:?}");
            let entries = bytes(&written, |kind| {
                matches!(kind, Kind::Series(_)) || version > 1 && kind == Kind::SeriesPadding
            });
            // The padding before the first entry and behind the last belongs to no series.
            let index_bytes = total.index_bytes - 4 * (16 + 6);
            assert!(index_bytes.abs_diff(entries) < 16, "{index_bytes} {entries}");
            assert_eq!((report.label_names, report.label_pairs, report.label_entries), (6, 12, 16));
            assert_eq!(report.chunks_unmeasured, 0);
        }
    }
}

#[test]
fn chunks_are_read_for_their_samples_and_encodings() {
    let (_dir, written) = small(2);
    let report = report(&written.dir, Depth::Chunks);
    assert_eq!((report.total.samples, report.samples), (19, Some(19)));
    let fill = report.fill.unwrap();
    assert_eq!(fill.chunks_by_samples[0], 8);
    let encodings: Vec<_> = fill.encodings.iter().map(|(byte, it)| (*byte, it.chunks)).collect();
    assert_eq!(encodings, [(1, 7), (2, 1)]);
    let up = &report.top.metrics_by_series[0];
    assert_eq!((up.name.as_deref(), up.load.series, up.load.samples), (Some("up"), 3, 10));
    assert!(report.top.metrics_by_series.iter().any(|metric| metric.name.is_none()));
}

#[test]
fn each_series_has_the_bytes_of_its_chunks() {
    let (_dir, written) = small(3);
    for depth in [Depth::Series, Depth::Chunks] {
        let report = report(&written.dir, depth);
        let of = |start: &str| {
            let its = report.top.series_by_bytes.iter().find(|it| it.labels.starts_with(start));
            its.unwrap().load.chunk_bytes
        };
        // The order of labels: latency_seconds, odd_total, the three of up, the one without.
        for (place, start) in [
            (0, "{__name__=\"latency_seconds\""),
            (1, "{__name__=\"odd_total\""),
            (2, "{__name__=\"up\", instance=\"a:9090\""),
            (3, "{__name__=\"up\", instance=\"a:9100\""),
            (4, "{__name__=\"up\", instance=\"b:9100\""),
            (5, "{job=\"without a name\"}"),
        ] {
            let chunk = |kind| matches!(kind, Kind::Chunk { series, .. } if series == place);
            assert_eq!(of(start), bytes(&written, chunk), "{start}, {depth:?}");
        }
    }
}

#[test]
fn postings_alone_tell_the_same_cardinality() {
    for version in 1..=3 {
        let (_dir, written) = small(version);
        let (quick, slow) =
            (report(&written.dir, Depth::Postings), report(&written.dir, Depth::Series));
        assert_eq!(quick.total.series, 6);
        let counts = |of: &Report| (of.label_names, of.label_pairs, of.label_entries);
        assert_eq!(counts(&quick), counts(&slow));
        let pairs = |of: &Report| -> BTreeSet<(String, String, u64)> {
            let pairs = of.top.label_pairs_by_series.iter();
            pairs.map(|it| (it.name.clone(), it.value.clone(), it.series)).collect()
        };
        assert_eq!(pairs(&quick), pairs(&slow), "version {version}");
        let names = |of: &Report| -> Vec<(String, u64, u64, u64)> {
            let names = of.top.label_names_by_values.iter();
            names.map(|it| (it.name.clone(), it.values, it.value_bytes, it.series)).collect()
        };
        assert_eq!(names(&quick), names(&slow), "version {version}");
        assert_eq!(names(&quick)[0], ("__name__".into(), 3, 26, 5));
    }
}

#[test]
fn a_part_of_a_block_has_its_own_figures() {
    let (_dir, written) = small(2);
    let block = open(&written.dir);
    for depth in [Depth::Series, Depth::Chunks] {
        let part = part(&block, &["up{instance=\"a:9100\"}", "odd_total"]);
        let (report, damages) = analyze(&block, &part, depth, 0);
        assert_eq!(damages, Damages::default());
        assert_eq!(report.selectors.len(), 2);
        assert_eq!((report.total.series, report.total.chunks), (2, 3));
        // Their chunks are followed by those of series that are not counted.
        let chunk = |kind| matches!(kind, Kind::Chunk { series: 1 | 3, .. });
        assert_eq!(report.total.chunk_bytes, bytes(&written, chunk), "{depth:?}");
        let samples = (depth == Depth::Chunks).then_some(5 + 4);
        assert_eq!(report.samples, samples, "what meta.json says is of the whole block");
        assert_eq!((report.label_names, report.label_pairs), (6, 7));
    }
}

/// Flips a bit in the middle of the part that `is_wanted` finds first.
fn flip(written: &Written, is_wanted: impl Fn(Kind) -> bool) {
    let mut files = written.files.iter();
    let (file, part) = files
        .find_map(|file| Some((file, file.parts.iter().find(|part| is_wanted(part.kind))?)))
        .unwrap();
    let mut bytes = file.bytes.0.clone();
    bytes[part.range.start + part.range.len() / 2] ^= 0x10;
    written.put(&file.name, &bytes).unwrap();
}

#[test]
fn what_is_damaged_is_told_and_the_rest_is_counted() {
    let (_dir, written) = small(2);
    flip(&written, |kind| matches!(kind, Kind::Chunk { series: 3, chunk: 0 }));
    let (report, damages) = analyze(&open(&written.dir), &Part::default(), Depth::Chunks, 0);
    let sections = |damages: &Damages| -> Vec<Section> {
        damages.kept.iter().map(|damage| damage.section).collect()
    };
    assert_eq!(sections(&damages), [Section::Chunk]);
    assert_eq!((report.total.series, report.total.samples), (6, 16));
    let chunk_bytes = bytes(&written, |kind| matches!(kind, Kind::Chunk { .. }));
    assert_eq!(report.total.chunk_bytes, chunk_bytes, "its size is known from the index");

    let (_dir, written) = small(2);
    flip(&written, |kind| kind == Kind::Series(4));
    let (report, damages) = analyze(&open(&written.dir), &Part::default(), Depth::Series, 0);
    assert_eq!((report.total.series, sections(&damages)), (5, vec![Section::Series]));

    let (_dir, written) = small(2);
    flip(&written, |kind| kind == Kind::PostingsTable);
    let (report, damages) = analyze(&open(&written.dir), &Part::default(), Depth::Series, 0);
    assert_eq!((report.total.series, damages.count()), (6, 0), "series need no postings");
    let (_, damages) = analyze(&open(&written.dir), &Part::default(), Depth::Postings, 0);
    assert_eq!(sections(&damages), [Section::PostingsTable]);
}

#[test]
fn a_flipped_byte_anywhere_adds_nothing() {
    let (_dir, written) = small(2);
    for file in &written.files {
        for at in 0..file.bytes.0.len() {
            let mut bytes = file.bytes.0.clone();
            bytes[at] ^= 1 << (at % 8);
            written.put(&file.name, &bytes).unwrap();
            let block = open(&written.dir);
            for depth in [Depth::Postings, Depth::Chunks] {
                let (report, damages) = analyze(&block, &Part::default(), depth, 0);
                let context = format!("{} byte {at}, {depth:?}: {damages:?}", file.name);
                let total = report.total;
                assert!(total.series <= 6 && total.chunks <= 8, "{context}");
                assert!(report.label_entries <= 16 && report.label_pairs <= 12, "{context}");
                let has_all = (total.series, report.label_entries) == (6, 16);
                assert!(has_all || damages.count() > 0, "{context}");
                if depth == Depth::Chunks {
                    assert!(total.samples == 19 || damages.count() > 0, "{context}");
                }
            }
        }
        written.put(&file.name, &file.bytes.0).unwrap();
    }
}

#[test]
fn blocks_differ_in_the_series_that_one_of_them_lacks() {
    let chunk = |count: i64| {
        Chunk::floats(&(0..count).map(|at| (START + 1_000 * at, 1.0)).collect::<Vec<_>>())
    };
    let series = |metric: &str, pod: &str, count| {
        Series::new(&[("__name__", metric), ("pod", pod)], vec![chunk(count)])
    };
    let (before_dir, after_dir) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let before = vec![series("a", "1", 5), series("a", "2", 5), series("b", "1", 5)];
    let after =
        vec![series("a", "1", 5), series("b", "1", 5), series("b", "3", 9), series("c", "3", 1)];
    let before = block::Block::new(2, before).write(before_dir.path()).unwrap();
    let after = block::Block::new(3, after).write(after_dir.path()).unwrap();
    let (before, after) = (open(&before.dir), open(&after.dir));
    let compared = |selectors: &[&str]| {
        let (one, other) = (part(&before, selectors), part(&after, selectors));
        let (difference, damages) = difference((&before, &one), (&after, &other), Depth::Series, 0);
        assert_eq!(damages, Damages::default());
        difference
    };
    let difference = compared(&[]);
    assert_eq!(difference.series, Turnover { kept: 2, gone: 1, new: 2 });
    assert_eq!((difference.before.total.series, difference.after.total.series), (3, 4));
    let metrics: Vec<_> = difference
        .metrics_by_series
        .iter()
        .map(|it| (it.name.as_deref().unwrap(), it.before.chunks, it.after.chunks, it.series.new))
        .collect();
    assert_eq!(metrics, [("a", 2, 1, 0), ("b", 1, 2, 1), ("c", 0, 1, 1)]);
    let pods = difference.label_names_by_values.iter().find(|name| name.name == "pod").unwrap();
    assert_eq!(pods.values, Turnover { kept: 1, gone: 1, new: 1 });
    assert_eq!(compared(&["b"]).series, Turnover { kept: 1, gone: 0, new: 1 });
}

/// A list of promtool's: a count and what it is of, in any order.
type List = BTreeSet<(u64, String)>;

fn promtools(tools: &Tools, data: &Path, block: &str, arguments: &[&str]) -> String {
    let (mut promtool, dir): (Command, TempDir) = tools.tsdb("analyze", data).unwrap();
    let output =
        promtool.arg("--limit=100000").args(arguments).arg(dir.path()).arg(block).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn list(text: &str, title: &str) -> List {
    let (_, list) = text.split_once(&format!("\n{title}:\n")).unwrap_or_else(|| panic!("{title}"));
    let rows = list.lines().take_while(|line| !line.is_empty());
    let rows = rows.map(|row| row.split_once(' ').unwrap());
    // Zeros say nothing, and are left out here.
    let rows = rows.map(|(count, of)| (count.parse().unwrap(), of.to_owned()));
    rows.filter(|(count, _)| *count > 0).collect()
}

fn fact(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("{name}\n{text}")).parse().unwrap()
}

fn assert_promtools(report: &Report, text: &str, context: &str) {
    assert_eq!(report.label_names, fact(text, "Label names"), "{context}");
    assert_eq!(report.label_pairs, fact(text, "Postings (unique label pairs)"), "{context}");
    assert_eq!(
        report.label_entries,
        fact(text, "Postings entries (total label pairs)"),
        "{context}"
    );
    let top = &report.top;
    let names = |of: fn(&underpass_tsdb::analyze::report::LabelName) -> u64| -> List {
        let names = top.label_names_by_values.iter();
        names.map(|it| (of(it), it.name.clone())).filter(|(count, _)| *count > 0).collect()
    };
    let pairs = |of: fn(&underpass_tsdb::analyze::report::LabelPair) -> u64| -> List {
        let pairs = top.label_pairs_by_series.iter();
        let pairs = pairs.map(|it| (of(it), format!("{}={}", it.name, it.value)));
        pairs.filter(|(count, _)| *count > 0).collect()
    };
    let metrics = top.metrics_by_series.iter();
    let metrics =
        metrics.filter_map(|it| Some((it.load.series, it.name.clone()?))).collect::<List>();
    for (title, ours) in [
        ("Label pairs most involved in churning", pairs(|it| it.churn.unwrap())),
        ("Label names most involved in churning", names(|it| it.churn.unwrap())),
        ("Most common label pairs", pairs(|it| it.series)),
        ("Label names with highest cumulative label value length", names(|it| it.value_bytes)),
        ("Highest cardinality labels", names(|it| it.values)),
        ("Highest cardinality metric names", metrics),
    ] {
        assert_eq!(ours, list(text, title), "{context}: {title}");
    }
}

#[test]
fn figures_of_real_blocks_are_promtools() {
    for suite in [Suite::Bookworm, Suite::Sid] {
        let tools = require!(suite.tools());
        let series = if suite == Suite::Bookworm { "Series" } else { "Total Series" };
        for fixture in [Fixture::Windows, Fixture::Histograms, Fixture::Overlapping] {
            let data = require!(fixture.data());
            for block in crate::promtool::open(&data, Backend::Map) {
                let context = format!("{suite:?}, {fixture:?}, {}", block.name());
                let text = promtools(&tools, &data, block.name(), &[]);
                let (report, _) = analyze(&block, &Part::default(), Depth::Series, 0);
                assert_eq!(report.total.series, fact(&text, series), "{context}");
                assert_promtools(&report, &text, &context);
            }
        }
    }
}

#[test]
fn figures_of_matching_series_are_promtools() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Histograms.data());
    let selector = "{job=~\".+\",__name__!=\"up\"}";
    for block in crate::promtool::open(&data, Backend::Map) {
        let text = promtools(&tools, &data, block.name(), &[&format!("--match={selector}")]);
        let part = part(&block, &[selector]);
        let (report, _) = analyze(&block, &part, Depth::Series, 0);
        assert_eq!(report.total.series, fact(&text, "Matched series"));
        assert_promtools(&report, &text, block.name());
    }
}
