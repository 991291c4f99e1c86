//! `underpass tsdb analyze`.

#[cfg(feature = "html")]
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use underpass_tsdb::analyze::{self, Damages, Depth, Difference, Part, Report};
use underpass_tsdb::selector::{Selector, SelectorError};
use underpass_tsdb::{Block, Damage};

use super::losses::Losses;
use super::place::Place;
use super::usage::UsageArgument;
use crate::exit::print;

/// Count what a block holds and what it costs, or compare two blocks.
///
/// Shows the cardinality of metrics, label names and label pairs; the bytes that metrics and series
/// take in chunks and index; and churn, counted as promtool does. A churn of 5 means that series
/// were missing for as much time as five series have over the whole block. Ties in a list are in
/// the order of their names.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AnalyzeArguments {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    usage: UsageArgument,

    /// The name of the block; without it, the block that begins last.
    #[arg(value_name = "BLOCK")]
    block: Option<String>,

    /// Count only series that match, such as 'up{job="node"}'.
    ///
    /// Given several times, a series counts if one of them matches it.
    #[arg(long = "match", value_name = "SELECTOR", value_parser = typed, conflicts_with = "quick")]
    matching: Vec<(String, Selector)>,

    /// Compare with this block (its name or path): what is gone, what is new, what grew.
    #[arg(long, value_name = "BLOCK")]
    against: Option<String>,

    /// Read every chunk too: samples by metric and series, how full chunks are, their encodings.
    #[arg(long)]
    extended: bool,

    /// Read only postings, which takes milliseconds: cardinality and nothing else.
    #[arg(long, conflicts_with_all = ["extended", "against"])]
    quick: bool,

    /// How many entries each list has; 0 for all.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,

    /// Print JSON.
    #[arg(long)]
    json: bool,

    /// Instead of text, write an HTML page with plots.
    #[cfg(feature = "html")]
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  underpass tsdb analyze /var/lib/prometheus
      The latest block, without reading its chunks.
  underpass tsdb analyze data 01HF7MQX0000000000000000AB --extended --html block.html
      That block with its chunks, as a page with plots.
  underpass tsdb analyze data --against 01HF7MQX0000000000000000AB
      What has changed from that block to the latest.

Exit codes: 0 done, 1 something could not be read, 2 wrong usage.";

/// A selector as it was typed, which a report repeats.
fn typed(text: &str) -> Result<(String, Selector), SelectorError> {
    Ok((text.to_owned(), text.parse()?))
}

/// Counts and tells.
///
/// # Errors
///
/// If there is no such block, the output cannot be written, or something could not be read.
pub(crate) fn run(wanted: &AnalyzeArguments) -> anyhow::Result<()> {
    #[cfg(feature = "html")]
    if let Some(path) = &wanted.html {
        crate::page::require_writable(path, None)?;
    }
    let usage = wanted.usage.begin();
    let (block, of_others) = wanted.block()?;
    let (found, damages) = match &wanted.against {
        None => wanted.analyze(&block),
        Some(against) => wanted.compare(&wanted.place.named(against)?, &block),
    };
    wanted.write(found)?;
    usage.tell("analyze", wanted.place.backend());
    let mut losses = Losses::of("analyze");
    losses.tell(of_others.iter().filter(|damage| !damages.kept.contains(damage)));
    losses.tell(&damages.kept);
    losses.add(damages.more);
    losses.end()
}

/// What is told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Found {
    Block(Box<Report>),
    Blocks(Box<Difference>),
}

impl AnalyzeArguments {
    fn block(&self) -> anyhow::Result<(Block, Vec<Damage>)> {
        match &self.block {
            Some(name) => Ok((self.place.named(name)?, Vec::new())),
            None => self.place.latest(),
        }
    }

    const fn depth(&self) -> Depth {
        match (self.quick, self.extended) {
            (true, _) => Depth::Postings,
            (false, true) => Depth::Chunks,
            (false, false) => Depth::Series,
        }
    }

    fn analyze(&self, block: &Block) -> (Found, Damages) {
        let (part, mut damages) = Part::of(block, &self.matching);
        let (report, more) = analyze::analyze(block, &part, self.depth(), self.limit);
        damages.extend(more);
        (Found::Block(Box::new(report)), damages)
    }

    fn compare(&self, before: &Block, after: &Block) -> (Found, Damages) {
        let (before_part, mut damages) = Part::of(before, &self.matching);
        let (after_part, more) = Part::of(after, &self.matching);
        damages.extend(more);
        let (before, after) = ((before, &before_part), (after, &after_part));
        let (difference, more) = analyze::difference(before, after, self.depth(), self.limit);
        damages.extend(more);
        (Found::Blocks(Box::new(difference)), damages)
    }

    fn write(&self, found: Found) -> anyhow::Result<()> {
        #[cfg(feature = "html")]
        if let Some(path) = &self.html {
            return crate::page::write(path, &page(&found));
        }
        let text = match (self.json, &found) {
            (true, found) => serde_json::to_string_pretty(found)? + "\n",
            (false, Found::Block(report)) => analyze::text::render(report),
            (false, Found::Blocks(difference)) => analyze::text::render_difference(difference),
        };
        print(text.as_bytes())
    }
}

#[cfg(feature = "html")]
fn page(found: &Found) -> String {
    match found {
        Found::Block(report) => analyze::page::render(report),
        Found::Blocks(difference) => analyze::page::render_difference(difference),
    }
}
