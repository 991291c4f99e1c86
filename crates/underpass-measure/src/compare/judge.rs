//! From what was seen of a row's runs to its figures and its verdict; pure.
//!
//! How it is known differs by what the bytes went to: of TCP the packets' pages tell, of a Unix
//! socket the pages that the receiver copied from, of a pipe only the calls, of a file the
//! extents. Without BPF there are the calls alone, and what these leave open is said to be open.

mod by_calls;
mod by_extents;
mod by_pages;

use super::besides::{self, Besides};
use super::crew::Run;
use super::plan::Case;
use super::report::{CallsOfKind, Row, Verdict};
use super::seen::Seen;
use crate::cache::PAGE_BYTES;
use crate::figure::{Figure, Spread, float, median};
use crate::methods::{self, facts};
use crate::terms::Pair;

/// All that is known of a row.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) case: Case,
    /// The run whose bytes were compared and whose memory was looked at.
    pub(super) checked: Run,
    /// One at least, when it is judged.
    pub(super) timed: Vec<Run>,
    /// A separate run and what the probe saw of it, or why there is none.
    pub(super) watched: Result<(Run, Seen), String>,
}

impl Measured {
    /// Takes a watched run. One that is refused does not take away what was seen before.
    pub(super) fn see(&mut self, watched: Result<(Run, Seen), String>) {
        if watched.is_ok() || self.watched.is_err() {
            self.watched = watched;
        }
    }

    fn seen(&self) -> Result<&Seen, &str> {
        self.watched.as_ref().map(|(_, seen)| seen).map_err(String::as_str)
    }

    fn missing(&self) -> Figure {
        Figure::Unavailable(self.seen().err().unwrap_or_default().to_owned())
    }
}

/// What became of the bytes.
struct Fate {
    sender_copies: Figure,
    receiver_copies: Figure,
    by_reference_bytes: Figure,
    inode: Option<u64>,
    verdict: Verdict,
}

/// A share from which on all bytes are said to have gone one way: headers that share a packet
/// with payload, and retransmissions, are not errors of the method.
const NEARLY_ALL: f64 = 0.999;

/// Whether `part` is all of the payload, but for what a lost event may hide.
fn is_nearly(part: u64, payload: u64) -> bool {
    float(part) >= float(payload) * NEARLY_ALL
}

/// The rows; one whose receiver discards is told with the one whose receiver reads.
pub(super) fn rows(measured: &[Measured]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for measured in measured {
        let judged = row(measured);
        if !measured.case.discards {
            rows.push(judged);
            continue;
        }
        let is_same = |it: &&mut Row| (it.link, it.method) == (judged.link, judged.method);
        if let Some(reading) = rows.last_mut().filter(is_same) {
            reading.besides.discarded = Some(judged.into());
        }
    }
    rows
}

/// The row.
fn row(measured: &Measured) -> Row {
    let Measured { case, checked, timed, .. } = measured;
    let middle = median(timed, throughput);
    let fate = fate(measured);
    let missing = || Figure::Unavailable("memory in use was not looked at".into());
    let peak = checked.sender.peak.as_ref();
    let mapped = |unit: u64| {
        peak.map_or_else(missing, |peak| Figure::Derived {
            value: float(peak.file / unit),
            from: "most memory in mappings of the file between two calls, with what the call that \
                   ended a mapping had sent from it",
        })
    };
    // Seconds for 10^9 bytes are nanoseconds for one.
    let cost = |ns: u64| Figure::Measured(float(ns) / float(case.bytes));
    let no_receiver = || Figure::Unavailable("a file has no receiver".into());
    Row {
        pair: case.pair,
        link: case.link,
        cache: case.cache,
        method: case.method,
        bytes: case.bytes,
        transfer_bytes: case.transfer_bytes,
        calls: calls(measured),
        crossings: crossings(measured),
        context_switches: Figure::count(middle.sender.used.switches),
        sender_copies: fate.sender_copies,
        receiver_copies: fate.receiver_copies,
        by_reference_bytes: fate.by_reference_bytes,
        by_reference_inode: fate.inode,
        dma_copies: dma_copies(case, middle),
        minor_faults: Figure::count(middle.sender.used.minor_faults),
        major_faults: Figure::count(middle.sender.used.major_faults),
        mapped_pages: mapped(PAGE_BYTES),
        sender_cpu_s_per_gb: cost(middle.sender.cpu_ns),
        sender_cpu_s_per_gb_range: Spread::of(timed, |run| {
            float(run.sender.cpu_ns) / float(case.bytes)
        }),
        receiver_cpu_s_per_gb: middle
            .receiver
            .as_ref()
            .map_or_else(no_receiver, |it| cost(it.cpu_ns)),
        gb_per_s: Spread::of(timed, throughput),
        peak_anonymous_bytes: peak.map_or_else(missing, |peak| Figure::count(peak.anonymous)),
        peak_file_mapped_bytes: mapped(1),
        besides: besides(measured),
        verdict: fate.verdict,
        textbook: methods::book(case.method, case.pair, case.link, case.cache),
    }
}

fn fate(measured: &Measured) -> Fate {
    match (measured.case.pair, measured.seen()) {
        (Pair::FileToFile, _) => by_extents::fate(measured),
        (Pair::FileToPipe, _) => by_calls::of_pipes(measured),
        (_, Ok(seen)) => by_pages::fate(measured, seen),
        (_, Err(why)) => by_calls::of_sockets(measured, why),
    }
}

impl Fate {
    /// Where the copies are not known, and `why`.
    fn not_known(why: &str, receiver_copies: Figure, verdict: Verdict) -> Self {
        let missing = || Figure::Unavailable(why.to_owned());
        let (sender_copies, by_reference_bytes) = (missing(), missing());
        Self { sender_copies, receiver_copies, by_reference_bytes, inode: None, verdict }
    }
}

fn besides(measured: &Measured) -> Besides {
    let speed = |(run, _): &(Run, Seen)| Figure::Measured(throughput(run));
    Besides {
        watched_gb_per_s: measured.watched.as_ref().map_or_else(|_| measured.missing(), speed),
        unlike: besides::unlike(measured),
        softirq_s_per_gb: besides::softirq(
            &measured.timed,
            rustix::param::clock_ticks_per_second(),
        ),
        discarded: None,
    }
}

/// Data-moving calls by kind: as they were seen, or as many as the engine counted. The engine
/// counts operations of io_uring, of which one call may hand over several.
fn calls(measured: &Measured) -> Vec<CallsOfKind> {
    let calls = match measured.seen() {
        Ok(seen) => seen.calls.clone(),
        Err(_) => {
            let sender = &median(&measured.timed, throughput).sender;
            let name = facts(measured.case.method).call.to_owned();
            vec![(name, sender.calls, sender.bytes)]
        }
    };
    let of_kind = |(name, calls, bytes)| {
        let (calls, bytes) = (Figure::count(calls), Figure::count(bytes));
        CallsOfKind { name, calls, bytes }
    };
    calls.into_iter().map(of_kind).collect()
}

fn crossings(measured: &Measured) -> Figure {
    measured.seen().map_or_else(
        |_| measured.missing(),
        |seen| Figure::Derived {
            value: float(2 * seen.entries),
            from: "2 x (all system calls of the sender while it moves the bytes, those that move \
                   none among them, + page faults in user mode); interrupts are not counted",
        },
    )
}
fn dma_copies(case: &Case, run: &Run) -> Figure {
    let used = &run.sender.used;
    match (case.pair, used.disk_read_bytes, used.disk_write_bytes) {
        (Pair::FileToFile, Some(read), Some(written)) => Figure::Derived {
            value: float(read + written) / float(case.bytes),
            from: "(bytes the disk read for the sender + bytes it dirtied, which writeback will \
                   write) / payload",
        },
        (_, Some(read), _) => Figure::Derived {
            value: float(read) / float(case.bytes),
            from: "bytes the disk read for the sender / payload; no device copies on the way, \
                   which is in memory",
        },
        (_, None, _) => Figure::of_disk(None),
    }
}

/// 10^9 bytes a second, from the first call until the last byte was there.
pub(super) fn throughput(run: &Run) -> f64 {
    let ended = run.receiver.as_ref().map_or(run.sender.ended_ns, |receiver| receiver.ended_ns);
    let took = ended.saturating_sub(run.sender.began_ns).max(1);
    float(run.sender.bytes) / float(took)
}

#[cfg(test)]
mod tests;
