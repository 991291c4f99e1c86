//! `cargo xtask programs`: what `underpass explain` says of programs that people run, for `docs`.
//!
//! The tests start and judge them, and leave each outcome as a file; here the page is written, and
//! CI compares it with what its own run of the tests left.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::ci;
use underpass_testkit::workspace;

/// Where the page is.
const PAGE: &str = "docs/programs.md";

/// Names a directory that takes the outcomes.
pub(crate) const OUTCOMES: &str = "UNDERPASS_PROGRAMS";

const HEAD: &str = "# What `underpass explain` says of programs

Written by `cargo xtask programs`. A test starts each program and asks it for a file of 4,194,307
bytes, one of 100,003 and one of 5,003 (a few are asked for one of them, or several times), while
`underpass explain --budget 100` watches. What it says is compared with what strace and the client
saw of the same bytes: the bytes of each file by reference and copied, all others, connections,
names of files and programs, the reasons, and what to change. *right* means all of it, to the byte.
What is wrong is listed with a bound; a test fails if more is wrong, or if what is always wrong
has become right.

| program | set up | file bytes by reference | reason for the others | what is said |
| --- | --- | --- | --- | --- |
";

/// Runs the tests and writes the page.
///
/// # Errors
///
/// If a test fails, or none leaves an outcome.
pub(crate) fn run() -> Result<()> {
    let dir = empty_dir()?;
    let mut tests = workspace::cargo();
    tests.args(["test", "--package=underpass-cli", "--test=it", "programs::"]);
    ci::succeed(tests.env(OUTCOMES, &dir))?;
    let path = workspace::root().join(PAGE);
    fs::write(&path, page(&outcomes(&dir)?)).with_context(|| path.display().to_string())?;
    println!("written to {PAGE}");
    Ok(())
}

/// Compares the page with the outcomes that tests left.
///
/// # Errors
///
/// If it is another.
pub(crate) fn check(dir: &Path) -> Result<()> {
    let path = workspace::root().join(PAGE);
    let there = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let outcomes = outcomes(dir)?;
    let is_same = there == page(&outcomes);
    ensure!(is_same, "{PAGE} is not what the tests found; `cargo xtask programs` writes it");
    println!("{PAGE} says what {} programs came to", outcomes.len());
    Ok(())
}

/// The directory that takes the outcomes, with nothing in it.
///
/// # Errors
///
/// Those of emptying it.
pub(crate) fn empty_dir() -> Result<PathBuf> {
    let dir = workspace::target_dir()?.join("programs-outcomes");
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn outcomes(dir: &Path) -> Result<Vec<Value>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    ensure!(!paths.is_empty(), "no test left an outcome; they need root, strace and curl");
    paths.sort_by_key(|path| path.file_name().map(|name| name.to_ascii_lowercase()));
    let read = |path: &PathBuf| Ok(serde_json::from_str(&fs::read_to_string(path)?)?);
    paths.iter().map(read).collect()
}

fn page(outcomes: &[Value]) -> String {
    let mut page = HEAD.to_owned();
    for outcome in outcomes {
        let text = |name: &str| outcome[name].as_str().unwrap_or("–").replace('|', "\\|");
        let said = said(&outcome["wrong"]);
        let [program, setup, reason] = [text("program"), text("setup"), text("reason")];
        writeln!(page, "| {program} | {setup} | {} | {reason} | {said} |", share(outcome))
            .expect("strings take all");
    }
    page
}

/// The share by reference, of which one decimal is the same in every run.
fn share(outcome: &Value) -> String {
    let bytes = |name: &str| outcome[name].as_u64().unwrap_or(0);
    let lent = bytes("by_reference_bytes");
    match (lent * 1_000).checked_div(lent + bytes("copied_bytes")) {
        Some(thousandths) => format!("{}.{} %", thousandths / 10, thousandths % 10),
        None => "no file bytes".into(),
    }
}

/// What is known to be wrong, each as its reason, whether it always is, and a bound with its unit.
fn said(wrong: &Value) -> String {
    let known = wrong.as_array().into_iter().flatten();
    let whys: Vec<String> = known
        .map(|known| {
            let [why, unit] = [0, 3].map(|at| known[at].as_str().unwrap_or_default());
            let at_times = if known[1] == false { " (at times)" } else { "" };
            format!("{why}, up to {} {unit}{at_times}", known[2])
        })
        .collect();
    if whys.is_empty() { "right".into() } else { format!("wrong: {}", whys.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_tells_the_share_the_reason_and_what_is_wrong() {
        let right = json!({"program": "a", "setup": "x | y", "by_reference_bytes": 0,
            "copied_bytes": 9, "reason": "R1", "wrong": []});
        let wrong = json!({"program": "b", "setup": "z", "by_reference_bytes": 1_999,
            "copied_bytes": 1, "reason": null, "wrong": [["much", false, 7, "bytes"],
                ["more", true, 99, "connections"]]});
        let page = page(&[right, wrong]);
        let rows = page.strip_prefix(HEAD).unwrap();
        let first = "| a | x \\| y | 0.0 % | R1 | right |\n";
        let wrong = "wrong: much, up to 7 bytes (at times); more, up to 99 connections";
        let second = format!("| b | z | 99.9 % | – | {wrong} |\n");
        assert_eq!(rows, format!("{first}{second}"));
        assert_eq!(share(&json!({})), "no file bytes");
    }

    #[test]
    fn a_page_that_is_another_than_what_tests_left_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(check(dir.path()).unwrap_err().to_string().contains("no test left an outcome"));
        fs::write(dir.path().join("a.json"), "{}").unwrap();
        assert!(check(dir.path()).unwrap_err().to_string().contains("is not what the tests found"));
    }
}
