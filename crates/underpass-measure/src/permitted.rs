//! How this process may watch others: by BPF, by tracepoints, or not at all.

use crate::explain::watch::Tier;
use crate::probe::{Probe, Sight};
use crate::trace::Trace;

/// The best that is permitted, and why it is not better.
#[derive(Debug)]
pub(crate) enum Permitted {
    /// Tier A.
    Pages(Box<Probe>),
    /// Tier B.
    Calls { trace: Box<Trace>, why: String },
    /// What is below tier B.
    Neither { why: String },
}

impl Permitted {
    /// The best, and not better than `most`; with BPF, what is in `sight`.
    pub(crate) fn best(most: Tier, sight: Sight) -> Self {
        let mut why = match most {
            Tier::A => match Probe::load(sight) {
                Ok(probe) => return Self::Pages(Box::new(probe)),
                Err(error) => error.to_string(),
            },
            Tier::B | Tier::C | Tier::D => format!("tier {most:?} was asked for"),
        };
        if most <= Tier::B {
            match Trace::open() {
                Ok(trace) => return Self::Calls { trace: Box::new(trace), why },
                Err(error) => why = format!("{why}; {error}"),
            }
        }
        Self::Neither { why }
    }
}
