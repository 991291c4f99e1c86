//! `underpass tsdb series`.

use std::io::{BufWriter, Write};

use clap::Args;
use underpass_tsdb::{Pattern, Series};

use super::losses::Losses;
use super::place::Place;
use super::selecting::Selecting;
use super::usage::UsageArgument;

/// Print the labels of series that have samples, sorted.
///
/// Only the index is read. A series is printed if one of its chunks has times in the range and was
/// not deleted as a whole.
#[derive(Debug, Args)]
pub(crate) struct SeriesArguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    selecting: Selecting,

    #[command(flatten)]
    usage: UsageArgument,

    /// Print a JSON object on a line for each series, as promtool's '--format=seriesjson'.
    #[arg(long)]
    json: bool,
}

/// Prints a line for each series.
///
/// # Errors
///
/// If nothing can be read or printed, or not everything could be read.
pub(crate) fn run(wanted: &SeriesArguments) -> anyhow::Result<()> {
    let usage = wanted.usage.begin();
    let (blocks, damages) = wanted.place.open()?;
    let mut losses = Losses::of("series");
    losses.tell(damages);
    blocks.iter().for_each(|block| block.index().file().advise(Pattern::Random));
    let selection = wanted.selecting.of(&blocks);
    let (mut merged, mut series) = (selection.series(), Series::default());
    let mut out = BufWriter::with_capacity(64 << 10, std::io::stdout().lock());
    while merged.next_into(&mut series) {
        let line = if wanted.json { series.labels.json() } else { series.labels.to_string() };
        writeln!(out, "{line}")?;
        losses.tell(merged.take_losses());
    }
    out.flush()?;
    usage.tell("series", wanted.place.backend());
    losses.tell(merged.take_losses());
    losses.end()
}
