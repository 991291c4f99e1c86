//! What answers came to, for the log and the metrics.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use underpass_daemon::metrics::gauge;

use super::blocks::Current;

/// Numbers that only grow, of one request or of all.
#[derive(Debug, Default)]
pub(super) struct Tally {
    series: AtomicU64,
    samples: AtomicU64,
    whole: AtomicU64,
    encoded: AtomicU64,
    losses: AtomicU64,
}

impl Tally {
    pub(super) fn add_series(&self) {
        add(&self.series, 1);
    }

    pub(super) fn add_samples(&self, count: u64) {
        add(&self.samples, count);
    }

    /// A chunk was sent as it is in its file.
    pub(super) fn add_whole(&self) {
        add(&self.whole, 1);
    }

    /// A chunk was made of samples.
    pub(super) fn add_encoded(&self) {
        add(&self.encoded, 1);
    }

    pub(super) fn add_loss(&self) {
        add(&self.losses, 1);
    }

    pub(super) fn series(&self) -> u64 {
        get(&self.series)
    }

    /// Adds those of a request to those of all.
    pub(super) fn absorb(&self, other: &Self) {
        add(&self.series, get(&other.series));
        add(&self.samples, get(&other.samples));
        add(&self.whole, get(&other.whole));
        add(&self.encoded, get(&other.encoded));
        add(&self.losses, get(&other.losses));
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// The classes of status codes, as labels.
const CLASSES: [&str; 3] = ["2xx", "4xx", "5xx"];

/// What the server has done.
#[derive(Debug, Default)]
pub(super) struct Counts {
    requests: [AtomicU64; CLASSES.len()],
    bytes: AtomicU64,
    cut: AtomicU64,
    pub(super) all: Tally,
}

impl Counts {
    /// An answer has ended; `is_whole` is whether its client has all of it.
    pub(super) fn add(&self, status: StatusCode, bytes: u64, is_whole: bool) {
        let class = match status.as_u16() / 100 {
            4 => 1,
            5 => 2,
            _ => 0,
        };
        add(&self.requests[class], 1);
        add(&self.bytes, bytes);
        add(&self.cut, u64::from(!is_whole));
    }
}

/// Counts and blocks as metrics.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) counts: Arc<Counts>,
    pub(super) current: Arc<Current>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Counts { requests, bytes, cut, all } = &*self.counts;
        let counter = MetricType::Counter;
        let help = "Requests answered, by the class of their status";
        let mut family = encoder.encode_descriptor("requests", help, None, counter)?;
        for (class, count) in CLASSES.iter().zip(requests) {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("status", *class)])?)?;
        }
        let help = "Chunks sent: as they are in their files, or made of samples";
        let mut family = encoder.encode_descriptor("chunks", help, None, counter)?;
        for (how, count) in [("as-they-are", &all.whole), ("encoded", &all.encoded)] {
            ConstCounter::new(get(count)).encode(family.encode_family(&[("how", how)])?)?;
        }
        let help = "Bytes of answers that were given to their connections";
        let family = encoder.encode_descriptor("sent", help, Some(&Unit::Bytes), counter)?;
        ConstCounter::new(get(bytes)).encode(family)?;
        for (name, help, count) in [
            ("cut", "Answers of which the client has not got all", cut),
            ("series", "Series in answers", &all.series),
            ("samples", "Samples in answers that are one message", &all.samples),
            ("losses", "Damaged places that a query has met", &all.losses),
        ] {
            let family = encoder.encode_descriptor(name, help, None, counter)?;
            ConstCounter::new(get(count)).encode(family)?;
        }
        let family = encoder.encode_descriptor("blocks", "Blocks open", None, MetricType::Gauge)?;
        gauge(self.current.now().blocks.len() as u64).encode(family)
    }
}
