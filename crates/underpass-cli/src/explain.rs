//! `underpass explain`: what is watched, what ends it, and what is printed.

mod arguments;
mod child;
mod signals;

use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use underpass_measure::{Came, Session, Summary, Watch, printable};

pub(crate) use arguments::{ExplainArguments, tier};
pub(crate) use child::become_command;

use crate::exit::{is_unread, print, say};
use child::Child;
use signals::Signals;

/// The budget, in percent, with which there are no rests.
const EVERYTHING: f64 = 100.0;

/// Watches and reports.
///
/// # Errors
///
/// If there is nothing to watch, if the command fails, or if less left by reference than was
/// demanded.
pub(crate) fn run(wanted: ExplainArguments) -> anyhow::Result<()> {
    // A reader of the first line may end the watch at once.
    let mut signals = Signals::catch()?;
    let mut child = match wanted.command.as_slice() {
        [] => None,
        command => Some(Child::start(command, wanted.json)?),
    };
    let process = child.as_ref().map(Child::id).or(wanted.process);
    let process = process.context("give a PID or a command")?;
    let mut watch = Watch::start_within(process, wanted.tier)?;
    if wanted.budget < EVERYTHING {
        // Rests are by chance, and no two watches rest alike.
        let seed = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
        watch.limit(wanted.budget / 100.0, seed.into())?;
    }
    announce(&watch, child.as_ref());
    if let Some(child) = &mut child {
        child.resume(watch.tier())?;
    }
    let mut live = Live { wanted: &wanted, error: None };
    let name = child.as_ref().map(|child| child.name().to_owned());
    let session = Session {
        command: name.as_deref(),
        length: wanted.length,
        every: wanted.every,
        wait: &mut |most| {
            let came = signals.wait(most);
            child.iter_mut().filter(|_| came == Came::Child).for_each(Child::reap);
            came
        },
        tell: &mut |summary| live.tell(summary),
    };
    let (summary, asked) =
        session.run(&mut watch).map_err(|error| unwatched(&watch, error.into()))?;
    if let Some(error) = live.error {
        return Err(error);
    }
    // What is checked holds whether anybody reads the report or not.
    let told = print(final_text(&summary, wanted.json)?.as_bytes());
    if let Some(child) = &mut child {
        child.check(&asked)?;
    }
    if let Some(min) = wanted.min_by_reference {
        summary.check(min)?;
    }
    told
}

/// A failure of the watch: the watched program has not failed.
fn unwatched(watch: &Watch, error: anyhow::Error) -> anyhow::Error {
    match watch.is_over() {
        true => error,
        false => error
            .context(format!("the watch failed and leaves {} running", printable(&watch.names()))),
    }
}

fn announce(watch: &Watch, child: Option<&Child>) {
    let names = child.map_or_else(|| watch.names(), |child| child.name().to_owned());
    let why = watch.tier_why().map_or_else(String::new, |why| format!(" ({why})"));
    say(&format!("watching {} in tier {:?}{why}", printable(&names), watch.tier()));
}

fn final_text(summary: &Summary, is_json: bool) -> anyhow::Result<String> {
    if is_json { Ok(serde_json::to_string(summary)? + "\n") } else { Ok(summary.text()) }
}

/// The result so far, as it is printed.
struct Live<'a> {
    wanted: &'a ExplainArguments,
    /// Why nothing was printed any more.
    error: Option<anyhow::Error>,
}

impl Live<'_> {
    fn tell(&mut self, summary: &Summary) -> ControlFlow<()> {
        let line = if self.wanted.json {
            serde_json::to_string(summary).map(|text| text + "\n").map_err(anyhow::Error::from)
        } else {
            Ok(summary.line() + "\n")
        };
        match line.and_then(|line| print(line.as_bytes())) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) if self.wanted.min_by_reference.is_some() && is_unread(&error) => {
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.error = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}
