//! What a program gives the daemon: how its connections are served, and what else it does.

use std::cell::Cell;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;

use prometheus_client::registry::Registry;
use tokio::sync::OwnedSemaphorePermit;

use crate::listener::Accepted;
use crate::per_address::OfClient;

/// A connection's place among those that may be open at a time; another gets it when dropped.
#[derive(Debug)]
pub struct Admitted {
    listener: usize,
    _permit: OwnedSemaphorePermit,
    _open: Open,
    of_client: OfClient,
}

impl Admitted {
    pub(crate) const fn new(
        permit: OwnedSemaphorePermit,
        open: Open,
        listener: usize,
        of_client: OfClient,
    ) -> Self {
        Self { listener, _permit: permit, _open: open, of_client }
    }

    /// Which of the [endpoints](crate::Daemon::endpoints) it came through.
    #[must_use]
    pub const fn listener(&self) -> usize {
        self.listener
    }

    /// Counts a connection that a proxy passes on as this client's. `false` if that has as many as
    /// it may.
    #[must_use]
    pub fn count_as(&mut self, client: IpAddr) -> bool {
        self.of_client.count_as(client)
    }
}

/// One of a worker's open connections, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Open(Rc<Cell<usize>>);

impl Open {
    pub(crate) fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// How the connections of one worker are served. It never leaves the worker's thread.
pub trait Service: 'static {
    /// What a drain that ends early cuts short, in the singular: "connection".
    const UNIT: &'static str;

    /// Serves a connection until it ends, and then drops `admitted`.
    ///
    /// The first step of the future is made where the connection was accepted, with a waker that
    /// wakes no one; a future that is not ready then is polled once more by a task.
    fn serve(
        self: Rc<Self>,
        socket: Accepted,
        admitted: Admitted,
    ) -> impl Future<Output = ()> + 'static;

    /// Hands on the lines that the service holds for the log.
    fn flush(&self);

    /// From now on connections should end as soon as their peers lose nothing by it.
    fn stop(&self) {}

    /// Of the connections that are being served, those a drain need not wait for.
    fn idle(&self) -> usize {
        0
    }

    /// Closes the connection that has been idle longest. `false` if there is none.
    fn close_idle(&self) -> bool {
        false
    }

    /// Gives back descriptors that are only kept for speed: none is left for a connection.
    fn give_way(&self) {}
}

/// What a program gives the daemon to run.
pub struct Program<M> {
    /// Makes the service of each worker, on the worker's thread.
    pub services: Vec<M>,
    /// What the metrics say.
    pub metrics: Registry,
    /// Reads again what may have changed, at SIGHUP, on a thread that may wait.
    pub reload: Box<dyn Fn() + Send + Sync>,
    /// Runs on the main thread. Once it is over, the daemon stops as after a signal.
    pub background: Pin<Box<dyn Future<Output = ()>>>,
}

impl<M> fmt::Debug for Program<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("workers", &self.services.len()).finish_non_exhaustive()
    }
}
