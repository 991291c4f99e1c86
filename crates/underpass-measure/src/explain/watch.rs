//! A watch over a process and all that descend from it: what it may see, and what it has seen.
//!
//! Children that exist already are followed one by one, and since one may fork between two
//! looks, until a look finds no new one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, PidfdFlags, Signal, child_subreaper, getpgid, getpgrp, pidfd_open, pidfd_send_signal,
};

use crate::explain::learning::Learning;
use crate::explain::limited::Limited;
use crate::explain::outside::Counters;
use crate::explain::refusal::{self, WatchError, require_watchable};
use crate::explain::report::Report;
use crate::explain::summary::Summary;
pub(crate) use crate::explain::summary::names;
use crate::observe::{Observer, Tier};
use crate::probe::{Probe, ProbeError, Sight};
use crate::proc::{self, Proc, Status};

/// A watch that has begun.
#[derive(Debug)]
pub struct Watch {
    observer: Observer,
    counters: Counters,
    pub(super) learning: Learning,
    limited: Option<Limited>,
    pub(super) root: u32,
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
    /// [`WatchError::Refused`], or the other if a process cannot be followed.
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
            observer: Observer::best(most, Sight::Sending, || Counters::may_read(process)),
            counters: Counters::default(),
            learning: Learning::default(),
            limited: None,
            root: process,
            followed: BTreeSet::new(),
            there: BTreeMap::new(),
            start: Instant::now(),
        };
        watch.look()?;
        if watch.there.is_empty() {
            return Err(refusal::no_process(process));
        }
        Ok(watch)
    }

    /// From now on takes at most this share, from 0 to 1, of the time of any processor from those
    /// who run there; [`turn`](Self::turn) takes care of it. Without a limit, nothing goes unseen.
    /// The seed is that of the chance by which it rests.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn limit(&mut self, budget: f64, seed: u64) -> Result<(), WatchError> {
        if let Some(probe) = &self.observer.probe {
            self.limited = Some(Limited::new(budget, seed, probe)?);
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
        match (&mut self.limited, &mut self.observer.probe) {
            (Some(limited), Some(probe)) => Ok(Some(limited.turn(probe)?)),
            _ => Ok(None),
        }
    }

    /// Whether the watch had to rest, so that parts of the time went unseen.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.limited.as_ref().is_some_and(|limited| limited.looked().is_some())
    }

    /// What this watch is privileged to know.
    #[must_use]
    pub const fn tier(&self) -> Tier {
        self.observer.tier
    }

    /// Why pages are not seen, if they are not.
    #[must_use]
    pub fn tier_why(&self) -> Option<&str> {
        self.observer.why.as_deref()
    }

    /// The first process of those that are there with its program, and how many more there are.
    #[must_use]
    pub fn names(&self) -> String {
        names(&self.named(self.there()))
    }

    /// Processes with their programs. The one that was asked for comes first, whatever its
    /// children's numbers.
    pub(super) fn named(&self, mut processes: Vec<u32>) -> Vec<(u32, String)> {
        processes.sort_by_key(|process| (*process != self.root, *process));
        let name = |process| (process, self.learning.context.program_of(process));
        processes.into_iter().map(name).collect()
    }

    /// Looks at what can only be seen while it is there: children, open files, mappings.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn look(&mut self) -> Result<(), WatchError> {
        let is_first = self.followed.is_empty();
        if let Some(probe) = self.observer.probe.as_ref().filter(|_| !is_first) {
            // What is forked from now on is followed by the kernel itself.
            let seen = probe.evidence()?.processes;
            self.followed.extend(seen.iter().map(|process| process.process));
            self.there = self.kept(probe)?;
        } else {
            self.follow_family(is_first)?;
        }
        self.followed.extend(self.there.keys());
        for (process, began) in &self.there {
            let Some(there) = proc::running(*process, *began) else { continue };
            self.learning.look_at(&there);
            if self.observer.probe.is_none() {
                self.counters.look_at(&there);
            }
        }
        Ok(())
    }

    /// Those of the followed that are there, and who they were: one whose end the kernel did not
    /// tell has left its number to a stranger.
    fn kept(&self, probe: &Probe) -> Result<BTreeMap<u32, u64>, ProbeError> {
        let mut kept = BTreeMap::new();
        for process in probe.followed()? {
            let there = Proc::open(process);
            let status = there.and_then(|there| there.status().filter(|it| there.is_there(*it)));
            match (status, self.there.get(&process)) {
                (None, Some(_)) => probe.unfollow(process)?,
                (None, None) => {}
                (Some(Status { began, .. }), Some(before)) if began != *before => {
                    probe.unfollow(process)?;
                }
                (Some(Status { began, .. }), _) => drop(kept.insert(process, began)),
            }
        }
        Ok(kept)
    }

    /// Follows all that descend from those who are there, and forgets who is not.
    fn follow_family(&mut self, is_first: bool) -> Result<(), WatchError> {
        loop {
            let all = proc::all();
            self.there.retain(|process, began| proc::running(*process, *began).is_some());
            let mut news = self.family(is_first, &all);
            news.retain(|process, began| {
                !self.there.contains_key(process) && proc::running(*process, *began).is_some()
            });
            if news.is_empty() {
                return Ok(());
            }
            for (process, began) in &news {
                let Some(probe) = &self.observer.probe else { break };
                probe.follow(*process)?;
                if proc::running(*process, *began).is_none() {
                    probe.unfollow(*process)?;
                }
            }
            self.there.extend(news);
        }
    }

    /// The descendants of all that are there, and of this program where it was told to take their
    /// orphans in; and when they began.
    fn family(&self, is_first: bool, all: &BTreeMap<u32, Status>) -> BTreeMap<u32, u64> {
        let own = std::process::id();
        let takes_orphans = matches!(child_subreaper(), Ok(Some(_)));
        let roots = self.there.keys().copied().chain(is_first.then_some(self.root));
        let roots = roots.chain(takes_orphans.then_some(own));
        let family = roots.flat_map(|process| proc::family(process, all));
        // The watcher may descend from the watched, such as a shell.
        let family = family.filter(|process| *process != own || self.root == own);
        family.filter_map(|process| Some((process, all.get(&process)?.began))).collect()
    }

    /// Whether every process that was followed has ended, up to the last look.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.there().is_empty()
    }

    /// Whether the process that was asked for was there at the last look.
    pub(super) fn is_root_there(&self) -> bool {
        self.there.contains_key(&self.root)
    }

    /// Who was there at the last look and has not ended.
    pub(super) fn there(&self) -> Vec<u32> {
        let there = self.there.iter();
        let there = there.filter(|(process, began)| proc::running(**process, **began).is_some());
        there.map(|(process, _)| *process).collect()
    }

    /// Those of them that are of this program's own process group.
    pub(super) fn of_own_group(&self) -> BTreeSet<(u32, u64)> {
        let own = getpgrp();
        let is_of_it = |process| getpgid(Pid::from_raw(process)) == Ok(own);
        let there = self.there.iter().map(|(process, began)| (*process, *began));
        there.filter(|(process, _)| is_of_it(process.cast_signed())).collect()
    }

    /// Sends a signal to all that are there and were not reached before. One that has ended
    /// meanwhile, or is another user's, is not reached.
    pub(super) fn pass_on(&self, signal: Signal, reached: &mut BTreeSet<(u32, u64)>) {
        for (process, began) in self.there.iter().map(|(process, began)| (*process, *began)) {
            let held = Pid::from_raw(process.cast_signed())
                .filter(|_| !reached.contains(&(process, began)))
                .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
            // If it has the number now, it is the one that is held.
            let held = held.filter(|_| proc::running(process, began).is_some());
            if held.is_some_and(|held| pidfd_send_signal(&held, signal).is_ok()) {
                reached.insert((process, began));
            }
        }
    }

    /// Bytes in the queues of sockets whose programs have closed them or ended, and all that were
    /// seen to leave.
    pub(super) fn queued(&self) -> Result<(u64, u64), WatchError> {
        let Some(probe) = &self.observer.probe else { return Ok((0, 0)) };
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
        let limited = self.limited.as_ref().filter(|limited| limited.looked().is_some());
        let (mut report, mut interval) = (None, None);
        if let Some(probe) = &self.observer.probe {
            let seen = probe.evidence()?;
            self.learning.learn_interfaces(&seen);
            self.learning.learn_names(&seen);
            let judged = Report::new(&seen, &self.learning.context);
            let told = limited.map(|limited| limited.interval(probe, &seen, &judged));
            interval = told.transpose()?;
            report = Some(judged);
        }
        Ok(Summary {
            tier: self.tier(),
            tier_why: self.tier_why().map(str::to_owned),
            seconds: self.start.elapsed().as_secs_f64(),
            looked_percent: limited.and_then(Limited::looked).map(|share| share * 100.0),
            budget_percent: limited.map(|limited| (limited.budget() * 1e6).round() / 1e4),
            by_reference_interval: interval,
            followed: self.named(self.followed.iter().copied().collect()),
            left_running: Vec::new(),
            killed: Vec::new(),
            queued_bytes: 0,
            report,
            counted: self.counters.counted(|process| self.learning.context.program_of(process)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use underpass_testkit::require;
    use underpass_testkit::skip::Capability::Root;

    use super::*;

    #[test]
    fn who_has_the_number_of_one_whose_end_was_not_told_is_a_stranger() {
        require!(Root);
        let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
        let mut watch = Watch::start(sleep.id()).unwrap();
        watch.look().unwrap();
        let is_there = !watch.is_over();
        // As if another had begun with the number.
        *watch.there.get_mut(&sleep.id()).unwrap() -= 1;
        watch.look().unwrap();
        sleep.kill().unwrap();
        let followed = watch.observer.probe.as_ref().unwrap().followed().unwrap();
        sleep.wait().unwrap();
        assert_eq!((is_there, watch.there, followed), (true, BTreeMap::new(), BTreeSet::new()));
    }
}
