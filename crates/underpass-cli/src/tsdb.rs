//! `underpass tsdb`: what is done with the blocks of a Prometheus database.
//!
//! Each command has its file.

mod analyze;
mod dump;
mod head;
mod labels;
mod list;
mod losses;
mod place;
mod selecting;
mod series;
mod serve;
#[cfg(feature = "parquet")]
mod tables;
mod target;
mod usage;
mod verify;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use clap::{Args, Subcommand};

use analyze::AnalyzeArguments;
use dump::DumpArguments;
use head::HeadArguments;
use labels::{LabelsArguments, ValuesArguments};
use list::ListArguments;
use series::SeriesArguments;
pub(crate) use serve::ServeArguments;
use verify::VerifyArguments;

/// Read the blocks of a Prometheus database, without writing a byte near them.
///
/// PATH is a block, a directory of blocks, or the data directory of Prometheus, Thanos or Mimir. It
/// may be on a read-only file system, and needs no 'wal'. What is damaged is named on standard
/// error with its file and byte, and everything else is read; the exit code is then 1.
#[derive(Debug, Args)]
pub(crate) struct TsdbArguments {
    #[command(subcommand)]
    command: TsdbCommand,
}

#[derive(Debug, Subcommand)]
enum TsdbCommand {
    /// List blocks: their time ranges, sizes and samples.
    List(ListArguments),
    /// Count what a block holds and what it costs, or compare two blocks.
    Analyze(AnalyzeArguments),
    /// Verify blocks: every checksum, and that the parts agree with one another.
    Verify(VerifyArguments),
    /// Let a stock Prometheus query old blocks, through its remote read.
    Serve(Box<ServeArguments>),
    Series(SeriesArguments),
    Labels(LabelsArguments),
    Values(ValuesArguments),
    /// Print samples: as promtool does, as OpenMetrics, CSV or JSON.
    Dump(DumpArguments),
    Head(HeadArguments),
}

/// Carries out the command.
///
/// # Errors
///
/// If nothing can be read, or something was damaged.
pub(crate) fn run(wanted: TsdbArguments) -> anyhow::Result<()> {
    match wanted.command {
        TsdbCommand::List(wanted) => list::run(&wanted),
        TsdbCommand::Analyze(wanted) => analyze::run(&wanted),
        TsdbCommand::Verify(wanted) => verify::run(&wanted),
        TsdbCommand::Serve(wanted) => serve::run(*wanted),
        TsdbCommand::Series(wanted) => series::run(&wanted),
        TsdbCommand::Labels(wanted) => labels::run_labels(&wanted),
        TsdbCommand::Values(wanted) => labels::run_values(&wanted),
        TsdbCommand::Dump(wanted) => dump::run(&wanted),
        TsdbCommand::Head(wanted) => head::run(&wanted),
    }
}

/// Standard output without a buffer, for what writes whole pages.
fn stdout() -> anyhow::Result<File> {
    let stdout = io::stdout().as_fd().try_clone_to_owned();
    Ok(stdout.context("standard output is closed")?.into())
}
