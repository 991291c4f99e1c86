//! Who watches a run: the probe, which sees pages, or tracepoints where BPF is not permitted.
//!
//! Tracepoints see the calls of the sender and the packets that left in these. Their own events
//! are held by the trace, so that each run has one of its own.

use std::io;

use super::crew::Run;
use super::seen::{Packets, Seen};
use crate::explain::watch::Tier;
use crate::permitted::Permitted;
use crate::probe::{Probe, Sight};
use crate::trace::Trace;

/// The best that is permitted.
#[derive(Debug)]
pub(super) enum Watcher {
    /// Tier A.
    Pages(Box<Probe>),
    /// Tier B, and why not A.
    Calls(String),
    /// Tier C, and why not B.
    Nobody(String),
}

/// What follows the processes of one run.
#[derive(Debug)]
pub(super) enum Watch<'w> {
    Pages(&'w Probe),
    /// Nothing before the sender is followed.
    Calls {
        trace: Option<Box<Trace>>,
        why: &'w str,
    },
}

impl Watcher {
    /// The best that is permitted, and not better than `most`.
    pub(super) fn of(most: Tier) -> Self {
        match Permitted::best(most, Sight::Everything) {
            Permitted::Pages(probe) => Self::Pages(probe),
            Permitted::Calls { why, .. } => Self::Calls(why),
            Permitted::Neither { why } => Self::Nobody(why),
        }
    }

    /// Its tier, and what that can know.
    pub(super) fn tier(&self) -> (char, String) {
        match self {
            Self::Pages(_) => ('A', "calls and pages are watched in the kernel".into()),
            Self::Calls(why) => {
                ('B', format!("{why}; calls and packets are seen by tracepoints, pages are not"))
            }
            Self::Nobody(why) => ('C', format!("{why}; only a process's own counters are read")),
        }
    }

    /// Begins to watch a run; `None` if nobody can.
    pub(super) fn watch(&self) -> Option<Watch<'_>> {
        match self {
            Self::Pages(probe) => Some(Watch::Pages(probe)),
            Self::Calls(why) => Some(Watch::Calls { trace: None, why }),
            Self::Nobody(_) => None,
        }
    }
}

impl Watch<'_> {
    /// Follows a process of the run, the sender first.
    pub(super) fn follow(&mut self, process: u32) -> io::Result<()> {
        match self {
            Self::Pages(probe) => probe.follow(process).map_err(io::Error::other),
            Self::Calls { trace: Some(_), .. } => Ok(()),
            Self::Calls { trace, .. } => {
                let mut new = Trace::open().map_err(io::Error::other)?;
                new.follow(process).map_err(io::Error::other)?;
                *trace = Some(Box::new(new));
                Ok(())
            }
        }
    }

    /// What was seen of a run that is over, and how many events were lost.
    pub(super) fn seen(self, run: &Run) -> io::Result<(Seen, u64)> {
        match self {
            Self::Pages(probe) => {
                let evidence = probe.evidence().map_err(io::Error::other)?;
                Ok((Seen::of(&evidence, run), evidence.lost))
            }
            Self::Calls { trace, why } => {
                let mut trace = trace.ok_or_else(|| io::Error::other("nobody was followed"))?;
                trace.look();
                let seen = trace.seen();
                let own = || seen.packets.iter().filter(|of| of.process == run.sender_process);
                let packets = Packets {
                    paged_bytes: own().map(|of| of.paged_bytes).sum(),
                    linear_bytes: own().map(|of| of.linear_bytes).sum(),
                    why: why.to_owned(),
                };
                let of_calls = Seen::of(&seen.evidence, run);
                Ok((Seen { packets: Some(packets), ..of_calls }, seen.evidence.lost))
            }
        }
    }
}
