//! The one observer of what programs do: by BPF where that is permitted, by counters where only
//! those may be read.

use serde::Serialize;

use crate::probe::{Probe, Sight};
use crate::words;

/// What the watcher is privileged to know. (There is no tier B.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Tier {
    /// BPF and the kernel's types: where each page came from.
    A,
    /// Counters of calls of the same user's processes.
    C,
    /// Neither: names only.
    D,
}

/// What looks, and why it is not better.
#[derive(Debug)]
pub(crate) struct Observer {
    /// What sees pages, in tier A.
    pub(crate) probe: Option<Box<Probe>>,
    pub(crate) tier: Tier,
    /// Why pages are not seen.
    pub(crate) why: Option<String>,
}

impl Observer {
    /// The best that is permitted, and not better than `most`.
    pub(crate) fn best(most: Tier, sight: Sight, may_count: impl FnOnce() -> bool) -> Self {
        let probe = match most {
            Tier::A => Probe::load(sight).map(Box::new).map_err(|error| words::chain(&error)),
            Tier::C | Tier::D => Err(format!("tier {most:?} was asked for")),
        };
        let tier = match &probe {
            Ok(_) => Tier::A,
            Err(_) if most != Tier::D && may_count() => Tier::C,
            Err(_) => Tier::D,
        };
        let why = probe.as_ref().err().cloned();
        Self { probe: probe.ok(), tier, why }
    }
}
