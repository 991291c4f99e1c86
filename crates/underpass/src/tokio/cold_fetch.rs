//! Cold bytes of a file brought in on the blocking pool, while a write waits for them.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use ::tokio::task::JoinHandle;
use rustix::io::Errno;

use crate::outgoing::{ColdBytes, Gate};
use crate::sent::Sent;

/// What a stream knows of the disk.
#[derive(Debug, Default)]
pub(crate) struct ColdFetch {
    under_way: Option<(JoinHandle<Result<(), Errno>>, Instant)>,
    /// Addresses that need no probe, since they were just fetched.
    fetched: Range<usize>,
    /// Those that are over and that no one has asked for, and how long they took.
    waits: (u64, Duration),
}

impl ColdFetch {
    /// Fetches `cold` on the blocking pool. Dropping the stream does not wait for it.
    pub(crate) fn start(&mut self, cold: ColdBytes) {
        self.fetched = cold.addresses.clone();
        let task = ::tokio::task::spawn_blocking(move || cold.fetch());
        self.under_way = Some((task, Instant::now()));
    }

    /// Waits for the fetch under way, if any. A disk that failed is reported by the call that
    /// needs the page, with its position.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((task, since)) = &mut self.under_way else { return Poll::Ready(Ok(())) };
        let answer = ready!(Pin::new(task).poll(cx));
        self.waits = (self.waits.0 + 1, self.waits.1 + since.elapsed());
        self.under_way = None;
        Poll::Ready(answer.map(|_| ()).map_err(io::Error::other))
    }

    /// What a stream sent, and what it waited for since this was asked last.
    pub(crate) fn add_waits(&mut self, sent: Sent) -> Sent {
        let (cold_waits, cold_time) = std::mem::take(&mut self.waits);
        Sent { cold_waits, cold_time, ..sent }
    }

    /// The gate of a task that must not wait.
    pub(crate) fn gate(&self) -> Gate {
        Gate::NoWait { fetched: self.fetched.clone() }
    }
}
