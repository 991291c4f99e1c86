//! `cargo xtask bench`: the crate `underpass-bench`, built and run.
//!
//! It drives the engine, which these commands must not need: `cargo xtask tidy` runs while the
//! engine does not build.

use std::ffi::OsString;

use anyhow::{Context, Result, ensure};

use underpass_testkit::workspace;

/// What runs the bench of a debug build, which makes an optimised one where it measures.
const RUN: [&str; 4] = ["run", "--quiet", "--package=underpass-bench", "--"];

/// A bench, as its command line has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bench {
    /// Its name and arguments.
    pub name: String,
    /// Whether it limits a disk or looks into the kernel.
    pub needs_root: bool,
}

/// Runs it with these arguments.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let status = workspace::cargo().args(RUN).args(arguments).status()?;
    // What failed was told there.
    if status.success() { Ok(()) } else { Err(crate::Told.into()) }
}

/// Every bench there is.
pub(crate) fn all() -> Result<Vec<Bench>> {
    let output = workspace::cargo().args(RUN).arg("names").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).context("the names of the benches")?;
    Ok(names.lines().map(Bench::of).collect())
}

impl Bench {
    fn of(line: &str) -> Self {
        let name = line.strip_prefix("root ");
        Self { name: name.unwrap_or(line).to_owned(), needs_root: name.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_needs_root_says_so_before_its_name() {
        let bench = |name: &str, needs_root| Bench { name: name.to_owned(), needs_root };
        assert_eq!(Bench::of("root cold --tls"), bench("cold --tls", true));
        assert_eq!(Bench::of("idle --tls"), bench("idle --tls", false));
    }
}
