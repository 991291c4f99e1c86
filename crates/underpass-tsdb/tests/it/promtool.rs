//! Float samples: the same as promtool finds in the same blocks.

use std::path::Path;

use underpass_testkit::prometheus::{Fixture, Suite, Tools};
use underpass_testkit::require;
use underpass_tsdb::directory::Directory;
use underpass_tsdb::query::Selection;
use underpass_tsdb::{Backend, Block, Samples, Selector, Series, TimeRange};

/// Labels, a value's bits, a time.
type Line = (String, u64, i64);

pub(crate) fn open(data: &Path, backend: Backend) -> Vec<Block> {
    let found = Directory::find(data).unwrap();
    found.blocks.iter().map(|dir| Block::open(dir, backend).unwrap()).collect()
}

/// What a selection has, in the order of a dump.
fn ours(blocks: &[Block], selectors: &[&str], range: TimeRange) -> Vec<Line> {
    let selectors: Vec<Selector> = selectors.iter().map(|text| text.parse().unwrap()).collect();
    let selection = Selection::new(blocks, selectors, range);
    let (mut merged, mut reader) = (selection.series(), selection.reader());
    let (mut series, mut samples) = (Series::default(), Samples::default());
    let mut lines = Vec::new();
    while merged.next_into(&mut series) {
        let labels = without_odd(&series.labels.to_string());
        let mut batches = reader.read(&series);
        while batches.next_into(&mut samples) {
            let floats = samples.floats.iter();
            lines.extend(floats.map(|one| (labels.clone(), one.value.to_bits(), one.time)));
        }
    }
    assert_eq!((merged.take_losses(), reader.take_losses()), (vec![], vec![]));
    lines
}

/// What promtool prints: `{LABELS} VALUE TIME`; histograms are left out.
fn promtools(tools: &Tools, data: &Path, arguments: &[&str]) -> Vec<Line> {
    let text = String::from_utf8(tools.dump("dump", data, arguments).unwrap()).unwrap();
    let floats = text.lines().filter(|line| !line.contains("} {"));
    floats.map(line).collect()
}

fn line(line: &str) -> Line {
    let mut words = line.rsplitn(3, ' ');
    let [time, value, labels] = [(); 3].map(|()| words.next().unwrap());
    let value = value.parse::<f64>().unwrap();
    (without_odd(labels), value.to_bits(), time.parse().unwrap())
}

/// Without what Go and Rust quote differently.
fn without_odd(labels: &str) -> String {
    labels.split(", e=").next().unwrap_or(labels).replace("\"ü x\"", "ü x")
}

/// promtool prints every NaN as `NaN`, which is read as this one.
fn with_one_nan(mut lines: Vec<Line>) -> Vec<Line> {
    for (_, value, _) in &mut lines {
        if f64::from_bits(*value).is_nan() {
            *value = f64::NAN.to_bits();
        }
    }
    lines
}

fn assert_same(ours: Vec<Line>, promtools: &[Line], context: &str) {
    let ours = with_one_nan(ours);
    assert!(!promtools.is_empty(), "{context}: promtool finds nothing");
    let differs = ours.iter().zip(promtools).position(|(our, theirs)| our != theirs);
    if let Some(place) = differs {
        panic!("{context}, sample {place}: {:?}, but {:?}", ours[place], promtools[place]);
    }
    assert_eq!(ours.len(), promtools.len(), "{context}");
}

#[test]
fn every_sample_of_every_fixture_is_promtools() {
    let tools = require!(Suite::Sid.tools());
    for fixture in Fixture::SMALL {
        let data = require!(fixture.data());
        // promtool loses the floats behind a histogram of the same series.
        let selector = "{__name__!=\"mixed\"}";
        let promtools = promtools(&tools, &data, &[&format!("--match={selector}")]);
        for backend in [Backend::Map, Backend::Pread] {
            let ours = ours(&open(&data, backend), &[selector], TimeRange::ALL);
            assert_same(ours, &promtools, &format!("{fixture:?} by {backend:?}"));
        }
    }
}

#[test]
fn selectors_and_times_select_what_promtool_selects() {
    let tools = require!(Suite::Sid.tools());
    let start = 1_699_999_200_000_i64;
    for (fixture, selectors, times) in [
        (Fixture::Odd, &["values"][..], None),
        (Fixture::Odd, &["values{n!=\"3\"}", "plain"], Some((start + 15_037, start + 90_000))),
        (Fixture::Odd, &["{n=~\"[12]|4.*\"}", "{a=\"q\\\"uote\"}"], None),
        (Fixture::Odd, &["{__name__=~\".+\",n!~\"0|1\"}"], None),
        (Fixture::Odd, &["{__name__!=\"values\",nothing=\"\"}"], None),
        (
            Fixture::Windows,
            &["{core=\"1\",zone!=\"zone-2\"}"],
            Some((start + 7_185_000, start + 7_200_000)),
        ),
        (Fixture::Windows, &["{__name__=~\"app_.*_0[13]\",instance=~\".*-00(0|4).*\"}"], None),
        (
            Fixture::Overlapping,
            &["overlapping{series=~\"a|b\"}"],
            Some((start + 750_000, start + 1_500_000)),
        ),
        (Fixture::Deleted, &["{zone=\"zone-0\"}", "{zone=\"zone-1\"}"], None),
        (Fixture::Deleted, &["app_celsius_01"], Some((start + 1_500_001, start + 4_000_000))),
        (Fixture::OutOfOrder, &["late{n=~\"1|3\"}"], Some((start + 3_000_000, start + 4_190_000))),
    ] {
        let data = require!(fixture.data());
        let mut arguments: Vec<_> = selectors.iter().map(|one| format!("--match={one}")).collect();
        let mut range = TimeRange::ALL;
        if let Some((min, max)) = times {
            arguments.push(format!("--min-time={min}"));
            arguments.push(format!("--max-time={max}"));
            range = TimeRange { min, max };
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let promtools = promtools(&tools, &data, &arguments);
        let ours = ours(&open(&data, Backend::Map), selectors, range);
        assert_same(ours, &promtools, &format!("{fixture:?} {arguments:?}"));
    }
}
