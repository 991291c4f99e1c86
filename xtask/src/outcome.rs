//! What tests came to: their results counted, their skips compared with the expected ones.
//!
//! A machine that loses a capability loses tests without a failure. So each kind of machine has a
//! list of the tests it skips, and a run that skips another or one less fails.
//!
//! A line of such a list is `package test: why`, as the test prints it after SKIP; with `? ` before
//! it the test may run as well. Empty lines and lines that start with `#` are comments.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, ensure};

use underpass_testkit::workspace;

/// Sums of `test result:` lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Tally {
    /// Counts a line of a test binary's output if it is a result:
    /// `test result: ok. 3 passed; 0 failed; …`.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else { return };
        let number = |what: &str| {
            let before = counts.split_once(what)?.0;
            before.trim_end().rsplit([' ', ';']).next()?.parse::<usize>().ok()
        };
        self.passed += number(" passed").unwrap_or_default();
        self.failed += number(" failed").unwrap_or_default();
    }

    /// Counts another run's tests in.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// What failed tests said: from `failures:` to the result of their binary.
#[derive(Debug, Default)]
pub(crate) struct FailedTests {
    lines: Vec<String>,
    is_within: bool,
}

impl FailedTests {
    /// Keeps a line of `cargo test`'s output if it tells of a failed test.
    pub(crate) fn add(&mut self, line: &str) {
        self.is_within |= line == "failures:";
        if self.is_within {
            self.lines.push(line.to_owned());
        }
        self.is_within &= !line.starts_with("test result: ");
    }

    /// Its lines, of which there are none if nothing failed.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// The tests that one kind of machine skips.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expectation {
    list: &'static str,
    tests: BTreeSet<String>,
    /// Those of them that need not be skipped.
    may_run: BTreeSet<String>,
}

impl Expectation {
    /// Reads a list that is in xtask's directory.
    pub(crate) fn read(list: &'static str) -> Result<Self> {
        let path = workspace::root().join("xtask").join(list);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(Self::of(list, &text))
    }

    fn of(list: &'static str, text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let tests = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (may, must): (Vec<&str>, Vec<&str>) = tests.partition(|line| line.starts_with("? "));
        let may_run: BTreeSet<String> = may.into_iter().map(|line| name_of(&line[2..])).collect();
        let tests = must.into_iter().map(name_of).chain(may_run.iter().cloned()).collect();
        Self { list, tests, may_run }
    }

    /// The same of some packages only.
    pub(crate) fn of_packages(mut self, is_one: impl Fn(&str) -> bool) -> Self {
        self.tests.retain(|test| test.split_once(' ').is_some_and(|(name, _)| is_one(name)));
        self
    }

    /// Also what was skipped for this reason.
    pub(crate) fn or_for(mut self, skips: &[String], reason: &str) -> Self {
        let for_it =
            skips.iter().filter(|line| line.split_once(": ").is_some_and(|(_, why)| why == reason));
        self.tests.extend(for_it.map(|line| skipped_name_of(line)));
        self
    }

    /// Compares with the SKIP lines of a run. A test that ran in several configurations counts
    /// once. Returns how many were skipped.
    ///
    /// # Errors
    ///
    /// If a test was skipped that is not on the list, or one on the list was not skipped.
    pub(crate) fn compare(&self, skips: &[String]) -> Result<usize> {
        let skipped: BTreeSet<String> = skips.iter().map(|line| skipped_name_of(line)).collect();
        let lines = |tests: Vec<&String>| {
            tests.iter().map(|test| format!("\n  {test}")).collect::<String>()
        };
        let unexpected = lines(skipped.difference(&self.tests).collect());
        let list = self.list;
        ensure!(
            unexpected.is_empty(),
            "tests were skipped that xtask/{list} does not expect: install what they need, or \
             list them{unexpected}"
        );
        let has_run = self.tests.difference(&skipped);
        let missing = lines(has_run.filter(|test| !self.may_run.contains(*test)).collect());
        ensure!(
            missing.is_empty(),
            "xtask/{list} expects skips that did not happen: take them off the list{missing}"
        );
        Ok(skipped.len())
    }
}

/// `package test` of `SKIP package test: why`.
fn skipped_name_of(line: &str) -> String {
    name_of(line.strip_prefix("SKIP ").unwrap_or(line))
}

/// `package test` of `package test: why`: the reason may name a version or an errno.
fn name_of(line: &str) -> String {
    line.split_once(": ").map_or(line, |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored",
        ] {
            tally.add(line);
        }
        assert_eq!(tally.to_string(), "13 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn what_failed_tests_said_is_kept_and_nothing_else() {
        let mut failed = FailedTests::default();
        let output = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nno\n\n\
                      failures:\n    a\n\ntest result: FAILED. 1 failed\n\ntest b ... ok";
        output.lines().for_each(|line| failed.add(line));
        let kept = failed.lines().join("|");
        let expected =
            "failures:||---- a stdout ----|no||failures:|    a||test result: FAILED. 1 failed";
        assert_eq!(kept, expected);
    }

    #[test]
    fn a_reason_of_its_own_is_expected_of_any_test_and_no_other_reason_is() {
        let skips = ["SKIP a x: not root".to_owned(), "SKIP a z: no ring".to_owned()];
        let expected = |text| Expectation::of("list", text).or_for(&skips, "not root");
        assert_eq!(expected("a z").compare(&skips).unwrap(), 2);
        // On the list too, for a reason that is behind this one.
        assert_eq!(expected("a z\na x").compare(&skips).unwrap(), 2);
        let error = expected("").compare(&skips).unwrap_err().to_string();
        assert!(error.ends_with("list them\n  a z"), "{error}");
    }

    #[test]
    fn skips_must_be_the_expected_ones_neither_more_nor_less() {
        let expected = Expectation::of("list", "# why\n\na x::y: no ring\na z\n");
        let skips =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let both = skips(&["SKIP a x::y: other", "SKIP a z: why", "SKIP a z: why"]);
        assert_eq!(expected.compare(&both).unwrap(), 2);
        let more = skips(&["SKIP a x::y: no", "SKIP a z: no", "SKIP b w: no"]);
        let error = expected.compare(&more).unwrap_err().to_string();
        assert!(error.ends_with("list them\n  b w"), "{error}");
        let error = expected.compare(&skips(&["SKIP a z: no"])).unwrap_err().to_string();
        assert!(error.ends_with("take them off the list\n  a x::y"), "{error}");
        let may_run = Expectation::of("list", "? a x::y: no ring\na z");
        assert_eq!(may_run.compare(&both).unwrap(), 2);
        assert_eq!(may_run.compare(&skips(&["SKIP a z: why"])).unwrap(), 1);
        let of_others = expected.of_packages(|package| package == "ab");
        assert_eq!(of_others.compare(&[]).unwrap(), 0);
    }
}
