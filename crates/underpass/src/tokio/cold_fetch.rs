//! Cold bytes of a file brought in on the blocking pool, while a write waits for them.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::tokio::task::JoinHandle;
use rustix::io::Errno;

use crate::outgoing::{ColdBytes, Gate};

/// What a stream knows of the disk.
#[derive(Debug, Default)]
pub(crate) struct ColdFetch {
    under_way: Option<JoinHandle<Result<(), Errno>>>,
    /// Addresses that need no probe, since they were just fetched.
    fetched: Range<usize>,
}

impl ColdFetch {
    /// Fetches `cold` on the blocking pool. Dropping the stream does not wait for it.
    pub(crate) fn start(&mut self, cold: ColdBytes) {
        self.fetched = cold.addresses.clone();
        self.under_way = Some(::tokio::task::spawn_blocking(move || cold.fetch()));
    }

    /// Waits for the fetch under way, if any. A disk that failed is reported by the call that
    /// needs the page, with its position.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(task) = &mut self.under_way else { return Poll::Ready(Ok(())) };
        let answer = ready!(Pin::new(task).poll(cx));
        self.under_way = None;
        Poll::Ready(answer.map(|_| ()).map_err(io::Error::other))
    }

    /// The gate of a task that must not wait.
    pub(crate) fn gate(&self) -> Gate {
        Gate::NoWait { fetched: self.fetched.clone() }
    }
}
