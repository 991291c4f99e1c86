//! How a command is asked to end, with all that descend from it.
//!
//! A signal is passed on to those who are there and to those who are born later. HUP asks many
//! programs to read their configuration again, and shells keep INT from their children: after a
//! while they are asked by TERM.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::explain::watch::Watch;

/// How long a command may take, with its children, until it is killed,
const PATIENCE: Duration = Duration::from_secs(5);
/// until it is asked by TERM,
const UNHEARD: Duration = Duration::from_secs(2);
/// and until another signal means that this is too long. A terminal that goes, timeout(1) and
/// systemd (`SendSIGHUP=`) send two at once.
const TOGETHER: Duration = Duration::from_millis(500);

/// A command that is asked to end.
pub(super) struct Asking {
    /// By which signals, the last one last, and who got each of them.
    asked: Vec<(Signal, BTreeSet<(u32, u64)>)>,
    since: Instant,
    is_impatient: bool,
}

impl Asking {
    /// One that a terminal sent has reached this program's own process group.
    pub(super) fn begin(signal: Signal, is_from_terminal: bool, watch: &Watch) -> Self {
        let reached = if is_from_terminal { watch.of_own_group() } else { BTreeSet::new() };
        Self { asked: vec![(signal, reached)], since: Instant::now(), is_impatient: false }
    }

    /// By which signals it was asked.
    pub(super) fn signals(&self) -> Vec<Signal> {
        self.asked.iter().map(|(signal, _)| *signal).collect()
    }

    /// Takes a further signal, if one came.
    pub(super) fn again(&mut self, came: Option<(Signal, bool)>) {
        if let Some((signal, _)) = came {
            self.is_impatient |= self.since.elapsed() >= TOGETHER;
            self.ask(signal);
        }
    }

    /// Asks who is there and was not asked; whether there was time enough to end.
    pub(super) fn is_late(&mut self, watch: &Watch) -> bool {
        if self.since.elapsed() >= UNHEARD {
            self.ask(Signal::TERM);
        }
        for (signal, reached) in &mut self.asked {
            watch.pass_on(*signal, reached);
        }
        self.is_impatient || self.since.elapsed() > PATIENCE
    }

    fn ask(&mut self, signal: Signal) {
        if self.asked.iter().all(|(asked, _)| *asked != signal) {
            self.asked.push((signal, BTreeSet::new()));
        }
    }
}
