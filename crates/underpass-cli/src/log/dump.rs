//! `underpass log dump`.

use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use underpass_log::dump::{self, DumpError, DumpOptions};

/// Print the batches of a segment, or of all segments of a partition.
///
/// The words are those of Kafka's DumpLogSegments. A batch that is not whole ends its segment: it
/// is named on standard error with its byte, and the exit code is then 1.
#[derive(Debug, Args)]
pub(crate) struct DumpArguments {
    /// A segment file, or the directory of a partition.
    path: PathBuf,

    /// Also print the records: offsets, times, keys, values, and the keys of headers.
    #[arg(long)]
    records: bool,

    /// Leave out batches before the one with this offset.
    #[arg(long, value_name = "OFFSET", default_value_t = 0)]
    from: i64,

    /// Print this many batches at most.
    #[arg(long, value_name = "NUMBER")]
    batches: Option<u64>,

    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Prints what is wanted.
///
/// # Errors
///
/// If a file cannot be read, or is not whole.
pub(crate) fn run(wanted: &DumpArguments) -> anyhow::Result<()> {
    let DumpArguments { records, from, batches, json, .. } = *wanted;
    let options = DumpOptions { from, batches, records, json };
    let mut out = BufWriter::new(stdout().lock());
    let findings = match dump::dump(&wanted.path, &options, &mut out) {
        // The error of the writer itself says whether its reader has gone.
        Err(DumpError::Write(error)) => return Err(error).context("cannot write"),
        findings => findings?,
    };
    match findings.first() {
        None => Ok(()),
        Some(first) if findings.len() == 1 => anyhow::bail!("{first}"),
        Some(first) => anyhow::bail!("{first}; and {} more segments", findings.len() - 1),
    }
}
