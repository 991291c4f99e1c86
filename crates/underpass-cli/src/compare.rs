//! `underpass compare`: flags to a request, a bar while it runs, and the report in the form that
//! was asked for.
//!
//! No signal is caught: what a comparison makes has no name and goes with the process.

mod arguments;

use std::io::{self, Write};
use std::os::fd::AsFd;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use underpass_measure::compare::report::Report;
use underpass_measure::compare::{self, Program, Request, Specimen, table};

pub(crate) use arguments::CompareArguments;

/// Measures and reports.
///
/// # Errors
///
/// If the file cannot be used, the network cannot be made, or a run fails.
pub(crate) fn run(wanted: CompareArguments) -> anyhow::Result<()> {
    let specimen = specimen(&wanted)?;
    let bytes = wanted.bytes(&specimen);
    let request = Request {
        bytes,
        pairs: wanted.pairs.clone(),
        methods: wanted.methods.clone(),
        links: wanted.over.clone(),
        cold: wanted.cold,
        transfers: wanted.transfers.clone(),
        repeats: wanted.repeats,
        program: Program::default(),
    };
    let bar = bar();
    let report = compare::run(&specimen, &request, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.label.to_owned());
    });
    bar.finish_and_clear();
    let report = report?;
    print(&report, wanted.json)
}

/// Carries out what a comparison asks of a process of its own.
///
/// # Errors
///
/// Those of the channel, which standard input is.
pub(crate) fn serve() -> anyhow::Result<()> {
    Ok(compare::serve(io::stdin().as_fd())?)
}

fn specimen(wanted: &CompareArguments) -> anyhow::Result<Specimen> {
    match &wanted.file {
        Some(path) => {
            Specimen::open(path).with_context(|| format!("{} cannot be compared", path.display()))
        }
        None => Specimen::make(wanted.size).context("no file can be made to compare with"),
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    let mut text =
        if as_json { serde_json::to_string_pretty(report)? } else { table::render(report) };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
