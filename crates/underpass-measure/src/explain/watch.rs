//! A watch over a process and all that descend from it: what it may see, and what it has seen.
//!
//! Children that exist already are followed one by one, and since one may fork between two
//! looks, until a look finds nobody new.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;

use crate::evidence::Evidence;
use crate::explain::learning::Learning;
use crate::explain::outside::{Counted, Counters};
use crate::explain::proc;
use crate::explain::report::{Report, Shortfall};
use crate::probe::{Probe, ProbeError};
use crate::words::of;

/// What the watcher is privileged to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Tier {
    /// BPF and the kernel's types: where each page came from.
    A,
    /// Privileged, but without BPF.
    B,
    /// The same user: counters of calls.
    C,
    /// Neither: names only.
    D,
}

/// Why there is no watch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The process does not exist.
    #[error("there is no process {process}; 'pgrep -a NAME' finds one")]
    NoProcess {
        /// Its number.
        process: u32,
    },
    /// The probe failed while it watched.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

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
    /// Processes it followed, with the names of their programs.
    pub followed: Vec<(u32, String)>,
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

#[derive(Debug)]
enum Eyes {
    Pages(Box<Probe>),
    Counters { counters: Counters, tier: Tier, why: String },
}

/// A watch that has begun.
#[derive(Debug)]
pub struct Watch {
    eyes: Eyes,
    learning: Learning,
    root: u32,
    followed: BTreeSet<u32>,
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
    /// [`WatchError::NoProcess`], or [`WatchError::Probe`] if a process cannot be followed.
    pub fn start(process: u32) -> Result<Self, WatchError> {
        if std::fs::metadata(format!("/proc/{process}")).is_err() {
            return Err(WatchError::NoProcess { process });
        }
        let eyes = match Probe::load() {
            Ok(probe) => Eyes::Pages(Box::new(probe)),
            Err(error) => Eyes::Counters {
                counters: Counters::default(),
                tier: tier_without(&error, process),
                why: error.to_string(),
            },
        };
        let mut watch = Self {
            eyes,
            learning: Learning::default(),
            root: process,
            followed: BTreeSet::new(),
            start: Instant::now(),
        };
        watch.look()?;
        Ok(watch)
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
        // The process that was asked for stands first, whatever its children's numbers.
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
        let seen = match &self.eyes {
            // What is forked from now on is followed by the probe itself.
            Eyes::Pages(probe) if !self.followed.is_empty() => {
                let seen = probe.evidence()?;
                self.followed.extend(seen.processes.iter().map(|process| process.process));
                Some(seen)
            }
            Eyes::Pages(_) | Eyes::Counters { .. } => {
                self.follow_family()?;
                None
            }
        };
        self.learning.look_at(&self.followed);
        if let Eyes::Counters { counters, .. } = &mut self.eyes {
            counters.look_at(&self.followed);
        }
        if let Some(seen) = seen {
            self.learning.note_reads(&seen);
        }
        Ok(())
    }

    fn follow_family(&mut self) -> Result<(), WatchError> {
        loop {
            let family = self.family();
            let news: Vec<u32> = family.difference(&self.followed).copied().collect();
            for process in &news {
                if let Eyes::Pages(probe) = &self.eyes {
                    probe.follow(*process)?;
                }
                self.followed.insert(*process);
            }
            if news.is_empty() {
                return Ok(());
            }
        }
    }

    /// The descendants of all that were ever followed: a child outlives its parent.
    fn family(&self) -> BTreeSet<u32> {
        let parents = proc::parents();
        let roots = self.followed.iter().chain([&self.root]);
        let mut family: BTreeSet<u32> =
            roots.flat_map(|process| proc::family(*process, &parents)).collect();
        // The watcher may descend from the watched, such as a shell.
        if self.root != std::process::id() {
            family.remove(&std::process::id());
        }
        family
    }

    /// Whether every process that was followed has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.followed.iter().any(|process| proc::is_running(*process))
    }

    /// What was seen so far.
    ///
    /// # Errors
    ///
    /// [`WatchError::Probe`] if the probe fails.
    pub fn summary(&mut self) -> Result<Summary, WatchError> {
        self.look()?;
        let seen = match &self.eyes {
            Eyes::Pages(probe) => Some(probe.evidence()?),
            Eyes::Counters { .. } => None,
        };
        let report = seen.map(|seen| self.judge(&seen));
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
            followed: self.named(),
            report,
            counted,
        })
    }

    fn judge(&mut self, seen: &Evidence) -> Report {
        self.learning.learn_interfaces(seen);
        self.learning.find_names(seen);
        Report::new(seen, &self.learning.context)
    }
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

fn tier_without(error: &ProbeError, process: u32) -> Tier {
    let is_forbidden = matches!(error, ProbeError::Forbidden);
    if !is_forbidden && std::fs::read_dir("/sys/kernel/tracing/events").is_ok() {
        Tier::B
    } else if Counters::may_read(process) {
        Tier::C
    } else {
        Tier::D
    }
}
