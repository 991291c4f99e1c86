//! `underpass tsdb labels` and `underpass tsdb values`.

use std::io::{BufWriter, Write};
use std::ops::ControlFlow;

use clap::Args;
use underpass_tsdb::Pattern;
use underpass_tsdb::names::{self, Names};

use super::losses::Losses;
use super::place::Place;
use super::selecting::Selecting;

/// Print label names, sorted.
///
/// Without --match and times they come from the postings offset table alone; otherwise they are
/// those of the series that 'tsdb series' prints.
#[derive(Debug, Args)]
pub(crate) struct LabelsArguments {
    #[command(flatten)]
    from: From,
}

/// Print the values of a label, sorted.
///
/// Without --match and times they come from the postings offset table alone; otherwise they are
/// those of the series that 'tsdb series' prints. Metric names are the values of '__name__'.
#[derive(Debug, Args)]
pub(crate) struct ValuesArguments {
    /// The label's name.
    #[arg(value_name = "LABEL")]
    label: String,

    #[command(flatten)]
    from: From,
}

#[derive(Debug, Args)]
struct From {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    selecting: Selecting,

    /// Print a JSON string on each line.
    ///
    /// Without this, text is printed as it is, but in quotes with Go's escapes if it is empty, not
    /// UTF-8, has control characters or begins with a quote.
    #[arg(long)]
    json: bool,
}

/// Prints label names.
///
/// # Errors
///
/// If nothing can be read or printed, or not everything could be read.
pub(crate) fn run_labels(wanted: &LabelsArguments) -> anyhow::Result<()> {
    run(&wanted.from, Names::Labels, Losses::of("labels"))
}

/// Prints the values of a label.
///
/// # Errors
///
/// If nothing can be read or printed, or not everything could be read.
pub(crate) fn run_values(wanted: &ValuesArguments) -> anyhow::Result<()> {
    run(&wanted.from, Names::Values(wanted.label.as_bytes()), Losses::of("values"))
}

fn run(wanted: &From, names: Names<'_>, mut losses: Losses) -> anyhow::Result<()> {
    let (blocks, damages) = wanted.place.open()?;
    losses.tell(damages);
    blocks.iter().for_each(|block| block.index().file().advise(Pattern::Random));
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    let mut written = Ok(());
    losses.tell(names.each(&wanted.selecting.of(&blocks), &mut |name| {
        let line = if wanted.json { names::json(name) } else { names::text(name) };
        written = writeln!(out, "{line}");
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }));
    written.and_then(|()| out.flush())?;
    losses.end()
}
