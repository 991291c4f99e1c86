//! `underpass compare`: flags to a request, a bar while it runs, and the findings in the form that
//! was asked for.
//!
//! No signal is caught: what a comparison makes goes with the process, or is removed after it.

mod arguments;
mod output;

use std::io;
use std::os::fd::AsFd;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use underpass_measure::{Findings, Program, Request, Specimen};

pub(crate) use arguments::CompareArguments;
use arguments::Ends;
use output::Form;

/// What is looked at through a mapping has a page at least.
const PAGE_BYTES: u64 = 4096;

/// Measures and reports.
///
/// # Errors
///
/// If the file cannot be used, the page cannot be written, the network cannot be made, or a run
/// fails.
pub(crate) fn run(wanted: CompareArguments) -> anyhow::Result<()> {
    let form = Form::of(&wanted)?;
    let specimen = specimen(&wanted)?;
    let request = request(&wanted, wanted.size.min(specimen.bytes()));
    anyhow::ensure!(
        !request.eyes || request.bytes >= PAGE_BYTES,
        "looking through a mapping takes {PAGE_BYTES} bytes at least, and there are {}: give a \
         larger file or --size, or --pairs without file-eyes",
        request.bytes
    );
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
    let bar =
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let findings = Findings::of(&specimen, &request, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.label.to_owned());
    })?;
    bar.finish_and_clear();
    form.write(&findings)
}

/// Carries out what a comparison asks of a separate process.
///
/// # Errors
///
/// Those of the channel, which standard input is.
pub(crate) fn serve() -> anyhow::Result<()> {
    Ok(underpass_measure::serve(io::stdin().as_fd())?)
}

fn specimen(wanted: &CompareArguments) -> anyhow::Result<Specimen> {
    match &wanted.file {
        Some(path) => {
            Specimen::open(path).with_context(|| format!("{} cannot be compared", path.display()))
        }
        None => Specimen::make(wanted.size)
            .context("no file can be made to compare with; name one, or give a smaller --size"),
    }
}

fn request(wanted: &CompareArguments, bytes: u64) -> Request {
    let pair = |ends: &Ends| match ends {
        Ends::Pair(pair) => Some(*pair),
        Ends::Eyes => None,
    };
    Request {
        bytes,
        pairs: wanted.pairs.iter().filter_map(pair).collect(),
        methods: wanted.methods.clone(),
        links: wanted.over.clone(),
        cold: wanted.cold,
        transfers: wanted.transfers.clone(),
        repeats: wanted.repeats,
        most: wanted.tier,
        eyes: wanted.pairs.contains(&Ends::Eyes),
        claims: wanted.claims,
        program: Program::default(),
    }
}
