//! A watch over a process and all that descend from it: what it may see, and what it has seen.
//!
//! Children that exist already are followed one by one, and since one may fork between two
//! looks, until a look finds no new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, getpgid, getpgrp, pidfd_open, pidfd_send_signal};
use serde::Serialize;

use crate::explain::learning::Learning;
use crate::explain::outside::{Counted, Counters};
use crate::explain::pace::Pace;
use crate::explain::proc::{self, Status};
pub use crate::explain::refusal::WatchError;
use crate::explain::refusal::require_watchable;
use crate::explain::report::{Report, Shortfall};
use crate::probe::{Probe, Sight, Tier};
use crate::words::of;

/// What was seen, for a reader.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What the watcher was privileged to know.
    pub tier: Tier,
    /// Why it is not tier A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_why: Option<String>,
    /// How long it watched.
    pub seconds: f64,
    /// Percentage of that time that was looked at, where the rest would have cost too much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looked_percent: Option<f64>,
    /// Percentage of a processor's time that looking was allowed to take, where it was limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_percent: Option<f64>,
    /// Processes it followed, with the names of their programs.
    pub followed: Vec<(u32, String)>,
    /// Those that a command left running when it ended by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_running: Vec<(u32, String)>,
    /// Those that did not end when they were asked to, and were killed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<(u32, String)>,
    /// Bytes of programs that had ended, still in the queues of their sockets, or on the way and
    /// not acknowledged, when the watch ended.
    #[serde(skip_serializing_if = "is_zero")]
    pub queued_bytes: u64,
    /// The judgement, in tier A.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// What was counted, in the other tiers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Counted>,
}

impl Summary {
    /// Holds the share by reference against a demanded percentage.
    ///
    /// # Errors
    ///
    /// [`Shortfall`] if it is below, if nothing was sent, or if it cannot be known.
    pub fn check(&self, min_by_reference: f64) -> Result<(), Shortfall> {
        match &self.report {
            Some(report) => report.check(min_by_reference),
            None => Err(Shortfall::Unknown {
                tier: self.tier,
                why: self.tier_why.clone().unwrap_or_default(),
                wanted: min_by_reference.to_string(),
            }),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug)]
enum Eyes {
    Pages(Box<Probe>),
    Counters { counters: Counters, tier: Tier, why: String },
}

impl Eyes {
    /// The best that is permitted, and not better than `most`.
    fn of(process: u32, most: Tier) -> Self {
        match Probe::within(most, Sight::Sending) {
            Ok(probe) => Self::Pages(probe),
            Err(why) => {
                let may_count = most != Tier::D && Counters::may_read(process);
                let tier = if may_count { Tier::C } else { Tier::D };
                Self::Counters { counters: Counters::default(), tier, why }
            }
        }
    }
}

/// A watch that has begun.
#[derive(Debug)]
pub struct Watch {
    eyes: Eyes,
    learning: Learning,
    pace: Option<Pace>,
    root: u32,
    /// All that were ever followed.
    followed: BTreeSet<u32>,
    /// Those of them that were there at the last look, and when they began. The number of one that
    /// has ended may be a stranger's, and is not believed.
    there: BTreeMap<u32, u64>,
    start: Instant,
}

impl Watch {
    /// Begins to watch a process and its descendants.
    ///
    /// Without the privileges to see pages it watches what it may, and its
    /// [`tier`](Self::tier) says so.
    ///
    /// # Errors
    ///
    /// [`WatchError::NoProcess`], or the others if a process cannot be followed.
    pub fn start(process: u32) -> Result<Self, WatchError> {
        Self::start_within(process, Tier::A)
    }

    /// The same, as if no more than a tier were permitted.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start).
    pub fn start_within(process: u32, most: Tier) -> Result<Self, WatchError> {
        require_watchable(process)?;
        let mut watch = Self {
            eyes: Eyes::of(process, most),
            learning: Learning::default(),
            pace: None,
            root: process,
            followed: BTreeSet::new(),
            there: BTreeMap::new(),
            start: Instant::now(),
        };
        watch.look()?;
        if watch.there.is_empty() {
            return Err(WatchError::NoProcess { process });
        }
        Ok(watch)
    }

    /// From now on takes at most this share, from 0 to 1, of the time of any processor from those
    /// who run there; [`turn`](Self::turn) takes care of it. Without a limit, nothing goes unseen.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn limit(&mut self, budget: f64) -> Result<(), WatchError> {
        if let Eyes::Pages(probe) = &self.eyes {
            self.pace = Some(Pace::new(budget, probe)?);
        }
        Ok(())
    }

    /// Looks, or rests, if it is time to; says when it will be time again, of a watch that is
    /// limited.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn turn(&mut self) -> Result<Option<Duration>, WatchError> {
        match (&mut self.pace, &mut self.eyes) {
            (Some(pace), Eyes::Pages(probe)) => Ok(Some(pace.turn(probe)?)),
            _ => Ok(None),
        }
    }

    /// Whether the watch had to rest, so that parts of the time went unseen.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.looked().is_some())
    }

    /// What this watch is privileged to know.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        match self.eyes {
            Eyes::Pages(_) => Tier::A,
            Eyes::Counters { tier, .. } => tier,
        }
    }

    /// Why pages are not seen, if they are not.
    #[must_use]
    pub fn tier_why(&self) -> Option<&str> {
        match &self.eyes {
            Eyes::Pages(_) => None,
            Eyes::Counters { why, .. } => Some(why),
        }
    }

    /// The first process with its program, and how many more there are.
    #[must_use]
    pub fn names(&self) -> String {
        names(&self.named())
    }

    fn named(&self) -> Vec<(u32, String)> {
        // The process that was asked for comes first, whatever its children's numbers.
        let others = self.followed.iter().filter(|process| **process != self.root);
        let name = |process: &u32| (*process, self.learning.context.program_of(*process));
        [&self.root].into_iter().chain(others).map(name).collect()
    }

    /// Looks at what can only be seen while it is there: children, open files, mappings.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn look(&mut self) -> Result<(), WatchError> {
        let is_first = self.followed.is_empty();
        let seen = match &mut self.eyes {
            // What is forked from now on is followed by the kernel itself.
            Eyes::Pages(probe) if !is_first => {
                let seen = probe.evidence()?;
                self.there = began(probe.followed()?);
                Some(seen)
            }
            Eyes::Pages(_) | Eyes::Counters { .. } => {
                self.follow_family(is_first)?;
                None
            }
        };
        let news = seen.iter().flat_map(|seen| &seen.processes).map(|process| process.process);
        self.followed.extend(news.chain(self.there.keys().copied()));
        let there = || self.there.keys().copied();
        self.learning.look_at(there());
        if let Eyes::Counters { counters, .. } = &mut self.eyes {
            counters.look_at(there());
        }
        Ok(())
    }

    /// Follows all that descend from those who are there, and forgets who is not.
    fn follow_family(&mut self, is_first: bool) -> Result<(), WatchError> {
        loop {
            let all = proc::all();
            self.there.retain(|process, began| {
                let now = all.get(process);
                now.is_some_and(|now| now.began == *began && proc::is_there(*process, *now))
            });
            let family = self.family(is_first, &all);
            let is_new = |process: &u32| !self.there.contains_key(process);
            let there = |process| Some((process, *all.get(&process)?));
            let is_there = |(process, status): &(u32, Status)| proc::is_there(*process, *status);
            let news = family.into_iter().filter(is_new).filter_map(there).filter(is_there);
            let news: Vec<(u32, Status)> = news.collect();
            if news.is_empty() {
                return Ok(());
            }
            for (process, status) in news {
                self.follow(process, status.began)?;
            }
        }
    }

    fn follow(&mut self, process: u32, began: u64) -> Result<(), WatchError> {
        match &mut self.eyes {
            Eyes::Pages(probe) => {
                probe.follow(process)?;
                let is_same = |now: Status| now.began == began && proc::is_there(process, now);
                if !proc::status(process).is_some_and(is_same) {
                    probe.unfollow(process)?;
                }
            }
            Eyes::Counters { .. } => {}
        }
        self.there.insert(process, began);
        Ok(())
    }

    /// The descendants of all that are there.
    fn family(&self, is_first: bool, all: &BTreeMap<u32, Status>) -> BTreeSet<u32> {
        let roots = self.there.keys().copied().chain(is_first.then_some(self.root));
        let mut family: BTreeSet<u32> =
            roots.flat_map(|process| proc::family(process, all)).collect();
        // The watcher may descend from the watched, such as a shell.
        if self.root != std::process::id() {
            family.remove(&std::process::id());
        }
        family
    }

    /// Whether every process that was followed has ended, up to the last look.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.there.keys().any(|process| proc::is_running(*process))
    }

    /// Whether the process that was asked for was there at the last look.
    pub(crate) fn is_root_there(&self) -> bool {
        self.there.contains_key(&self.root)
    }

    /// Who was there at the last look and has not ended, with the names of their programs.
    pub(crate) fn there(&self) -> Vec<(u32, String)> {
        let there = self.there.keys().filter(|process| proc::is_running(**process));
        there.map(|process| (*process, self.learning.context.program_of(*process))).collect()
    }

    /// Sends a signal to all that are there. One that a terminal sent has reached those of this
    /// program's own process group.
    pub(crate) fn pass_on(&self, signal: Signal, is_from_terminal: bool) {
        let own = getpgrp();
        for (process, began) in &self.there {
            let Some(pid) = i32::try_from(*process).ok().and_then(Pid::from_raw) else { continue };
            if is_from_terminal && getpgid(Some(pid)) == Ok(own) {
                continue;
            }
            let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
            // If it has the number now, it is the one that is held.
            if proc::status(*process).is_some_and(|now| now.began == *began) {
                // One that has ended meanwhile, or is another user's, is not to be reached.
                pidfd_send_signal(&held, signal).unwrap_or_default();
            }
        }
    }

    /// Bytes in the queues of sockets whose programs have closed them or ended, and all that were
    /// seen to leave.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub(crate) fn queued(&self) -> Result<(u64, u64), WatchError> {
        let Eyes::Pages(probe) = &self.eyes else { return Ok((0, 0)) };
        let seen = probe.evidence()?;
        let pages = seen.sockets.iter().flat_map(|socket| &socket.sent);
        Ok((self.learning.queued(&seen), pages.map(|pages| pages.bytes).sum()))
    }

    /// What was seen so far.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn summary(&mut self) -> Result<Summary, WatchError> {
        self.look()?;
        let report = match &self.eyes {
            Eyes::Pages(probe) => {
                let seen = probe.evidence()?;
                self.learning.learn_interfaces(&seen);
                self.learning.find_names(&seen);
                Some(Report::new(&seen, &self.learning.context))
            }
            Eyes::Counters { .. } => None,
        };
        let looked = self.pace.as_ref().and_then(Pace::looked);
        let budget = self.pace.as_ref().filter(|_| looked.is_some()).map(Pace::budget);
        let counted = match &self.eyes {
            Eyes::Pages(_) => Vec::new(),
            Eyes::Counters { counters, .. } => {
                counters.counted(|process| self.learning.context.program_of(process))
            }
        };
        Ok(Summary {
            tier: self.tier(),
            tier_why: self.tier_why().map(str::to_owned),
            seconds: self.start.elapsed().as_secs_f64(),
            looked_percent: looked.map(|share| share * 100.0),
            budget_percent: budget.map(|share| share * 100.0),
            followed: self.named(),
            left_running: Vec::new(),
            killed: Vec::new(),
            queued_bytes: 0,
            report,
            counted,
        })
    }
}

/// Those of some processes that are there, and when they began.
fn began(processes: BTreeSet<u32>) -> BTreeMap<u32, u64> {
    let began = |process| {
        let status = proc::status(process)?;
        proc::is_there(process, status).then_some((process, status.began))
    };
    processes.into_iter().filter_map(began).collect()
}

/// `nginx (100) and 2 more processes`.
pub(crate) fn names(followed: &[(u32, String)]) -> String {
    match followed {
        [] => "nothing".to_owned(),
        [(process, program)] => format!("{program} ({process})"),
        [(process, program), others @ ..] => {
            format!("{program} ({process}) and {}", of(others.len() as u64, "more process"))
        }
    }
}
