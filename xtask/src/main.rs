//! The project's own commands: `cargo xtask ci | tidy | bench | bpf | clients | fuzz | guest | …`.
//!
//! CI runs `cargo xtask ci` and nothing else, so whatever it checks can be run here as it is
//! run there.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what these commands find is what they print")]

mod bench;
mod bpf;
mod ci;
mod clients;
mod fuzz;
mod guest;
mod long;
mod outcome;
mod package;
mod programs;
mod tidy;
mod without_features;

use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", version)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures against competitors, side by side in one run; `bench --help` names them.
    #[command(disable_help_flag = true)]
    Bench {
        /// What underpass-bench is given.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Compiles the probe's programs for the kernel.
    Bpf(bpf::Options),
    /// Runs everything that must hold, and prints each command.
    Ci {
        /// The tests that take minutes instead, all or those with WORD in their names.
        #[arg(long, value_name = "WORD", num_args = 0..=1, default_missing_value = "")]
        long: Option<String>,
    },
    /// Runs Kafka's clients on a server of this workspace and writes what they can do to `docs`.
    Clients(clients::Options),
    /// Gives each parser of what peers send some seconds of made-up input.
    Fuzz(fuzz::Options),
    /// Runs the engine's and the probe's tests on Debian's kernel in a virtual machine.
    Guest(guest::Options),
    /// Makes a Debian package of the program.
    Package(package::Options),
    /// Runs programs that people run under `underpass explain` and writes what it says to `docs`.
    Programs,
    /// Checks the rules of the house that no compiler checks.
    Tidy(tidy::Options),
}

/// A failure whose account has been printed, so that the line printed last can be another.
#[derive(Debug)]
struct Told;

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed as told above")
    }
}

impl std::error::Error for Told {}

fn main() -> ExitCode {
    match run(Options::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                println!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Bpf(options) => bpf::run(&options),
        Command::Ci { long: None } => ci::run(),
        Command::Ci { long: Some(word) } => long::run(&word),
        Command::Clients(options) => clients::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Guest(options) => guest::run(&options).map(drop),
        Command::Package(options) => package::run(&options),
        Command::Programs => programs::run(),
        Command::Tidy(options) => tidy::run(&options),
    }
}
