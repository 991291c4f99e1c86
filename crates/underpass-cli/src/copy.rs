//! `underpass copy`: flags to a request, a bar on a terminal, one line or one JSON object a copy.
//!
//! Exit codes are exact: a copy that a signal ended has another one than a copy that failed.

mod arguments;
mod servers;

use std::collections::HashSet;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use underpass_copy::{Endpoint, Event, Failure, Interrupt, Report, Session, catch_signals};
use underpass_measure::printable;

pub(crate) use arguments::CopyArguments;

use crate::exit::{Ended, say, with_remedy};

/// Copies, once or for each peer that connects.
///
/// # Errors
///
/// Those of the copy, with what to do about them; [`Ended`] after a signal.
pub(crate) fn run(wanted: CopyArguments) -> anyhow::Result<()> {
    if wanted.keep_listening && !wanted.is_listening() {
        bail!("--keep-listening needs an end that listens; give tcp-listen://… or unix-listen://…");
    }
    // Before anything else is opened, since that would get the free number.
    if let Some(number) = wanted.closed_descriptor() {
        bail!("fd:{number} is not open; open it in the shell, for example with {number}<FILE");
    }
    let interrupt = catch_signals()?;
    let mut screen = Screen { bar: None, is_quiet: wanted.quiet };
    match &*wanted.sources {
        [source] if wanted.keep_listening => {
            let session = open(&wanted, source, &interrupt, &mut screen)?;
            serve(&wanted, &session, screen)
        }
        [source] => copy(&wanted, source, &interrupt, &mut screen),
        _ => copy_each(&wanted, &interrupt, &mut screen),
    }
}

fn open(
    wanted: &CopyArguments,
    source: &Endpoint,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> anyhow::Result<Session> {
    let opened = Session::open(wanted.request(source)?, interrupt, &mut |event| screen.show(event));
    opened.map_err(|error| with_remedy(&error, error.remedy()))
}

fn copy(
    wanted: &CopyArguments,
    source: &Endpoint,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let session = open(wanted, source, interrupt, screen)?;
    let answer = session.copy(&mut |event| screen.show(event));
    screen.clear();
    match answer {
        Ok(report) => print_report(wanted, &report),
        Err(failure) => Err(report_failure(wanted, &failure)?),
    }
}

/// Copies several sources into a directory; one that fails does not stop the others.
fn copy_each(
    wanted: &CopyArguments,
    interrupt: &Interrupt,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let CopyArguments { sources, sink, .. } = wanted;
    if wanted.is_listening() {
        bail!("several sources go into a directory; give one source to an end that listens");
    }
    if !matches!(sink, Endpoint::Path(path) if path.is_dir()) {
        bail!("{sink} is not a directory; several sources go into one");
    }
    let mut names = HashSet::new();
    let mut failed = 0;
    for source in sources {
        let copied = match source.file_name() {
            Some(name) if !names.insert(name) => {
                Err(anyhow!("{source} would replace the copy of another source of that name"))
            }
            Some(_) | None => copy(wanted, source, interrupt, screen),
        };
        match copied {
            Err(error) if error.is::<Ended>() => return Err(error),
            Err(error) => {
                say(&format!("underpass copy: {error:#}"));
                failed += 1;
            }
            Ok(()) => {}
        }
    }
    if failed > 0 {
        bail!("{failed} of {} sources were not copied", sources.len());
    }
    Ok(())
}

/// Copies for each peer, until a signal. Fails only if a signal cut a copy short or standard output
/// cannot be written: one peer's failure does not matter to the next.
fn serve(wanted: &CopyArguments, session: &Session, mut screen: Screen) -> anyhow::Result<()> {
    // One bar cannot show several copies.
    screen.is_quiet |= session.peers_max() > 1;
    let screen = Mutex::new(screen);
    let screen = || screen.lock().unwrap_or_else(PoisonError::into_inner);
    let ended = Mutex::new(None);
    let end = |error| {
        ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        ControlFlow::Break(())
    };
    session.serve(&|event| screen().show(event), &|answer| {
        // Held until everything is printed, so that the lines of two peers do not mix.
        let mut screen = screen();
        screen.clear();
        let said = match &answer {
            Ok(report) => print_report(wanted, report).map(|()| None),
            Err(failure) => report_failure(wanted, failure).map(Some),
        };
        match (said, answer) {
            (Ok(None), _) => ControlFlow::Continue(()),
            (Ok(Some(error)), Err(failure)) if failure.error.signal().is_none() => {
                say(&format!("underpass copy: {error:#}"));
                ControlFlow::Continue(())
            }
            (Ok(Some(error)), _) | (Err(error), _) => end(error),
        }
    });
    match ended.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn print_report(wanted: &CopyArguments, report: &Report) -> anyhow::Result<()> {
    if wanted.json {
        print_json(wanted, &serde_json::to_value(report)?)
    } else {
        if !wanted.quiet {
            say(&match &report.peer {
                Some(peer) if wanted.keep_listening => {
                    format!("{peer}: {report}")
                }
                Some(_) | None => report.to_string(),
            });
        }
        Ok(())
    }
}

/// The error to end with; with --json, prints what arrived, too.
fn report_failure(wanted: &CopyArguments, failure: &Failure) -> anyhow::Result<anyhow::Error> {
    let error = with_remedy(&failure.error, failure.error.remedy());
    let error = match &failure.kept {
        Some(kept) => {
            let kept = printable(&kept.display().to_string());
            anyhow::anyhow!("{error:#}; what arrived is in {kept}")
        }
        None => error,
    };
    if wanted.json {
        let mut value = serde_json::to_value(&failure.report)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("error".into(), format!("{error:#}").into());
            let kept = failure.kept.as_ref().map(|path| path.display().to_string());
            fields.insert("kept".into(), kept.into());
        }
        print_json(wanted, &value)?;
    }
    Ok(match failure.error.signal() {
        Some(signal) => Ended { signal, line: format!("{error:#}") }.into(),
        None => error,
    })
}

fn print_json(wanted: &CopyArguments, value: &Value) -> anyhow::Result<()> {
    let line = format!("{value}\n");
    if wanted.is_to_stdout() {
        say(line.trim_end());
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let printed = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    printed.context("cannot print the result to standard output")
}

/// Standard error, with a bar if it is a terminal.
struct Screen {
    bar: Option<ProgressBar>,
    is_quiet: bool,
}

impl Screen {
    fn show(&mut self, event: Event) {
        match event {
            // Printed even if quiet: it says where to connect.
            Event::Listening(address) => say(&format!("listening at {address}")),
            Event::Note(note) => self.say(&printable(&note)),
            Event::Progress { done, total, method } if !self.is_quiet => {
                let bar = self.bar.get_or_insert_with(|| bar(total));
                bar.set_position(done);
                bar.set_message(method.name());
            }
            Event::Progress { .. } | _ => {}
        }
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} \
             eta {eta} {msg}",
        ),
        None => (
            ProgressBar::new_spinner(),
            "{spinner} {decimal_bytes} {decimal_bytes_per_sec} {elapsed} {msg}",
        ),
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
