//! What the metrics of a server say; counts are read when they are asked for.
//!
//! Each worker has its own counts and alone writes to them, so counting costs no contended
//! memory; a reader adds them up.
//!
//! Source: OpenMetrics 1.0, "Text format".

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

/// The classes of final status codes, as labels.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// One worker's counts, on separate cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts {
    connections: AtomicU64,
    closed: AtomicU64,
    parked: AtomicU64,
    sent_bytes: AtomicU64,
    requests: [AtomicU64; CLASSES.len()],
}

impl Counts {
    pub(crate) fn count_connection(&self) {
        add(&self.connections, 1);
    }

    pub(crate) fn count_closed(&self) {
        add(&self.closed, 1);
    }

    pub(crate) fn set_parked(&self, parked: usize) {
        self.parked.store(parked as u64, Ordering::Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes as u64);
    }

    pub(crate) fn count_request(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).checked_sub(2);
        class.and_then(|class| self.requests.get(class)).into_iter().for_each(|it| add(it, 1));
    }
}

/// One writer: a load and a store do what fetch_add does, without the lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// The counts of all workers.
#[derive(Debug)]
pub(crate) struct Counters(pub(crate) Vec<Arc<Counts>>);

impl Counters {
    fn sum(&self, count: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.0.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
    }
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counter, of_state) = (MetricType::Counter, MetricType::Gauge);
        let help = "Requests answered, by the class of their status";
        let mut family = encoder.encode_descriptor("requests", help, None, counter)?;
        for (class, name) in CLASSES.iter().enumerate() {
            let requests = ConstCounter::new(self.sum(|counts| &counts.requests[class]));
            requests.encode(family.encode_family(&[("status", *name)])?)?;
        }
        let help = "Bytes that sockets have taken, heads included";
        let family = encoder.encode_descriptor("sent", help, Some(&Unit::Bytes), counter)?;
        ConstCounter::new(self.sum(|counts| &counts.sent_bytes)).encode(family)?;
        // Read before the others, so that one may have ended that was not yet counted.
        let closed = self.sum(|counts| &counts.closed);
        let accepted = self.sum(|counts| &counts.connections);
        let help = "Connections accepted";
        let family = encoder.encode_descriptor("accepted", help, None, counter)?;
        ConstCounter::new(accepted).encode(family)?;
        let help = "Connections open now";
        let family = encoder.encode_descriptor("open", help, None, of_state)?;
        gauge(accepted.saturating_sub(closed)).encode(family)?;
        let help = "Connections that are idle and hold no buffer";
        let family = encoder.encode_descriptor("parked", help, None, of_state)?;
        gauge(self.sum(|counts| &counts.parked)).encode(family)
    }
}
