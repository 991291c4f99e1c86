//! Dumps: promtool's text, and what damage leaves of it.

use std::io;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::Path;

use underpass_testkit::block::{Block as Made, Chunk, Kind, START, Series};
use underpass_testkit::prometheus::{Fixture, Suite};
use underpass_testkit::require;
use underpass_tsdb::dump::{DumpError, Dumped, Event, Format, dump};
use underpass_tsdb::query::Selection;
use underpass_tsdb::{Backend, Block, TimeRange};

use crate::promtool::open;

const FORMATS: [Format; 4] = [Format::Text, Format::OpenMetrics, Format::Csv, Format::JsonLines];

/// The text, what was lost, and the counts.
fn dumped(blocks: &[Block], format: Format, threads: usize) -> (Vec<u8>, Vec<String>, Dumped) {
    let selection = Selection::new(blocks, Vec::new(), TimeRange::ALL);
    let (mut text, mut losses) = (Vec::new(), Vec::new());
    let mut watch = |event: Event<'_>| {
        if let Event::Loss(loss) = event {
            losses.push(loss.to_string());
        }
        ControlFlow::Continue(())
    };
    let threads = NonZero::new(threads).unwrap();
    let dumped = dump(&selection, format, threads, &mut text, &mut watch).unwrap();
    (text, losses, dumped)
}

fn text(data: &Path, format: Format, threads: usize, backend: Backend) -> Vec<u8> {
    let (text, losses, dumped) = dumped(&open(data, backend), format, threads);
    assert_eq!((losses, dumped.losses), (Vec::new(), 0));
    text
}

/// Names the first line that differs, where a comparison of all would print megabytes.
fn assert_same(ours: &[u8], theirs: &[u8], context: &str) {
    let [lines, their_lines] = [ours, theirs].map(|text| text.split(|byte| *byte == b'\n'));
    for (number, (our, their)) in lines.zip(their_lines).enumerate() {
        let [our, their] = [our, their].map(String::from_utf8_lossy);
        assert_eq!(our, their, "{context}, line {number}");
    }
    assert_eq!(ours.len(), theirs.len(), "{context}");
}

#[test]
fn text_is_promtools_to_the_byte() {
    for suite in [Suite::Bookworm, Suite::Sid] {
        let tools = require!(suite.tools());
        for fixture in Fixture::SMALL.into_iter().filter(|one| *one != Fixture::Histograms) {
            let data = require!(fixture.data());
            let promtools = tools.dump("dump", &data, &[]).unwrap();
            for (threads, backend) in [(1, Backend::Map), (1, Backend::Pread), (3, Backend::Map)] {
                let ours = text(&data, Format::Text, threads, backend);
                let context = format!("{suite:?}, {fixture:?}, {threads} threads, {backend:?}");
                assert_same(&ours, &promtools, &context);
            }
        }
    }
}

/// promtool prints histograms, but loses some at the start of a series, and floats behind them:
/// what it prints is ours in the same order.
#[test]
fn every_line_that_promtool_prints_of_histograms_is_ours() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Histograms.data());
    let promtools = String::from_utf8(tools.dump("dump", &data, &[]).unwrap()).unwrap();
    let ours = String::from_utf8(text(&data, Format::Text, 2, Backend::Map)).unwrap();
    let mut rest = ours.lines();
    for line in promtools.lines() {
        assert!(rest.any(|our| our == line), "{line}");
    }
    assert!(promtools.lines().filter(|line| line.contains("} {count:")).count() > 100);
}

#[test]
fn openmetrics_is_promtools_where_that_can_be_read_back() {
    let tools = require!(Suite::Sid.tools());
    for fixture in [Fixture::Windows, Fixture::Overlapping, Fixture::Deleted] {
        let data = require!(fixture.data());
        let promtools = tools.dump("dump-openmetrics", &data, &[]).unwrap();
        let ours = text(&data, Format::OpenMetrics, 2, Backend::Map);
        assert_same(&ours, &promtools, &format!("{fixture:?}"));
    }
}

/// With label values of characters that promtool's own dump does not bring back.
#[test]
fn what_promtool_makes_of_our_openmetrics_is_what_it_was_made_of() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Odd.data());
    let again = tempfile::tempdir().unwrap();
    let ours = text(&data, Format::OpenMetrics, 1, Backend::Map);
    tools.create_blocks(again.path(), &ours).unwrap();
    let [before, after] = [&data, again.path()].map(|at| text(at, Format::Text, 1, Backend::Map));
    assert_same(&after, &before, "made again");
}

/// A hundred series of ten chunks of three samples.
fn hundred(dir: &Path) -> underpass_testkit::block::Written {
    let series = (0..100).map(|number| {
        let chunks = (0..10).map(|chunk| {
            let at = |sample: i64| (START + 1_000 * (3 * chunk + sample), 0.5 * f64::from(number));
            Chunk::floats(&[0, 1, 2].map(at))
        });
        Series::new(&[("__name__", "m"), ("n", &format!("{number:02}"))], chunks.collect())
    });
    Made { segment_chunks: 300, ..Made::new(2, series.collect()) }.write(dir).unwrap()
}

#[test]
fn a_damaged_chunk_takes_its_samples_and_no_other_with_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let written = hundred(dir.path());
    let file = written.file("chunks/000002");
    let chunk = Kind::Chunk { series: 31, chunk: 4 };
    let place = file.parts.iter().find(|part| part.kind == chunk).unwrap().range.clone();
    for format in FORMATS {
        let whole = text(dir.path(), format, 1, Backend::Map);
        let whole = String::from_utf8(whole).unwrap();
        let is_lost = |line: &&str| {
            let time = |sample: i64| START + 1_000 * (12 + sample);
            let times = [0, 1, 2].map(|sample| match format {
                Format::OpenMetrics => format!("{}.000", time(sample) / 1_000),
                Format::Text | Format::Csv | Format::JsonLines => time(sample).to_string(),
            });
            line.contains("31\"") && times.iter().any(|time| line.contains(time))
        };
        assert_eq!(whole.lines().filter(is_lost).count(), 3, "{format:?}");
        let expected: String = whole.split_inclusive('\n').filter(|line| !is_lost(line)).collect();
        let mut bytes = file.bytes.0.clone();
        bytes[place.start + 6] ^= 0x10;
        written.put("chunks/000002", &bytes).unwrap();
        for (threads, backend) in [(1, Backend::Map), (3, Backend::Pread), (5, Backend::Map)] {
            let blocks = open(dir.path(), backend);
            let (text, losses, dumped) = dumped(&blocks, format, threads);
            assert_same(&text, expected.as_bytes(), &format!("{format:?}, {threads} threads"));
            assert_eq!((dumped.series, dumped.samples, dumped.losses), (100, 2_997, 1));
            let told = format!(
                "{}: byte {}: chunk: checksum",
                written.dir.join("chunks/000002").display(),
                place.start
            );
            let lost = "lost: {__name__=\"m\", n=\"31\"} from 2023-11-14T22:13:32.000Z to \
                        2023-11-14T22:13:34.000Z";
            assert!(losses[0].starts_with(&told) && losses[0].ends_with(lost), "{losses:?}");
        }
        written.mend("chunks/000002").unwrap();
    }
}

#[test]
fn histograms_that_openmetrics_cannot_hold_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    Made::small(2).write(dir.path()).unwrap();
    let blocks = open(dir.path(), Backend::Map);
    let (all, _, of_all) = dumped(&blocks, Format::Text, 1);
    let (text, _, of_text) = dumped(&blocks, Format::OpenMetrics, 1);
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!((of_all.samples, of_all.left_out), (lines(&all), 0));
    assert_eq!((of_text.samples, of_text.left_out), (of_all.samples - 1, 1));
    assert_eq!(lines(&text), of_all.samples - 1 + 1, "with # EOF");
    assert!(text.ends_with(b"\n# EOF\n"));
}

#[test]
fn the_names_of_the_columns_come_first_also_where_nothing_follows() {
    let blocks = [];
    let (text, _, dumped) = dumped(&blocks, Format::Csv, 2);
    assert_eq!(text, b"metric,labels,timestamp_ms,value,histogram\r\n");
    assert_eq!(dumped, Dumped::default());
}

/// A disk that is full after some bytes.
struct Full(usize);

impl io::Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_output_that_takes_no_more_ends_it_and_so_does_the_caller() {
    let dir = tempfile::tempdir().unwrap();
    hundred(dir.path());
    let blocks = open(dir.path(), Backend::Map);
    let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
    for threads in [1, 3].map(|threads| NonZero::new(threads).unwrap()) {
        let ended =
            dump(
                &selection,
                Format::Csv,
                threads,
                &mut Full(1),
                &mut |_| ControlFlow::Continue(()),
            );
        let Err(DumpError::Write(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let mut series = 0;
        let mut watch = |event: Event<'_>| {
            series += u64::from(matches!(event, Event::Progress(_)));
            if series == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended = dump(&selection, Format::Text, threads, &mut io::sink(), &mut watch);
        assert!(matches!(ended, Err(DumpError::Stopped)));
        assert_eq!(series, 5);
    }
}
