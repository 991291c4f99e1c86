//! What the metrics of a server say; counts are read when they are asked for.
//!
//! Each worker has its own counts and alone writes to them, so counting costs no contended
//! memory; a reader adds them up.
//!
//! Source: OpenMetrics 1.0, "Text format".

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use underpass::Errno;
use underpass_daemon::metrics::gauge;

use crate::access_log::Cut;
use crate::account::{Account, METHODS};

/// The classes of final status codes, as labels.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// What sendfile(2) answers where it takes no reference, and what else it might.
const REFUSALS: [(Option<Errno>, &str); 6] = [
    (Some(Errno::INVAL), "EINVAL"),
    (Some(Errno::NOSYS), "ENOSYS"),
    (Some(Errno::OPNOTSUPP), "EOPNOTSUPP"),
    (Some(Errno::PERM), "EPERM"),
    (Some(Errno::ACCESS), "EACCES"),
    (None, "other"),
];

/// What ends streams and connections of HTTP/2, as RFC 9113 §7 names it, from code 1 on.
const HTTP2_ERRORS: [&str; 13] = [
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

/// How handshakes end, as labels.
const HANDSHAKES: [&str; 5] = ["ktls", "rustls", "clear", "failed", "given_up"];

/// How a handshake ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shaken {
    /// With keys that the kernel has.
    ByKernel,
    /// With keys that rustls has.
    ByRustls,
    /// The client speaks HTTP without TLS.
    InTheClear,
    Failed,
    /// It took too long, or others needed its place.
    GivenUp,
}

/// How requests that upload end, as labels.
const UPLOADS: [&str; 4] = ["placed", "part", "refused", "cut"];

/// How a request that uploads ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Uploaded {
    /// Its files are in place.
    Placed,
    /// More is to come.
    Part,
    Refused,
    /// Its client did not wait for the answer.
    Cut,
}

/// The name of what sendfile(2) answered.
pub(crate) fn name(errno: Errno) -> &'static str {
    REFUSALS[place(errno)].1
}

fn place(errno: Errno) -> usize {
    let known = REFUSALS.iter().position(|(known, _)| *known == Some(errno));
    known.unwrap_or(REFUSALS.len() - 1)
}

/// One worker's counts, on separate cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counts {
    connections: AtomicU64,
    closed: AtomicU64,
    parked: AtomicU64,
    sent_bytes: AtomicU64,
    sent_by: [AtomicU64; METHODS.len()],
    requests: [AtomicU64; CLASSES.len()],
    cold_waits: AtomicU64,
    cold_nanos: AtomicU64,
    fallbacks: [AtomicU64; REFUSALS.len()],
    cut: [AtomicU64; Cut::ALL.len()],
    http2_errors: [AtomicU64; HTTP2_ERRORS.len()],
    handshakes: [AtomicU64; HANDSHAKES.len()],
    uploaded_bytes: AtomicU64,
    uploads: [AtomicU64; UPLOADS.len()],
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

    /// What the socket took, and how.
    pub(crate) fn count_sent(&self, bytes: usize, account: &Account) {
        add(&self.sent_bytes, bytes as u64);
        for (count, bytes) in self.sent_by.iter().zip(account.bytes) {
            add(count, bytes);
        }
        if account.cold_waits > 0 {
            add(&self.cold_waits, account.cold_waits);
            add(&self.cold_nanos, account.cold_time.as_nanos().try_into().unwrap_or(u64::MAX));
        }
        if let Some(errno) = account.errno {
            add(&self.fallbacks[place(errno)], account.fallbacks);
        }
    }

    pub(crate) fn count_request(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).checked_sub(2);
        class.and_then(|class| self.requests.get(class)).into_iter().for_each(|it| add(it, 1));
    }

    pub(crate) fn count_cut(&self, by: Cut) {
        add(&self.cut[by as usize], 1);
    }

    /// Code 0 says that nothing is wrong.
    pub(crate) fn count_http2_error(&self, code: u32) {
        let place = usize::try_from(code).ok().and_then(|code| code.checked_sub(1));
        let count = place.and_then(|place| self.http2_errors.get(place));
        count.into_iter().for_each(|count| add(count, 1));
    }

    pub(crate) fn count_uploaded(&self, bytes: usize) {
        add(&self.uploaded_bytes, bytes as u64);
    }

    pub(crate) fn count_upload(&self, end: Uploaded) {
        add(&self.uploads[end as usize], 1);
    }

    pub(crate) fn count_handshake(&self, end: Shaken) {
        add(&self.handshakes[end as usize], 1);
    }
}

/// One writer: a load and a store do what fetch_add does, without the lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// The counts of all workers.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) of_workers: Vec<Arc<Counts>>,
    pub(crate) is_secured: bool,
}

impl Counters {
    fn sum(&self, count: impl Fn(&Counts) -> &AtomicU64) -> u64 {
        self.of_workers.iter().map(|counts| count(counts).load(Ordering::Relaxed)).sum()
    }

    /// A counter for each value of a label.
    fn labelled<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help, unit): (&str, &str, Option<&Unit>),
        (label, values): (&str, [&str; N]),
        of: impl Fn(&Counts) -> &[AtomicU64; N],
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (nth, value) in values.into_iter().enumerate() {
            let count = ConstCounter::new(self.sum(|counts| &of(counts)[nth]));
            count.encode(family.encode_family(&[(label, value)])?)?;
        }
        Ok(())
    }

    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let named = ("requests", "Requests answered, by the class of their status", None);
        self.labelled(encoder, named, ("status", CLASSES), |counts| &counts.requests)?;
        let named = ("cut", "Responses cut short, by what was the cause", None);
        let causes = Cut::ALL.map(Cut::name);
        self.labelled(encoder, named, ("cause", causes), |counts| &counts.cut)?;
        let help = "Errors of HTTP/2 that clients were told, of streams and of connections";
        let codes = ("code", HTTP2_ERRORS);
        self.labelled(encoder, ("http2_errors", help, None), codes, |counts| &counts.http2_errors)?;
        if self.is_secured {
            let named = ("handshakes", "Handshakes of TLS, by how they ended", None);
            let ends = ("result", HANDSHAKES);
            self.labelled(encoder, named, ends, |counts| &counts.handshakes)?;
        }
        Ok(())
    }

    fn uploads(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Bytes of uploads that came";
        let bytes = Some(&Unit::Bytes);
        let family = encoder.encode_descriptor("uploaded", help, bytes, MetricType::Counter)?;
        ConstCounter::new(self.sum(|counts| &counts.uploaded_bytes)).encode(family)?;
        let named = ("uploads", "Requests that upload, by how they ended", None);
        self.labelled(encoder, named, ("result", UPLOADS), |counts| &counts.uploads)
    }

    fn sent(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (counter, bytes) = (MetricType::Counter, Some(&Unit::Bytes));
        let help = "Bytes that sockets have taken, heads included";
        let family = encoder.encode_descriptor("sent", help, bytes, counter)?;
        ConstCounter::new(self.sum(|counts| &counts.sent_bytes)).encode(family)?;
        let named = ("sent_by_method", "The same bytes, by how they left", bytes);
        self.labelled(encoder, named, ("method", METHODS), |counts| &counts.sent_by)?;
        let help = "Fetches from the disk of what was to be sent next";
        let family = encoder.encode_descriptor("cold_waits", help, None, counter)?;
        ConstCounter::new(self.sum(|counts| &counts.cold_waits)).encode(family)?;
        let help = "The time that these took";
        let family = encoder.encode_descriptor("cold_wait", help, Some(&Unit::Seconds), counter)?;
        let time = Duration::from_nanos(self.sum(|counts| &counts.cold_nanos));
        ConstCounter::new(time.as_secs_f64()).encode(family)?;
        let help = "Calls of sendfile that the kernel refused, after which bytes were copied";
        let errnos = ("errno", REFUSALS.map(|(_, name)| name));
        self.labelled(encoder, ("fallbacks", help, None), errnos, |counts| &counts.fallbacks)
    }

    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (counter, of_state) = (MetricType::Counter, MetricType::Gauge);
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

impl Collector for Counters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(&mut encoder)?;
        self.sent(&mut encoder)?;
        self.uploads(&mut encoder)?;
        self.connections(&mut encoder)
    }
}
