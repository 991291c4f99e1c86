//! What a copy did, as one line and as JSON.
//!
//! `bytes` are what the sink got from the source, holes included; what was there before a resumed
//! copy is counted separately. Rates are decimal: 1 GB is 10^9 bytes.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use underpass::{Method, Tally};

use crate::digest::Checksum;
use crate::drive::Drive;

/// What one copy did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The source, as the user named it.
    pub source: String,
    /// The sink, as the user named it; a peer's file, if the sink is a directory of them.
    pub sink: String,
    /// The peer that connected to the listening end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Bytes of the source that this copy brought to the sink, holes included.
    pub bytes: u64,
    /// Those of them that are holes and were not moved.
    pub holes: u64,
    /// Bytes that were there before.
    pub resumed_at: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Bytes that moved a second, over the whole time; holes do not move.
    pub bytes_per_second: f64,
    /// The methods that were used; first the one that moved the most.
    pub methods: Vec<Used>,
    /// Data-moving system calls.
    pub calls: u64,
    /// Bytes that passed through user space.
    pub through_user_space: u64,
    /// Every change of method, and why bytes passed through user space where the kernel could have
    /// moved them.
    pub fallbacks: Vec<String>,
    /// The digest of what was copied, if it was asked for.
    pub checksum: Option<Checksum>,
    /// Whether the other end confirmed length and digest.
    pub verified: bool,
    /// Files, folders and links, if a folder was copied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
}

/// What one method did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// Its name.
    pub method: &'static str,
    /// Bytes the sink accepted by it.
    pub bytes: u64,
    /// Its calls.
    pub calls: u64,
}

impl Report {
    pub(crate) fn of(source: String, sink: String, drive: &Drive<'_>, took: Duration) -> Self {
        let mut this = Self {
            source,
            sink,
            peer: None,
            bytes: 0,
            holes: 0,
            resumed_at: 0,
            seconds: took.as_secs_f64(),
            bytes_per_second: 0.0,
            methods: used(drive),
            calls: drive.ledger.calls() + drive.outside_calls,
            through_user_space: drive.ledger.of(Method::Copy).bytes + drive.through_user_space,
            fallbacks: fallbacks(drive),
            checksum: None,
            verified: false,
            entries: None,
        };
        this.set_bytes(drive.done, 0);
        this
    }

    /// Sets the bytes and the rate that follows from them.
    pub(crate) fn set_bytes(&mut self, bytes: u64, holes: u64) {
        (self.bytes, self.holes) = (bytes, holes);
        let seconds = self.seconds.max(f64::MIN_POSITIVE);
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let rate = (bytes - holes) as f64 / seconds;
        self.bytes_per_second = if bytes == holes { 0.0 } else { rate };
    }
}

fn fallbacks(drive: &Drive<'_>) -> Vec<String> {
    let changes = drive.ledger.fallbacks().iter().map(ToString::to_string);
    drive.reasons.iter().cloned().chain(changes).collect()
}

fn used(drive: &Drive<'_>) -> Vec<Used> {
    let mut used: Vec<_> = Method::ALL
        .iter()
        .copied()
        .map(|method| (method, tally(drive, method)))
        .filter(|(_, tally)| tally.calls > 0)
        .map(|(method, tally)| Used {
            method: method.name(),
            bytes: tally.bytes,
            calls: tally.calls,
        })
        .collect();
    used.sort_by_key(|used| std::cmp::Reverse(used.bytes));
    used
}

/// What one method did, in the engine and outside it.
fn tally(drive: &Drive<'_>, method: Method) -> Tally {
    let mut tally = drive.ledger.of(method);
    if method == Method::Copy {
        tally.bytes += drive.through_user_space;
        tally.calls += drive.outside_calls;
    }
    tally
}

/// The line at the end of a copy.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(entries) = self.entries {
            write!(f, "{entries} entries, ")?;
        }
        let rate = Rate(self.bytes_per_second);
        write!(f, "{} bytes in {:.3} s, {rate}; ", self.bytes, self.seconds)?;
        let methods: Vec<_> =
            self.methods.iter().filter(|used| used.bytes > 0).map(|used| used.method).collect();
        let methods = if methods.is_empty() { "nothing moved".into() } else { methods.join("+") };
        let s = if self.calls == 1 { "" } else { "s" };
        write!(f, "{methods}, {} call{s}, ", self.calls)?;
        write!(f, "{} bytes through user space", self.through_user_space)?;
        if self.holes > 0 {
            write!(f, "; {} bytes of holes kept", self.holes)?;
        }
        if self.resumed_at > 0 {
            write!(f, "; resumed at {}", self.resumed_at)?;
        }
        if self.verified {
            write!(f, "; confirmed by the other end")?;
        }
        if let Some(Checksum { algorithm, digest }) = &self.checksum {
            write!(f, "; {algorithm} {digest}")?;
        }
        for fallback in &self.fallbacks {
            write!(f, "; {fallback}")?;
        }
        Ok(())
    }
}

/// Bytes a second in the unit that leaves one to three digits before the point.
#[derive(Debug, Clone, Copy)]
pub struct Rate(pub f64);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s")];
        match units.into_iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) => write!(f, "{:.2} {name}", self.0 / unit),
            None => write!(f, "{:.0} B/s", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_what_happened_in_one_order() {
        let mut report = Report {
            source: "a".into(),
            sink: "b".into(),
            peer: None,
            bytes: 0,
            holes: 0,
            resumed_at: 0,
            seconds: 0.5,
            bytes_per_second: 0.0,
            methods: vec![],
            calls: 0,
            through_user_space: 0,
            fallbacks: vec![],
            checksum: None,
            verified: false,
            entries: None,
        };
        let line = "0 bytes in 0.500 s, 0 B/s; nothing moved, 0 calls, 0 bytes through user space";
        assert_eq!(report.to_string(), line);
        report.set_bytes(2_000_000_000, 4096);
        report.methods = vec![Used { method: "sendfile", bytes: 2_000_000_000, calls: 1 }];
        report.calls = 1;
        report.fallbacks = vec!["clone -> copy at 0".into()];
        assert_eq!(
            report.to_string(),
            "2000000000 bytes in 0.500 s, 4.00 GB/s; sendfile, 1 call, 0 bytes through user \
             space; 4096 bytes of holes kept; clone -> copy at 0"
        );
    }

    #[test]
    fn a_rate_has_the_unit_that_fits() {
        for (rate, text) in
            [(0.0, "0 B/s"), (999.0, "999 B/s"), (1500.0, "1.50 kB/s"), (2.5e9, "2.50 GB/s")]
        {
            assert_eq!(Rate(rate).to_string(), text);
        }
    }
}
