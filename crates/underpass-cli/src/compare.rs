//! `underpass compare`: flags to a request, a bar while it runs, and the findings in the form that
//! was asked for.
//!
//! No signal is caught: what a comparison makes has no name and goes with the process.

mod arguments;
mod output;

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use underpass_measure::claims::{self, Claim, Given};
use underpass_measure::compare::report::Report;
use underpass_measure::compare::{self, CompareError, Program, Request, Specimen};
use underpass_measure::eyes::{self, Eyes, PAGE_BYTES, Wanted};

pub(crate) use arguments::CompareArguments;
use arguments::Ends;
use output::{Findings, Form};

/// Bytes that are looked at, at most: several times a processor's caches.
const EYES_BYTES_MAX: u64 = 64 << 20;

/// Steps of a bar that shows a share.
const SHARE_STEPS: u64 = 1000;

/// Measures and reports.
///
/// # Errors
///
/// If the file cannot be used, the page cannot be written, the network cannot be made, or a run
/// fails.
pub(crate) fn run(wanted: CompareArguments) -> anyhow::Result<()> {
    let form = Form::of(&wanted)?;
    let specimen = specimen(&wanted)?;
    require_a_page(&wanted, &specimen)?;
    let bar = bar();
    let report = report(&wanted, &specimen, &bar)?;
    let eyes = match wanted.pairs.contains(&Ends::Eyes) {
        true => Some(look(&wanted, &specimen, &report, &bar)?),
        false => None,
    };
    let claims = match wanted.claims {
        true => Some(judge(&wanted, &specimen, &report, eyes.as_ref(), &bar)?),
        false => None,
    };
    bar.finish_and_clear();
    form.write(&Findings { report, eyes, claims })
}

/// Carries out what a comparison asks of a separate process.
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
        None => Specimen::make(wanted.size)
            .context("no file can be made to compare with; name one, or give a smaller --size"),
    }
}

/// What is looked at through a mapping has a page at least.
fn require_a_page(wanted: &CompareArguments, specimen: &Specimen) -> anyhow::Result<()> {
    let bytes = wanted.bytes(specimen);
    let is_seen = wanted.pairs.contains(&Ends::Eyes);
    anyhow::ensure!(
        !is_seen || bytes >= PAGE_BYTES,
        "looking through a mapping takes {PAGE_BYTES} bytes at least, and there are {bytes}: give \
         a larger file or --size, or --pairs without file-eyes"
    );
    Ok(())
}

fn report(
    wanted: &CompareArguments,
    specimen: &Specimen,
    bar: &ProgressBar,
) -> Result<Report, CompareError> {
    let request = Request {
        bytes: wanted.bytes(specimen),
        pairs: wanted.pairs(),
        methods: wanted.methods.clone(),
        links: wanted.over.clone(),
        cold: wanted.cold,
        transfers: wanted.transfers.clone(),
        repeats: wanted.repeats,
        most: wanted.tier,
        program: Program::default(),
    };
    compare::run(specimen, &request, &mut |progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(progress.label.to_owned());
    })
}

fn look(
    wanted: &CompareArguments,
    specimen: &Specimen,
    report: &Report,
    bar: &ProgressBar,
) -> anyhow::Result<Eyes> {
    let looks = Wanted {
        bytes_max: wanted.bytes(specimen).min(EYES_BYTES_MAX),
        repeats: wanted.repeats,
        cold: wanted.cold,
    };
    let mut eyes = eyes::run(&specimen.path(), &looks, &mut |share| {
        show(bar, share, "file → the program's own eyes");
        ControlFlow::Continue(())
    })?;
    eyes.file = report.conditions.file.clone().into();
    Ok(eyes)
}

fn judge(
    wanted: &CompareArguments,
    specimen: &Specimen,
    report: &Report,
    eyes: Option<&Eyes>,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Claim>> {
    let (directory, program, most) = (specimen.directory(), &Program::default(), wanted.tier);
    Ok(claims::run(&Given { directory, program, report, most, eyes }, &mut |share, what| {
        show(bar, share, what);
        ControlFlow::Continue(())
    })?)
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shares are 0 to 1")]
fn show(bar: &ProgressBar, share: f64, what: &str) {
    bar.set_length(SHARE_STEPS);
    bar.set_position((share.clamp(0.0, 1.0) * SHARE_STEPS as f64) as u64);
    bar.set_message(what.to_owned());
}
