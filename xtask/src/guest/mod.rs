//! `cargo xtask guest`: tests of engine, probe and HTTPS of both ends on Debian's kernel, in a
//! virtual machine.
//!
//! For what the machine at hand may lack: kernel TLS, a second kernel version, root's mounts and
//! cgroups without touching the host. The kernel package is unpacked, never installed, and boots
//! in seconds under qemu's own translation; no KVM, which hangs where it is nested. Nothing
//! measured in there says anything about speed.
//!
//! The test binaries are linked statically, since the guest has no libraries but those of the
//! few programs it is given. Everything is kept under the target directory.

mod kernel;
mod machine;
mod tree;

use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::outcome::{Expectation, Tally};
use underpass_testkit::workspace;

/// A package whose tests run in the guest.
#[derive(Debug, Clone, Copy)]
struct Package {
    name: &'static str,
    /// What names must contain for a test to run; all run if it is empty.
    tests: &'static [&'static str],
}

const PACKAGES: [Package; 6] = [
    Package { name: "underpass-sys", tests: &[] },
    Package { name: "underpass", tests: &[] },
    Package { name: "underpass-testkit", tests: &[] },
    // Of the others the guest lacks the peers.
    Package { name: "underpass-copy", tests: &["https"] },
    Package { name: "underpass-serve", tests: &["tls::"] },
    // What depends on the kernel's version. The other tests measure, which is slow and says
    // nothing where every instruction is translated.
    Package { name: "underpass-measure", tests: &["explain::", "matrix", "probe::"] },
];

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What the guest is asked for.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Packages whose tests run; all that have tests for the guest if none is named.
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
}

impl Options {
    fn packages(&self) -> Result<Vec<Package>> {
        for name in &self.packages {
            let is_known = PACKAGES.iter().any(|package| package.name == name);
            let known = PACKAGES.map(|package| package.name).join(", ");
            ensure!(is_known, "{name} has no tests for the guest; {known} have");
        }
        let is_wanted = |package: &Package| {
            self.packages.is_empty() || self.packages.iter().any(|name| name == package.name)
        };
        Ok(PACKAGES.into_iter().filter(is_wanted).collect())
    }
}

/// Builds what the guest needs, boots it and checks what it says.
///
/// # Errors
///
/// If a test fails, none ran, or the skipped tests are not the expected ones.
pub(crate) fn run(options: &Options) -> Result<Tally> {
    let packages = options.packages()?;
    let dir = workspace::target_dir()?.join("guest");
    std::fs::create_dir_all(&dir)?;
    let kernel = kernel::unpack(&dir)?;
    let tests = build(&dir, &packages)?;
    let archive = tree::archive(&dir, &kernel, &tests)?;
    let disk = tree::disk(&dir)?;
    let start = Instant::now();
    let said = machine::run(&kernel.image, &archive, &disk)?;
    println!("guest: {} s", start.elapsed().as_secs());
    judge(&said, &tests, &packages)
}

/// A test binary and the name it has in the guest.
#[derive(Debug)]
pub(crate) struct TestBinary {
    name: String,
    path: PathBuf,
    /// Which of its tests run.
    arguments: &'static [&'static str],
}

/// Builds the tests, statically linked.
fn build(dir: &Path, packages: &[Package]) -> Result<Vec<TestBinary>> {
    let mut cargo = workspace::cargo();
    cargo.args(["test", "--no-run", "--all-features", "--tests", "--message-format=json"]);
    cargo.arg(format!("--target={TRIPLE}")).arg("--target-dir").arg(dir.join("build"));
    cargo.args(packages.iter().map(|package| format!("--package={}", package.name)));
    cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static").env("CARGO_PROFILE_DEV_DEBUG", "0");
    // Optimised a little, because translated code is slow enough; assertions stay on.
    cargo.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
    let output = cargo.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the guest's tests do not build");
    let mut tests = Vec::new();
    for line in output.stdout.lines() {
        let message: Value = serde_json::from_str(&line?).context("cargo's messages")?;
        let Some(path) = message.get("executable").and_then(Value::as_str) else { continue };
        let is_test = message.pointer("/profile/test").and_then(Value::as_bool);
        if is_test == Some(true) {
            let path = PathBuf::from(path);
            let stem = path.file_stem().context("an executable has a name")?.to_string_lossy();
            let name = stem.rsplit_once('-').map_or(&*stem, |(name, _hash)| name);
            // Each package's integration tests are called `it`.
            let package = message.pointer("/manifest_path").and_then(Value::as_str);
            let package = package.and_then(|path| Path::new(path).parent()?.file_name());
            let package = package.context("a test has a manifest")?.to_string_lossy();
            let arguments = packages.iter().find(|known| known.name == package);
            let arguments = arguments.map_or(&[][..], |known| known.tests);
            tests.push(TestBinary { name: format!("{package}.{name}"), path, arguments });
        }
    }
    ensure!(!tests.is_empty(), "cargo built no test binary");
    tests.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tests)
}

/// Decides from the console what came of it.
fn judge(said: &[String], tests: &[TestBinary], packages: &[Package]) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut skips = Vec::new();
    for line in said {
        tally.add(line);
        if let Some(failure) = line.strip_prefix("GUEST failed ") {
            bail!("the guest could not {failure}");
        }
        skips.extend(line.strip_prefix("GUEST skip ").map(str::to_owned));
    }
    let is_bad = |test: &&TestBinary| !said.contains(&format!("GUEST end {} 0", test.name));
    let bad: Vec<&str> = tests.iter().filter(is_bad).map(|test| test.name.as_str()).collect();
    ensure!(bad.is_empty(), "failed in the guest, or never ended: {}", bad.join(", "));
    ensure!(said.iter().any(|line| line == "GUEST done"), "the guest stopped before its end");
    ensure!(tally.passed > 0 && tally.failed == 0, "in the guest: {tally}");
    let expected = Expectation::read("expected-skips-guest.txt")?;
    let of_these = expected.of_packages(|name| packages.iter().any(|package| package.name == name));
    tally.skipped = of_these.compare(&skips)?;
    println!("guest: {tally}");
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(said: &[&str]) -> Result<Tally, String> {
        let said: Vec<String> = said.iter().map(|line| (*line).to_owned()).collect();
        let tests = [TestBinary { name: "a".to_owned(), path: PathBuf::new(), arguments: &[] }];
        judge(&said, &tests, &PACKAGES).map_err(|error| error.to_string())
    }

    #[test]
    fn packages_are_chosen_by_name_and_must_have_tests_for_the_guest() {
        let chosen = |names: &[&str]| {
            let packages = names.iter().map(|name| (*name).to_owned()).collect();
            let chosen = Options { packages }.packages();
            chosen.map(|chosen| chosen.iter().map(|package| package.name).collect::<Vec<_>>())
        };
        assert_eq!(chosen(&[]).unwrap().len(), PACKAGES.len());
        assert_eq!(chosen(&["underpass"]).unwrap(), ["underpass"]);
        let error = chosen(&["underpass", "xtask"]).unwrap_err().to_string();
        assert!(error.starts_with("xtask has no tests for the guest; underpass-sys, "), "{error}");
    }

    const RESULT: &str = "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured";

    #[test]
    fn a_guest_that_ran_no_test_or_stopped_early_has_failed() {
        let error = verdict(&["GUEST done"]).unwrap_err();
        assert_eq!(error, "failed in the guest, or never ended: a");
        let error = verdict(&[RESULT, "GUEST end a 101", "GUEST done"]).unwrap_err();
        assert_eq!(error, "failed in the guest, or never ended: a");
        let error = verdict(&[RESULT, "GUEST end a 0"]).unwrap_err();
        assert_eq!(error, "the guest stopped before its end");
        let error = verdict(&["GUEST end a 0", "GUEST done"]).unwrap_err();
        assert_eq!(error, "in the guest: 0 passed, 0 failed, 0 skipped");
        let error = verdict(&["GUEST failed insmod tls.ko"]).unwrap_err();
        assert_eq!(error, "the guest could not insmod tls.ko");
    }

    #[test]
    fn an_unexpected_skip_in_the_guest_is_a_failure() {
        let skip = "GUEST skip SKIP no-such-package no_such_test: no reason";
        let error = verdict(&[RESULT, skip, "GUEST end a 0", "GUEST done"]).unwrap_err();
        assert!(error.contains("no-such-package no_such_test"), "{error}");
    }
}
