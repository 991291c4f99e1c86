//! The course of a watch: when it looks and rests, what is told meanwhile, and how it ends.
//!
//! How often it looks depends on what a look costs, so that watching takes a small share of one
//! processor however many files and sockets there are.
//!
//! What a program gave to a socket leaves after the program has ended. So the end is waited for,
//! as long as something moves.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::explain::asking::Asking;
use crate::explain::{Summary, Watch, WatchError};

/// Looks are at least so far apart.
const PAUSE_MIN: Duration = Duration::from_millis(20);

/// The pause between two looks, in times of what a look takes; longer if there is no time to spare.
const PAUSE_LOOKS: u32 = 150;
const PAUSE_LOOKS_BUSY: u32 = 600;

/// Looks at a command that is asked to end are at most so far apart: what is born meanwhile is
/// asked, too.
const ASKED: Duration = Duration::from_millis(100);

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

impl Came {
    /// The signal that came, and whether a terminal sent it.
    const fn signal(self) -> Option<(Signal, bool)> {
        match self {
            Self::Signal { signal, is_from_terminal } => Some((signal, is_from_terminal)),
            Self::Time | Self::Child => None,
        }
    }
}

/// The course of a watch, until it ends.
#[expect(missing_debug_implementations, reason = "it has closures")]
pub struct Session<'a> {
    /// The command that was started for this, if one was.
    pub command: Option<&'a str>,
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
    /// Watches until there is nothing left to watch, or a signal or the time ends it; says by
    /// which signals a command was asked to end.
    ///
    /// A command is sent that signal, with all that descend from it; who is still there five
    /// seconds later, or at a signal that comes half a second after the first, is killed. What a
    /// command has left running when it ended by itself is left alone.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails. A command that was not asked to end runs on.
    pub fn run(mut self, watch: &mut Watch) -> Result<(Summary, Vec<Signal>), WatchError> {
        if let Some(command) = self.command {
            watch.learning.begin(watch.root, command);
        }
        let asked = self.until_the_end(watch)?;
        let is_asked = asked.is_some();
        let mut signals = asked.map_or_else(Vec::new, |asking| asking.signals());
        let killed = if is_asked { self.kill(watch) } else { Vec::new() };
        signals.extend((!killed.is_empty()).then_some(Signal::KILL));
        let has_ended = !watch.is_root_there();
        let queued = if has_ended { self.drain(watch)? } else { 0 };
        let mut summary = watch.summary()?;
        summary.queued_bytes = queued;
        summary.killed = killed;
        if self.command.is_some() {
            summary.left_running = watch.named(watch.there());
        }
        Ok((summary, signals))
    }

    /// How the command was asked to end, if that was what ended it.
    fn until_the_end(&mut self, watch: &mut Watch) -> Result<Option<Asking>, WatchError> {
        let begun = Instant::now();
        let (mut told, mut due) = (begun, begun + PAUSE_MIN);
        let mut asking: Option<Asking> = None;
        loop {
            let pause = due.saturating_duration_since(Instant::now());
            let turn = unless_asked(watch.turn(), asking.as_ref())?.filter(|turn| *turn < pause);
            let came = (self.wait)(turn.unwrap_or(pause));
            if came == Came::Time && turn.is_some() {
                continue;
            }
            let before = Instant::now();
            // Before the command is asked to end: then there is nothing left to look at.
            unless_asked(watch.look(), asking.as_ref())?;
            let mut is_end = self.length.is_some_and(|length| begun.elapsed() >= length);
            if self.every.is_some_and(|every| told.elapsed() >= every) {
                told = Instant::now();
                let summary = unless_asked(watch.summary().map(Some), asking.as_ref())?;
                is_end |= summary.is_some_and(|summary| (self.tell)(&summary).is_break());
            }
            let ending = came.signal().or_else(|| is_end.then_some((Signal::TERM, false)));
            match (&mut asking, ending) {
                _ if watch.is_over() => return Ok(asking),
                (None, None) if self.command.is_some() && !watch.is_root_there() => {
                    return Ok(None);
                }
                (None, Some(_)) if self.command.is_none() => return Ok(None),
                (None, Some((signal, is_from_terminal))) => {
                    asking = Some(Asking::begin(signal, is_from_terminal, watch));
                }
                (Some(asking), _) => asking.again(came.signal()),
                (None, None) => {}
            }
            if asking.as_mut().is_some_and(|asking| asking.is_late(watch)) {
                return Ok(asking);
            }
            let times = if watch.is_partial() { PAUSE_LOOKS_BUSY } else { PAUSE_LOOKS };
            let left = |length: Option<Duration>, since: Instant| {
                length.map_or(Duration::MAX, |length| length.saturating_sub(since.elapsed()))
            };
            let next = left(self.length.filter(|_| asking.is_none()), begun)
                .min(left(self.every, told))
                .min(asking.as_ref().map_or(Duration::MAX, |_| ASKED))
                .max(PAUSE_MIN);
            due = Instant::now() + (before.elapsed() * times).max(PAUSE_MIN).min(next);
        }
    }

    /// Kills who is left, children that they still make too; says who it was that this ended.
    fn kill(&mut self, watch: &mut Watch) -> Vec<(u32, String)> {
        let mut reached = BTreeSet::new();
        for _ in 0..PAUSES_TO_END {
            // Who was there at the last look is killed even if there is no further one.
            watch.look().unwrap_or_default();
            watch.pass_on(Signal::KILL, &mut reached);
            if watch.there().is_empty() {
                break;
            }
            (self.wait)(SHORT);
        }
        let there = watch.there();
        let gone = reached.into_iter().map(|(process, _)| process);
        watch.named(gone.filter(|process| !there.contains(process)).collect())
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

/// A command that is asked to end is seen to its end, whether that can be watched or not.
fn unless_asked<T: Default>(
    looked: Result<T, WatchError>,
    asking: Option<&Asking>,
) -> Result<T, WatchError> {
    looked.or_else(|error| if asking.is_some() { Ok(T::default()) } else { Err(error) })
}
