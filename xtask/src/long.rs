//! `cargo xtask ci --long`: the tests that take minutes, one after another.
//!
//! They are those that `expected-skips.txt` names for this reason, so that a short run prints what
//! it leaves out, and none is forgotten.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};

use crate::ci;
use underpass_testkit::skip::{LONG, LONG_VARIABLE, SKIPS_FILE_VARIABLE};
use underpass_testkit::workspace;

/// Runs those with `word` in their names.
///
/// # Errors
///
/// If one fails or is skipped, or no long test has such a name.
pub(crate) fn run(word: &str) -> Result<()> {
    let list = workspace::root().join("xtask/expected-skips.txt");
    let text = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let tests = LongTest::all(&text);
    let chosen: Vec<_> = tests.iter().filter(|test| test.name.contains(word)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = tests.iter().map(|test| test.name).collect();
        anyhow::bail!("no long test has {word:?} in its name; there are: {}", names.join(", "));
    }
    let skips = workspace::target_dir()?.join("long-skips");
    fs::write(&skips, "").with_context(|| skips.display().to_string())?;
    let packages: BTreeSet<_> = chosen.iter().map(|test| test.package).collect();
    let mut tests = workspace::cargo();
    tests.args(["test", "--all-features", "--no-fail-fast"]);
    tests.args(packages.iter().map(|package| format!("--package={package}")));
    tests.args(["--", "--test-threads=1", "--nocapture", "--exact"]);
    tests.args(chosen.iter().map(|test| test.name));
    ci::succeed(tests.env(LONG_VARIABLE, "1").env(SKIPS_FILE_VARIABLE, &skips))?;
    let skipped = fs::read_to_string(&skips)?;
    ensure!(skipped.is_empty(), "not all ran:\n{}", skipped.trim_end());
    println!("{} long tests passed", chosen.len());
    Ok(())
}

/// Prints which of a run's skips are for want of time.
pub(crate) fn print(skips: &[String]) {
    let tests = LongTest::all_skipped(skips);
    if !tests.is_empty() {
        println!("{} long tests were left to `cargo xtask ci --long`:", tests.len());
        tests.iter().for_each(|test| println!("  {test}"));
    }
}

/// A test that takes minutes.
#[derive(Debug, PartialEq, Eq)]
struct LongTest<'a> {
    package: &'a str,
    name: &'a str,
}

impl<'a> LongTest<'a> {
    /// Those of a list of expected skips.
    fn all(list: &'a str) -> Vec<Self> {
        list.lines().filter_map(Self::of).collect()
    }

    fn of(line: &'a str) -> Option<Self> {
        let (test, why) = line.trim().split_once(": ")?;
        let (package, name) = test.split_once(' ').filter(|_| why == LONG)?;
        Some(Self { package, name })
    }

    /// Those of the lines that a run left, each once.
    fn all_skipped(skips: &'a [String]) -> BTreeSet<&'a str> {
        let tests = skips.iter().filter_map(|line| line.strip_prefix("SKIP ")?.split_once(": "));
        tests.filter(|(_, why)| *why == LONG).map(|(test, _)| test).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tests_are_those_that_are_listed_for_that_reason() {
        let list = "# a long test\n? a x: no ring\nb y::z: a long test\nc w: a long tests\n";
        assert_eq!(LongTest::all(list), [LongTest { package: "b", name: "y::z" }]);
        let skips = ["SKIP b y::z: a long test", "SKIP a x: not root", "SKIP b y::z: a long test"];
        let skips = skips.map(str::to_owned);
        assert_eq!(Vec::from_iter(LongTest::all_skipped(&skips)), ["b y::z"]);
    }

    #[test]
    fn a_word_that_no_long_test_has_is_told_with_those_there_are() {
        let error = run("no such word").unwrap_err().to_string();
        assert!(error.starts_with("no long test has \"no such word\" in its name"), "{error}");
    }
}
