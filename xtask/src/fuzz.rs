//! `cargo xtask fuzz`: every fuzz target for some seconds, from the inputs that are kept.
//!
//! Without a sanitizer, which needs a nightly compiler: the crates that parse forbid unsafe code,
//! and what a target asserts is checked anyway. Inputs that reach something new stay in the target
//! directory; one that fails is left in `fuzz/artifacts`, and `cargo fuzz run TARGET FILE` repeats
//! it.
//!
//! Source: the cargo-fuzz book, "Setup"; LLVM, libFuzzer, "Options".

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::ci;
use underpass_testkit::workspace;

/// What one input may take: under load a target that talks to a server takes a while.
const TIMEOUT_S: u32 = 60;

const MEMORY_MIB: u32 = 2048;

/// Targets that talk to whole programs: what an input reaches depends on the machine's timing, so
/// that two runs differ. Unless they are named, they only run the inputs that are kept.
const WHOLE_PROGRAMS: [&str; 4] = ["conversation", "download", "exchange", "http2"];

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs.
    #[arg(long, default_value_t = Self::default().seconds)]
    seconds: u32,
    /// Only these; without names, those that talk to whole programs run their kept inputs alone.
    targets: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 4, targets: Vec::new() }
    }
}

/// Builds the targets and runs them one after the other.
///
/// # Errors
///
/// Which of them failed.
pub(crate) fn run(options: &Options) -> Result<()> {
    ci::need("fuzz")?;
    let manifest = workspace::root().join("fuzz/Cargo.toml");
    let mut format = workspace::cargo();
    ci::succeed(format.args(["fmt", "--check", "--manifest-path"]).arg(manifest))?;
    ci::succeed(fuzz("build").args(["--sanitizer", "none"]))?;
    let mut failed = Vec::new();
    for target in targets()? {
        let is_named = options.targets.contains(&target);
        let is_asked = options.targets.is_empty() || is_named;
        let is_for_kept = !is_named && WHOLE_PROGRAMS.contains(&&*target);
        let limit = if is_for_kept { "-runs=0".to_owned() } else { time(options.seconds) };
        if is_asked && let Err(error) = run_target(&target, &limit) {
            println!("error: {error:#}");
            failed.push(target);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn fuzz(command: &str) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(["fuzz", command]);
    cargo
}

fn targets() -> Result<Vec<String>> {
    let output = fuzz("list").output()?;
    ensure!(output.status.success(), "cargo fuzz list: {}", output.status);
    let list = String::from_utf8(output.stdout).context("cargo fuzz list")?;
    Ok(list.lines().map(str::to_owned).collect())
}

fn time(seconds: u32) -> String {
    format!("-max_total_time={seconds}")
}

fn run_target(target: &str, limit: &str) -> Result<()> {
    let new = workspace::target_dir()?.join("fuzz").join(target);
    std::fs::create_dir_all(&new)?;
    let kept = workspace::root().join("fuzz/corpus").join(target);
    let mut run = fuzz("run");
    run.args(["--sanitizer", "none", target]).args([new, kept]).arg("--");
    run.args([limit, "-seed=1"]).arg(format!("-timeout={TIMEOUT_S}"));
    ci::succeed(run.arg(format!("-rss_limit_mb={MEMORY_MIB}")).arg("-verbosity=0"))
}
