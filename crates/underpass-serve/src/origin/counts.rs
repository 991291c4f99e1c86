//! What is counted of an origin, for its metrics, and warned of, not too often.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use tokio::sync::watch;
use underpass_daemon::metrics::gauge;
use underpass_remote::{Store, StoreFacts};

use super::policy::Why;
use super::status::CacheStatus;
use crate::sites::Checked;

/// The least time between two warnings: an origin that is down fails at each request.
const WARN_EVERY: Duration = Duration::from_secs(1);

/// Classes of what an origin answers, and that it does not.
const ANSWERS: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

/// Counts that all workers share: what they are of takes a system call, or the origin.
#[derive(Debug)]
pub(crate) struct OriginCounts {
    requests: [AtomicU64; CacheStatus::NAMES.len()],
    answers: [AtomicU64; ANSWERS.len()],
    relayed: [AtomicU64; Why::ALL.len()],
    received: AtomicU64,
    is_up: AtomicBool,
    warned: Mutex<(Option<Instant>, u64)>,
}

impl Default for OriginCounts {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            answers: Default::default(),
            relayed: Default::default(),
            received: AtomicU64::new(0),
            is_up: AtomicBool::new(true),
            warned: Mutex::default(),
        }
    }
}

impl OriginCounts {
    /// What is here was given out.
    pub(crate) fn count_hit(&self) {
        self.count_request(CacheStatus::Hit);
    }

    pub(super) fn count_request(&self, status: CacheStatus) {
        self.requests[status.place()].fetch_add(1, Ordering::Relaxed);
    }

    /// It was asked, and answered with this, or not.
    pub(super) fn count_asked(&self, status: Option<u16>) {
        let place = status.map_or(4, |status| usize::from(status / 100).clamp(2, 5) - 2);
        self.answers[place].fetch_add(1, Ordering::Relaxed);
        self.is_up.store(place < 3, Ordering::Relaxed);
    }

    /// These bytes of content came, and went by the store.
    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_relayed(&self, why: Why) {
        self.relayed[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Warns, and says how often it was left out.
    pub(super) fn warn(&self, what: impl FnOnce() -> String) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.0.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            warned.1 += 1;
            return;
        }
        let left_out = std::mem::take(&mut warned.1);
        warned.0 = Some(Instant::now());
        drop(warned);
        match left_out {
            0 => tracing::warn!("{}", what()),
            _ => tracing::warn!("{} ({left_out} more were left out)", what()),
        }
    }
}

/// The counts of the origins of all sites.
#[derive(Debug)]
pub(crate) struct Collected(pub(crate) watch::Sender<Arc<Checked>>);

impl Collector for Collected {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sites = Arc::clone(&self.0.borrow());
        let origins: Vec<_> = sites.options().filter_map(|site| site.origin.as_ref()).collect();
        // Two may share a store, which is counted once.
        let mut seen: Vec<&Arc<Store>> = Vec::new();
        let counted = origins.iter().map(|origin| {
            let is_new = !seen.iter().any(|store| Arc::ptr_eq(store, origin.store()));
            seen.push(origin.store());
            let facts = if is_new { origin.store().facts() } else { StoreFacts::default() };
            (origin.counts(), facts)
        });
        let counted: Vec<_> = counted.collect();
        if counted.is_empty() { Ok(()) } else { encode(&mut encoder, &counted) }
    }
}

/// Adds the counts of all origins.
fn encode(encoder: &mut DescriptorEncoder<'_>, all: &[(&OriginCounts, StoreFacts)]) -> fmt::Result {
    let labelled = |encoder: &mut DescriptorEncoder<'_>,
                    (name, help): (&str, &str),
                    (label, values): (&str, &[&str]),
                    of: &dyn Fn(&OriginCounts, usize) -> u64| {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (nth, value) in values.iter().enumerate() {
            let count = all.iter().map(|(counts, _)| of(counts, nth)).sum::<u64>();
            ConstCounter::new(count).encode(family.encode_family(&[(label, *value)])?)?;
        }
        Ok(())
    };
    let named = ("cache_requests", "Requests for what an origin has, by how they were answered");
    let (results, load) = (("result", &CacheStatus::NAMES[..]), Ordering::Relaxed);
    labelled(encoder, named, results, &|counts, nth| counts.requests[nth].load(load))?;
    let named = ("origin_requests", "Requests to origins, by the class of their answers");
    let answers = ("status", &ANSWERS[..]);
    labelled(encoder, named, answers, &|counts, nth| counts.answers[nth].load(load))?;
    let named = ("relayed", "Answers that were not kept, by the reason");
    let reasons = Why::ALL.map(Why::name);
    labelled(encoder, named, ("why", &reasons), &|counts, nth| counts.relayed[nth].load(load))?;
    of_stores(encoder, all)
}

fn of_stores(
    encoder: &mut DescriptorEncoder<'_>,
    all: &[(&OriginCounts, StoreFacts)],
) -> fmt::Result {
    let bytes = Some(&Unit::Bytes);
    let sum = |of: fn(&StoreFacts) -> u64| all.iter().map(|(_, facts)| of(facts)).sum::<u64>();
    let help = "Bytes of the disk that what is kept of origins has";
    let family = encoder.encode_descriptor("cache", help, bytes, MetricType::Gauge)?;
    gauge(sum(|facts| facts.bytes)).encode(family)?;
    let help = "Bytes of it that were given back to make room";
    let family = encoder.encode_descriptor("evicted", help, bytes, MetricType::Counter)?;
    ConstCounter::new(sum(|facts| facts.evicted_bytes)).encode(family)?;
    let help = "Bytes of content that came from origins";
    let family = encoder.encode_descriptor("origin_received", help, bytes, MetricType::Counter)?;
    let relayed =
        all.iter().map(|(counts, _)| counts.received.load(Ordering::Relaxed)).sum::<u64>();
    ConstCounter::new(sum(|facts| facts.received_bytes) + relayed).encode(family)?;
    let help = "Bytes of what is kept that were read again and compared with what came";
    let family = encoder.encode_descriptor("scrubbed", help, bytes, MetricType::Counter)?;
    ConstCounter::new(sum(|facts| facts.scrubbed.bytes)).encode(family)?;
    let help = "Objects that the disk had damaged, and that were removed";
    let family = encoder.encode_descriptor("scrub_damaged", help, None, MetricType::Counter)?;
    ConstCounter::new(sum(|facts| facts.scrubbed.damaged)).encode(family)?;
    let help = "Threads that ask origins or take what they answer";
    let family = encoder.encode_descriptor("fills", help, None, MetricType::Gauge)?;
    gauge(sum(|facts| facts.threads as u64)).encode(family)?;
    let help = "Whether each origin answered when it was asked last";
    let family = encoder.encode_descriptor("origin_up", help, None, MetricType::Gauge)?;
    let are_up = all.iter().all(|(counts, _)| counts.is_up.load(Ordering::Relaxed));
    gauge(u64::from(are_up)).encode(family)
}
