//! The text of a dump: promtool's, byte for byte.

use std::path::Path;

use underpass_testkit::prometheus::{Fixture, Suite, Tools};
use underpass_testkit::require;

use super::printed;

/// Those without histograms, of which promtool prints some too few.
const FLOATS: [Fixture; 5] =
    [Fixture::Odd, Fixture::Windows, Fixture::Overlapping, Fixture::Deleted, Fixture::OutOfOrder];

fn assert_same(ours: &[u8], theirs: &[u8], context: &str) {
    assert!(!theirs.is_empty(), "{context}: promtool prints nothing");
    let [ours, theirs] = [ours, theirs].map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n'));
    let mut pairs = ours.clone().zip(theirs.clone()).enumerate();
    if let Some((number, (our, their))) = pairs.find(|(_, (our, their))| our != their) {
        let [our, their] = [our, their].map(String::from_utf8_lossy);
        panic!("{context}, line {}:\n{our}but promtool:\n{their}", number + 1);
    }
    assert_eq!(ours.count(), theirs.count(), "{context}: lines");
}

#[test]
fn a_dump_is_that_of_every_promtool_by_either_backend_and_by_several_threads() {
    for suite in Suite::ALL {
        let tools = require!(suite.tools());
        for fixture in FLOATS {
            let data = require!(fixture.data());
            let theirs = tools.dump("dump", &data, &[]).unwrap();
            for arguments in [&["--threads=1"][..], &["--read=pread", "--threads=3"]] {
                let ours = printed("dump", &data, arguments);
                assert_same(&ours, &theirs, &format!("{fixture:?}, {suite:?}, {arguments:?}"));
            }
        }
    }
}

#[test]
fn the_same_selectors_and_times_print_the_same() {
    let tools = require!(Suite::Sid.tools());
    for (fixture, arguments) in [
        (Fixture::Odd, &["--match=values{n=~\"1|2\"}", "--match=escapes"][..]),
        (Fixture::Odd, &["--match={__name__=~\"p.*|e.*\"}", "--min-time=1699999230000"]),
        (Fixture::Windows, &["--match={core!=\"1\"}", "--max-time=1700006400000"]),
        (Fixture::Deleted, &["--min-time=1700000700000", "--max-time=1700002215000"]),
    ] {
        let data = require!(fixture.data());
        let theirs = tools.dump("dump", &data, arguments).unwrap();
        assert_same(&printed("dump", &data, arguments), &theirs, &format!("{arguments:?}"));
    }
}

#[test]
fn open_metrics_is_that_of_promtool_and_becomes_the_same_blocks_again() {
    let tools = require!(Suite::Sid.tools());
    for fixture in FLOATS {
        let data = require!(fixture.data());
        // promtool writes escapes that the format does not have and that it does not read itself.
        let selector = "--match={__name__!=\"escapes\"}";
        let theirs = tools.dump("dump-openmetrics", &data, &[selector]).unwrap();
        let ours = printed("dump", &data, &["--format=openmetrics", selector]);
        assert_same(&ours, &theirs, &format!("{fixture:?}"));
    }
    for fixture in [Fixture::Odd, Fixture::Overlapping, Fixture::Windows] {
        assert_comes_back(&tools, &require!(fixture.data()));
    }
}

fn assert_comes_back(tools: &Tools, data: &Path) {
    let text = printed("dump", data, &["--format=openmetrics"]);
    let again = tempfile::tempdir().unwrap();
    tools.create_blocks(again.path(), &text).unwrap();
    let [before, after] = [data, again.path()].map(|data| printed("dump", data, &[]));
    assert_same(&after, &before, "made again");
}

/// Up to 3.5 promtool loses the first samples of a series of histograms; what it prints is right.
#[test]
fn histograms_are_printed_as_promtool_prints_those_that_it_does_not_lose() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Histograms.data());
    let [ours, theirs] =
        [printed("dump", &data, &[]), tools.dump("dump", &data, &[]).unwrap()].map(lines);
    let mut rest = ours.iter();
    for line in &theirs {
        assert!(rest.any(|our| our == line), "only promtool prints, or not in this order:\n{line}");
    }
    let written = 400 + 400 + 200 + 200 + 200 + 200 + 12 + 60 + 110 + 200 + 1;
    assert_eq!(ours.len(), written);
}

fn lines(text: Vec<u8>) -> Vec<String> {
    String::from_utf8(text).unwrap().lines().map(str::to_owned).collect()
}
