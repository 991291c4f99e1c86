//! The course of a watch: when it looks and rests, what is told meanwhile, and how it ends.
//!
//! How often it looks depends on what a look costs, so that watching takes a small share of one
//! processor however many files and sockets there are.
//!
//! What a program gave to a socket leaves after the program has ended. So the end is waited for,
//! as long as something moves.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::explain::{Summary, Watch, WatchError};

/// Looks are at least so far apart.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The pause between two looks, in times of what a look takes; longer if there is no time to spare.
const PAUSE_LOOKS: u32 = 150;
const PAUSE_LOOKS_BUSY: u32 = 600;

/// A command that was asked to end may take so long, with its children.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who was killed is gone after this many short pauses, or never.
const PAUSES_TO_END: u32 = 100;
const SHORT: Duration = Duration::from_millis(10);

/// What is queued in sockets of programs that have ended may stand still so long,
const STALLED: Duration = Duration::from_secs(2);
/// and take so long in all.
const QUEUED_MAX: Duration = Duration::from_secs(10);

/// What ended a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Nothing: it is over.
    Time,
    /// A child changed: it may have ended.
    Child,
    /// Somebody wants the watch to end.
    Signal {
        /// Which it was.
        signal: Signal,
        /// Whether a terminal sent it, to every process of the foreground.
        is_from_terminal: bool,
    },
}

/// The course of a watch, until it ends.
#[expect(missing_debug_implementations, reason = "it has closures")]
pub struct Session<'a> {
    /// Whether the watched process is a child that was started for this.
    pub is_command: bool,
    /// When it ends at the latest.
    pub length: Option<Duration>,
    /// How often the result so far is told.
    pub every: Option<Duration>,
    /// Waits at most so long, and says what came.
    pub wait: &'a mut dyn FnMut(Duration) -> Came,
    /// Takes the result so far; the watch ends if it breaks.
    pub tell: &'a mut dyn FnMut(&Summary) -> ControlFlow<()>,
}

impl Session<'_> {
    /// Watches until there is nothing left to watch, or a signal or the time ends it.
    ///
    /// A command is then sent that signal, with all that descend from it; who is still there five
    /// seconds later, or at a second signal, is killed. What a command has left running when it
    /// ended by itself is left alone.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn run(mut self, watch: &mut Watch) -> Result<Summary, WatchError> {
        watch.learning.context.is_from_start = self.is_command;
        let was_asked = self.until_the_end(watch);
        let killed = match was_asked {
            Ok(false) => Vec::new(),
            Ok(true) | Err(_) if self.is_command => self.kill(watch),
            Ok(true) | Err(_) => Vec::new(),
        };
        was_asked?;
        let has_ended = !watch.is_root_there();
        let queued = if has_ended { self.drain(watch)? } else { 0 };
        let mut summary = watch.summary()?;
        summary.queued_bytes = queued;
        summary.killed = killed;
        if self.is_command && has_ended {
            summary.left_running = watch.there();
        }
        Ok(summary)
    }

    /// Whether it was a signal, the time, or who is told that ended it.
    fn until_the_end(&mut self, watch: &mut Watch) -> Result<bool, WatchError> {
        let begun = Instant::now();
        let (mut told, mut due) = (begun, begun + PAUSE_MIN);
        let mut asked: Option<Instant> = None;
        loop {
            let pause = due.saturating_duration_since(Instant::now());
            let turn = watch.turn()?.filter(|turn| *turn < pause);
            let came = (self.wait)(turn.unwrap_or(pause));
            if came == Came::Time && turn.is_some() {
                continue;
            }
            let before = Instant::now();
            // Before the command is asked to end: then there is nothing left to look at.
            watch.look()?;
            let mut is_end = self.length.is_some_and(|length| begun.elapsed() >= length);
            if self.every.is_some_and(|every| told.elapsed() >= every) {
                told = Instant::now();
                is_end |= (self.tell)(&watch.summary()?).is_break();
            }
            let ending = match came {
                Came::Signal { signal, is_from_terminal } => Some((signal, is_from_terminal)),
                Came::Time | Came::Child if is_end => Some((Signal::TERM, false)),
                Came::Time | Came::Child => None,
            };
            match (asked, ending) {
                _ if watch.is_over() => return Ok(asked.is_some()),
                (None, None) if self.is_command && !watch.is_root_there() => return Ok(false),
                (None, Some(_)) if !self.is_command => return Ok(true),
                (None, Some((signal, is_from_terminal))) => {
                    asked = Some(Instant::now());
                    watch.pass_on(signal, is_from_terminal);
                }
                (Some(_), _) if matches!(came, Came::Signal { .. }) => return Ok(true),
                (Some(asked), _) if asked.elapsed() > PATIENCE => return Ok(true),
                _ => {}
            }
            let times = if watch.is_partial() { PAUSE_LOOKS_BUSY } else { PAUSE_LOOKS };
            let left = |length: Option<Duration>, since: Instant| {
                length.map_or(Duration::MAX, |length| length.saturating_sub(since.elapsed()))
            };
            let next = left(self.length.filter(|_| asked.is_none()), begun)
                .min(left(self.every, told))
                .min(asked.map_or(Duration::MAX, |asked| left(Some(PATIENCE), asked)))
                .max(PAUSE_MIN);
            due = Instant::now() + (before.elapsed() * times).max(PAUSE_MIN).min(next);
        }
    }

    /// Kills who is left, children that they still make too; says who they were.
    fn kill(&mut self, watch: &mut Watch) -> Vec<(u32, String)> {
        let mut killed = Vec::new();
        for _ in 0..PAUSES_TO_END {
            // Who was there at the last look is killed even if there is no further one.
            let is_over = watch.look().is_ok() && watch.is_over();
            if is_over {
                break;
            }
            let there = watch.there();
            killed
                .extend(there.into_iter().filter(|one| !killed.contains(one)).collect::<Vec<_>>());
            watch.pass_on(Signal::KILL, false);
            (self.wait)(SHORT);
        }
        killed
    }

    /// Waits until what was given to sockets of programs that have ended is gone; says how many
    /// bytes were not.
    fn drain(&mut self, watch: &mut Watch) -> Result<u64, WatchError> {
        let begun = Instant::now();
        let (mut last, mut moved) = ((0, 0), begun);
        loop {
            let now = watch.queued()?;
            let (queued, _) = now;
            if now != last {
                (last, moved) = (now, Instant::now());
            }
            let is_late = moved.elapsed() > STALLED || begun.elapsed() > QUEUED_MAX;
            if queued == 0 || is_late {
                return Ok(queued);
            }
            let turn = watch.turn()?.unwrap_or(SHORT).min(SHORT);
            if matches!((self.wait)(turn), Came::Signal { .. }) {
                return Ok(queued);
            }
        }
    }
}
