//! `cargo xtask bpf`: the probe's programs, compiled anew.
//!
//! The object is checked in, so that the workspace builds without clang. It has its source in it,
//! and a test of the crate finds one that was left behind; `--check` compiles it once more and
//! compares every byte, which takes the compiler that it was made by.

use std::fs;
use std::process::Command;

use anyhow::{Result, ensure};
use clap::Args;

use underpass_testkit::process::output;
use underpass_testkit::workspace;

/// The compiler, as Debian 12 has it: another one writes another object.
const CLANG: &str = "clang-14";
const STRIP: &str = "llvm-strip-14";

/// Where the programs are, and what they are called.
const DIRECTORY: &str = "crates/underpass-measure/src/probe";
const SOURCE: &str = "probe.bpf.c";
const OBJECT: &str = "probe.bpf.o";

/// Names nothing of the machine it is made on.
const FLAGS: [&str; 10] = [
    "-target",
    "bpf",
    "-mcpu=v3",
    "-g",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Werror",
    "-fdebug-compilation-dir=.",
];

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Only compare it with what is checked in.
    #[arg(long)]
    check: bool,
}

impl Options {
    pub(crate) const fn of_ci() -> Self {
        Self { check: true }
    }
}

/// Compiles the programs.
///
/// # Errors
///
/// If the compiler is missing or refuses them; if the object differs from the one that is there,
/// where that is asked.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = workspace::root().join(DIRECTORY);
    let made = workspace::target_dir()?.join(format!("{OBJECT}.{}", std::process::id()));
    output(
        Command::new(CLANG)
            .current_dir(&directory)
            .args(FLAGS)
            .args(["-c", SOURCE, "-o"])
            .arg(&made),
    )?;
    output(Command::new(STRIP).arg("-g").arg(&made))?;
    let (object, checked_in) = (fs::read(&made)?, directory.join(OBJECT));
    fs::remove_file(&made)?;
    if options.check {
        let version = output(Command::new(CLANG).arg("--version"))?;
        let version = version.lines().next().unwrap_or_default();
        ensure!(
            fs::read(&checked_in)? == object,
            "{OBJECT} is not what {version} makes of {SOURCE}: run `cargo xtask bpf`"
        );
        return Ok(());
    }
    fs::write(&checked_in, &object)?;
    println!("{OBJECT}: {} bytes", object.len());
    Ok(())
}
