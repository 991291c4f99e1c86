//! `underpass explain`: watches until something ends the watch, then tells what was seen.
//!
//! How often it looks depends on what a look costs, so that watching takes a small share of one
//! processor however many files and sockets there are.

mod arguments;
mod child;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use underpass_measure::explain::watch::{Summary, Watch};
use underpass_measure::printable;

pub(crate) use arguments::{ExplainArguments, tier};
pub(crate) use child::become_command;

use crate::exit::{is_unread, print, say};
use child::Child;

/// Looks are at least so far apart.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The pause between two looks, in times of what a look takes; longer if there is no time to spare.
const PAUSE_LOOKS: u32 = 150;
const PAUSE_LOOKS_BUSY: u32 = 600;

/// The budget, in percent, with which there are no rests.
const EVERYTHING: f64 = 100.0;

/// A command that was asked to end may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches and reports.
///
/// # Errors
///
/// If there is nothing to watch, if the command fails, or if less left by reference than was
/// demanded.
pub(crate) fn run(wanted: ExplainArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(watch(wanted))
}

async fn watch(wanted: ExplainArguments) -> anyhow::Result<()> {
    // A reader of the first line may end the watch at once.
    let mut endings = Endings::new()?;
    let mut child = match wanted.command.as_slice() {
        [] => None,
        command => Some(Child::start(command, wanted.json)?),
    };
    let process = child.as_ref().map(Child::id).or(wanted.process);
    let process = process.context("give a PID or a command")?;
    let mut watch = Watch::start_within(process, wanted.tier)?;
    if wanted.budget < EVERYTHING {
        watch.limit(wanted.budget / 100.0)?;
    }
    announce(&watch, child.as_ref());
    if let Some(child) = &child {
        child.resume()?;
    }
    let now = Instant::now();
    let mut session = Session { wanted: &wanted, begun: now, told: now, is_read: true };
    session.until_the_end(&mut watch, child.as_mut(), &mut endings).await?;
    let mut summary = watch.summary()?;
    if let Some(child) = &child {
        name_command(&mut summary, child);
    }
    // What is checked holds whether anybody reads the report or not.
    let told = print(final_text(&summary, wanted.json)?.as_bytes());
    if let Some(child) = &mut child {
        child.check()?;
    }
    if let Some(min) = wanted.min_by_reference {
        summary.check(min)?;
    }
    told
}

/// A command that was over before it could be looked at was seen as this program alone.
fn name_command(summary: &mut Summary, child: &Child) {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().and_then(Path::file_name);
    if let Some((_, program)) = summary.followed.first_mut()
        && own.is_some_and(|own| own.to_string_lossy() == program.as_str())
        && let Some(name) = Path::new(child.name()).file_name()
    {
        *program = name.to_string_lossy().into_owned();
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

struct Session<'a> {
    wanted: &'a ExplainArguments,
    begun: Instant,
    told: Instant,
    /// Whether anyone reads the result so far.
    is_read: bool,
}

/// The signals that can end a watch.
struct Endings {
    interrupt: Signals,
    terminate: Signals,
    child: Signals,
}

impl Endings {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            child: signal(SignalKind::child())?,
        })
    }
}

/// What ends a pause.
enum Event {
    Turn,
    Look,
    Interrupt,
    Terminate,
}

impl Session<'_> {
    async fn until_the_end(
        &mut self,
        watch: &mut Watch,
        mut child: Option<&mut Child>,
        endings: &mut Endings,
    ) -> anyhow::Result<()> {
        let mut due = Instant::now() + PAUSE_MIN;
        let mut asked: Option<Instant> = None;
        loop {
            let pause = due.saturating_duration_since(Instant::now());
            let turn = watch.turn()?.filter(|turn| *turn < pause);
            let event = tokio::select! {
                _ = endings.interrupt.recv() => Event::Interrupt,
                _ = endings.terminate.recv() => Event::Terminate,
                _ = endings.child.recv() => Event::Look,
                () = tokio::time::sleep(turn.unwrap_or(pause)) => {
                    if turn.is_some() { Event::Turn } else { Event::Look }
                }
            };
            if matches!(event, Event::Turn) {
                continue;
            }
            let is_due = self.wanted.length.is_some_and(|length| self.begun.elapsed() >= length);
            let is_end = is_due || !matches!(event, Event::Look);
            let before = Instant::now();
            // Before the command is asked to end: then there is nothing left to look at.
            watch.look()?;
            match child.as_deref_mut() {
                None if is_end || watch.is_over() => return Ok(()),
                None => {}
                Some(child) => {
                    if child.try_wait()?.is_some()
                        || asked.is_some_and(|asked| asked.elapsed() > PATIENCE)
                    {
                        return Ok(());
                    }
                    if is_end && asked.is_none() {
                        asked = Some(Instant::now());
                        // Ctrl-C reaches the command by itself: it is of the same foreground.
                        if !matches!(event, Event::Interrupt) {
                            child.signal(Signal::TERM)?;
                        }
                    }
                }
            }
            self.tell_of(watch)?;
            let times = if watch.is_partial() { PAUSE_LOOKS_BUSY } else { PAUSE_LOOKS };
            due = Instant::now() + (before.elapsed() * times).max(PAUSE_MIN).min(self.longest());
        }
    }

    /// No pause may outlast what is next.
    fn longest(&self) -> Duration {
        let end = self.wanted.length.map(|length| length.saturating_sub(self.begun.elapsed()));
        let next = self.wanted.every.map(|every| every.saturating_sub(self.told.elapsed()));
        end.unwrap_or(Duration::MAX).min(next.unwrap_or(Duration::MAX)).max(PAUSE_MIN)
    }

    /// Prints the result so far, if it is time.
    fn tell_of(&mut self, watch: &mut Watch) -> anyhow::Result<()> {
        let Some(every) = self.wanted.every.filter(|_| self.is_read) else { return Ok(()) };
        if self.told.elapsed() < every {
            return Ok(());
        }
        self.told = Instant::now();
        let summary = watch.summary()?;
        let text = if self.wanted.json {
            serde_json::to_string(&summary)? + "\n"
        } else {
            summary.line() + "\n"
        };
        match print(text.as_bytes()) {
            Err(error) if self.wanted.min_by_reference.is_some() && is_unread(&error) => {
                self.is_read = false;
                Ok(())
            }
            told => told,
        }
    }
}
