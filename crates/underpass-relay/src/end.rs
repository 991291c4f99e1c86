//! How connections end, and how many have ended so.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often idleness is looked for, within an eighth of its limit.
const LOOK_AT_LEAST: Duration = Duration::from_millis(10);
const LOOK_AT_MOST: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Both peers have sent everything, and the other one was told.
    Closed,
    /// The client reset it, or could not be written to.
    ClientFailed,
    /// The target reset it, or could not be written to.
    TargetFailed,
    /// Nothing moved for the idle timeout.
    Idle,
    /// No target was up and could be reached.
    NoTarget,
    /// The PROXY header was not one, or did not come in time.
    BadHeader,
    /// The client that the PROXY header names has as many connections as it may.
    OneTooMany,
    /// The relay ended first.
    Cut,
}

impl End {
    /// Every end.
    pub(crate) const ALL: [Self; 8] = [
        Self::Closed,
        Self::ClientFailed,
        Self::TargetFailed,
        Self::Idle,
        Self::NoTarget,
        Self::BadHeader,
        Self::OneTooMany,
        Self::Cut,
    ];

    /// The word for it in metrics and log lines.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientFailed => "client-failed",
            Self::TargetFailed => "target-failed",
            Self::Idle => "idle",
            Self::NoTarget => "no-target",
            Self::BadHeader => "bad-header",
            Self::OneTooMany => "one-too-many",
            Self::Cut => "cut",
        }
    }
}

/// Connections by how they ended, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    accepted: AtomicU64,
    strangers: AtomicU64,
    by_end: [AtomicU64; End::ALL.len()],
}

impl Ends {
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_stranger(&self) {
        self.strangers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections of which no PROXY header was expected although others have to send one.
    pub(crate) fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    pub(crate) fn ended(&self, end: End) -> u64 {
        self.by_end[end as usize].load(Ordering::Relaxed)
    }
}

impl Ends {
    /// Connections that are open.
    fn open(&self) -> u64 {
        let ended = End::ALL.into_iter().map(|end| self.ended(end)).sum();
        self.accepted().saturating_sub(ended)
    }

    /// Waits until none was open, nor came, for `limit`; for ever without one.
    pub(crate) async fn idle_for(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        let pause = (limit / 8).clamp(LOOK_AT_LEAST, LOOK_AT_MOST);
        let (mut since, mut accepted) = (Instant::now(), 0);
        while since.elapsed() < limit {
            sleep(pause).await;
            if self.open() > 0 || self.accepted() != accepted {
                (since, accepted) = (Instant::now(), self.accepted());
            }
        }
        tracing::info!("no connection for {limit:?}");
    }
}

/// How a connection ends. Counted when dropped: as the last field of a connection, once its
/// sockets are closed.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) end: End,
    ends: Arc<Ends>,
}

impl Ending {
    pub(crate) fn new(ends: &Arc<Ends>) -> Self {
        Self { end: End::Cut, ends: Arc::clone(ends) }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ends.by_end[self.end as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A value, or a dash where there is none.
pub(crate) struct OrDash<T>(pub(crate) Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}
