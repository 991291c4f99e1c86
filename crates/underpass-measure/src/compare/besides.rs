//! What separate runs add to a row's timed runs: what watching did to them, what the
//! kernel spent in software interrupts, and what a receiver that takes no copy makes of it.
//!
//! A receiver that reads shares the machine with the sender, and on few processors its copy is
//! part of what is measured. With `MSG_TRUNC` the kernel discards the bytes instead.
//!
//! Source: recv(2) and tcp(7), `MSG_TRUNC`; proc_stat(5).

use serde::Serialize;

use super::crew::Run;
use super::judge::{Measured, throughput};
use super::report::Row;
use crate::figure::{Figure, Spread, float, gb};
use crate::words::decimal;

/// By how much a watched run may be slower or faster than the slowest and fastest bare one.
const UNLIKE_FROM: f64 = 0.1;

/// Runs that are shorter say nothing of what watching did to them.
const COMPARABLE_FROM_NS: u64 = 5_000_000;

/// Fewer ticks cannot be told from none.
const TICKS_MIN: u64 = 2;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Besides {
    /// 10^9 bytes of payload per second in the run that the probe watched.
    pub watched_gb_per_s: Figure,
    /// That the watched run was unlike the others, and how: calls are those of the watched run.
    pub unlike: Option<String>,
    /// Processor time in software interrupts per 10^9 bytes of payload, in seconds.
    pub softirq_s_per_gb: Figure,
    /// With a receiver that discards; only of whole files to TCP, from the page cache.
    pub discarded: Option<Discarded>,
}

/// The same, as in [`Row`], to a receiver that has the kernel discard the bytes (`MSG_TRUNC`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Discarded {
    pub gb_per_s: Spread,
    pub sender_cpu_s_per_gb: Figure,
    pub receiver_cpu_s_per_gb: Figure,
    pub receiver_copies: Figure,
}

/// What the watched run is unlike, if it is.
pub(super) fn unlike(measured: &Measured) -> Option<String> {
    let (Measured { timed, .. }, Ok((watched, _))) = (measured, &measured.watched) else {
        return None;
    };
    if timed.iter().chain([watched]).any(|run| took_ns(run) < COMPARABLE_FROM_NS) {
        return None;
    }
    let speed = throughput(watched);
    let least = timed.iter().map(throughput).fold(f64::INFINITY, f64::min);
    let most = timed.iter().map(throughput).fold(0.0, f64::max);
    let is_like = speed >= least * (1.0 - UNLIKE_FROM) && speed <= most * (1.0 + UNLIKE_FROM);
    let [speed, least, most] = [speed, least, most].map(decimal);
    (!is_like).then(|| {
        format!(
            "what was seen is of a watched run at {speed} GB/s, and bare runs had {least} to {most}"
        )
    })
}

fn took_ns(run: &Run) -> u64 {
    run.sender.ended_ns.saturating_sub(run.sender.began_ns)
}

/// Of the timed runs of a row; `ticks_per_s` is the unit of proc_stat(5).
pub(super) fn softirq(timed: &[Run], ticks_per_s: u64) -> Figure {
    let ticks: Option<u64> = timed.iter().map(|run| run.softirq_ticks).sum();
    let Some(ticks) = ticks else {
        return Figure::Unavailable("/proc/stat has no softirq column".into());
    };
    if ticks < TICKS_MIN {
        return Figure::Unavailable(
            "fewer than two ticks of /proc/stat were spent in software interrupts: larger --size \
             or more --repeats show how much"
                .into(),
        );
    }
    let bytes: u64 = timed.iter().map(|run| run.sender.bytes).sum();
    Figure::Derived {
        value: float(ticks) / float(ticks_per_s.max(1)) / gb(bytes),
        from: "softirq ticks of /proc/stat while the timed runs ran / their payload: of all \
               processors, whole ticks, strangers' among them, and part of the processor time of \
               whomever they interrupt",
    }
}

/// Of the row whose receiver discards.
impl From<Row> for Discarded {
    fn from(row: Row) -> Self {
        let Row { gb_per_s, sender_cpu_s_per_gb, receiver_cpu_s_per_gb, receiver_copies, .. } = row;
        Self { gb_per_s, sender_cpu_s_per_gb, receiver_cpu_s_per_gb, receiver_copies }
    }
}

/// Ticks in software interrupts, of all processors: the seventh number of the first line.
pub(super) fn softirq_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    line.split_whitespace().nth(6)?.parse().ok()
}
