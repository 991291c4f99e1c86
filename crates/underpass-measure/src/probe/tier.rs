//! What a watcher is privileged to know.

use serde::Serialize;

use super::{Probe, Sight};
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

impl Probe {
    /// The probe, unless no more than a lesser tier is wanted; or why there is not one.
    pub(crate) fn within(most: Tier, sight: Sight) -> Result<Box<Self>, String> {
        match most {
            Tier::A => Self::load(sight).map(Box::new).map_err(|error| words::chain(&error)),
            Tier::C | Tier::D => Err(format!("tier {most:?} was asked for")),
        }
    }
}
