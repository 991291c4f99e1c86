//! `cargo xtask tidy`: the rules of the house that no compiler checks.
//!
//! Each rule is a function from text to findings, has its own test, and its message says
//! what to do instead. Functions longer than 70 lines are clippy's to find; tidy makes sure that
//! every crate has that lint on. Where a rule is wrong for a place, change the rule.

mod crates;
mod errors;
mod names;
mod phrases;
mod prose;
mod rooms;
mod safety;
mod text;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use underpass_testkit::workspace;

/// Checks the rules of the house that no compiler checks.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Only prints the lines of source of each crate, tests not counted.
    #[arg(long)]
    sizes: bool,
}

/// One file of the tree.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the workspace, with `/`.
    path: String,
    text: String,
}

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 if the file as a whole is meant.
    line: usize,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

impl SourceFile {
    fn finding(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into() }
    }

    /// The lines with their numbers.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(i, line)| (i + 1, line))
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

#[cfg(test)]
impl SourceFile {
    fn of(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
}

/// Applies every rule to the tree and prints what breaks one.
///
/// # Errors
///
/// If anything does.
pub(crate) fn run(options: &Options) -> Result<()> {
    let files = files()?;
    if options.sizes {
        print!("{}", rooms::sizes(&files));
        return Ok(());
    }
    let mut findings = Vec::new();
    for file in &files {
        findings.extend(text::check(file));
        findings.extend(phrases::check(file));
        if file.is_rust() {
            findings.extend(errors::check(file));
            findings.extend(names::check(file));
            findings.extend(safety::check(file));
        }
    }
    findings.extend(safety::check_crates(&files));
    findings.extend(crates::check_tests(&files));
    findings.extend(crates::check_manifests(&files));
    findings.extend(crates::check_lock(&files));
    findings.extend(crates::check_arrows(&workspace::metadata()?));
    findings.extend(rooms::check(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} places to tidy", findings.len());
    println!("tidy: {} files", files.len());
    Ok(())
}

/// Every text file that git tracks or would track.
fn files() -> Result<Vec<SourceFile>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.current_dir(workspace::root()).output().context("git")?;
    ensure!(output.status.success(), "git: {}", String::from_utf8_lossy(&output.stderr).trim());
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        let full: PathBuf = workspace::root().join(path);
        // Listed but deleted, or not text: neither has lines to look at.
        let Ok(bytes) = std::fs::read(&full) else { continue };
        let Ok(text) = String::from_utf8(bytes) else { continue };
        files.push(SourceFile { path: path.to_owned(), text });
    }
    Ok(files)
}
