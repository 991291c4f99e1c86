//! What the metrics say.

mod lag;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use underpass::{Ledger, Method};

pub(crate) use lag::Lags;

use crate::flusher::Flusher;
use crate::wire::ApiKey;

/// More than the highest key.
const KEYS: usize = 128;

/// Numbers that only grow, of all connections.
#[derive(Debug)]
pub(crate) struct Counts {
    requests: [AtomicU64; KEYS],
    received: AtomicU64,
    by_method: [AtomicU64; Method::ALL.len()],
    cold: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| AtomicU64::new(0)),
            by_method: std::array::from_fn(|_| AtomicU64::new(0)),
            received: AtomicU64::new(0),
            cold: AtomicU64::new(0),
        }
    }
}

impl Counts {
    pub(crate) fn add_request(&self, key: ApiKey) {
        let key = usize::try_from(key.number()).ok();
        if let Some(count) = key.and_then(|key| self.requests.get(key)) {
            add(count, 1);
        }
    }

    /// A batch was received and found in order.
    pub(crate) fn add_received(&self, bytes: usize) {
        add(&self.received, bytes as u64);
    }

    /// Records were sent.
    pub(crate) fn add_ledger(&self, ledger: &Ledger) {
        for (method, count) in Method::ALL.iter().zip(&self.by_method) {
            add(count, ledger.of(*method).bytes);
        }
        add(&self.cold, ledger.cold());
    }
}

fn add(count: &AtomicU64, more: u64) {
    if more > 0 {
        count.fetch_add(more, Ordering::Relaxed);
    }
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Counts as metrics.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) counts: Arc<Counts>,
    pub(crate) flusher: Arc<Flusher>,
}

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let counter = MetricType::Counter;
        let help = "Requests, by their API key";
        let mut family = encoder.encode_descriptor("requests", help, None, counter)?;
        for key in ApiKey::ALL {
            let count =
                usize::try_from(key.number()).ok().and_then(|at| self.counts.requests.get(at));
            let label = [("api", format!("{key:?}"))];
            let count = ConstCounter::new(count.map_or(0, get));
            count.encode(family.encode_family(&label)?)?;
        }
        let help = "Bytes of responses with records, by how they were given to their sockets";
        let mut family = encoder.encode_descriptor("sent", help, Some(&Unit::Bytes), counter)?;
        for (method, count) in Method::ALL.iter().zip(&self.counts.by_method) {
            let label = [("method", method.to_string())];
            ConstCounter::new(get(count)).encode(family.encode_family(&label)?)?;
        }
        let help = "Bytes of record batches that were received and found in order";
        let family = encoder.encode_descriptor("received", help, Some(&Unit::Bytes), counter)?;
        ConstCounter::new(get(&self.counts.received)).encode(family)?;
        let help = "Calls of fdatasync, each for all that was appended to a partition meanwhile";
        let family = encoder.encode_descriptor("flushes", help, None, counter)?;
        ConstCounter::new(self.flusher.flushes()).encode(family)?;
        let help = "Times that a fetch waited for its records to be read from the disk";
        let family = encoder.encode_descriptor("cold_waits", help, None, counter)?;
        ConstCounter::new(get(&self.counts.cold)).encode(family)
    }
}
