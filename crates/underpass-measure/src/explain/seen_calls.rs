//! Calls summed up for a line of evidence: `4,096 read calls took 268,435,456`.

use std::collections::{BTreeMap, BTreeSet};

use crate::call;
use crate::evidence::{Calls, Evidence};
use crate::words;

/// Calls of some kind.
#[derive(Debug, Default)]
pub(crate) struct SeenCalls {
    by_name: BTreeMap<String, u64>,
    /// Who made them.
    pub(crate) processes: BTreeSet<u32>,
    /// How many returned a number of bytes.
    pub(crate) calls: u64,
    /// What they returned.
    pub(crate) bytes: u64,
}

impl SeenCalls {
    /// The calls that fit.
    pub(crate) fn of(evidence: &Evidence, fits: impl Fn(&Calls) -> bool) -> Self {
        let mut seen = Self::default();
        for row in evidence.calls.iter().filter(|row| fits(row)) {
            let returned = row.succeeded();
            *seen.by_name.entry(call::name(row.number)).or_default() += returned;
            seen.processes.insert(row.process);
            seen.calls += returned;
            seen.bytes += row.bytes;
        }
        seen
    }

    /// Their counts and names: `4,096 pread64 and 3 read calls`.
    pub(crate) fn names(&self) -> String {
        let mut named: Vec<(&String, &u64)> =
            self.by_name.iter().filter(|(_, calls)| **calls > 0).collect();
        named.sort_by_key(|(_, calls)| std::cmp::Reverse(**calls));
        let texts: Vec<String> =
            named.iter().map(|(name, calls)| format!("{} {name}", words::count(**calls))).collect();
        let plural = if self.calls == 1 { "call" } else { "calls" };
        match texts.as_slice() {
            [] => "no calls".to_owned(),
            [one] => format!("{one} {plural}"),
            [first @ .., last] => format!("{} and {last} {plural}", first.join(", ")),
        }
    }

    /// What they did with how many bytes: `3 read calls took 9,000`.
    pub(crate) fn did(&self, verb: &str) -> String {
        format!("{} {verb} {}", self.names(), words::count(self.bytes))
    }
}
