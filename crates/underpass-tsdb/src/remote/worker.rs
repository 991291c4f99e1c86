//! What the connections of one worker share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Semaphore, watch};
use underpass_daemon::log::Lines;
use underpass_daemon::{Accepted, Admitted, Service};

use super::blocks::Current;
use super::connection;
use super::reading::Rules;
use super::tally::Counts;

/// What all workers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) current: Arc<Current>,
    pub(super) rules: Arc<Rules>,
    pub(super) counts: Arc<Counts>,
    /// As many requests as are answered at a time have a permit.
    pub(super) gate: Arc<Semaphore>,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    lines: RefCell<Lines>,
    open: Cell<usize>,
    busy: Cell<usize>,
    stopping: watch::Sender<bool>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, lines: Lines) -> Self {
        let (open, busy, stopping) = Default::default();
        Self { shared, lines: RefCell::new(lines), open, busy, stopping }
    }

    /// Tells when connections are to end.
    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Counts a busy connection until it is dropped.
    pub(super) fn busy(self: &Rc<Self>) -> Counted {
        Counted::new(self, |worker| &worker.busy)
    }

    /// Adds a line to the log, after the time.
    pub(super) fn write_line(&self, line: fmt::Arguments<'_>) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        self.lines.borrow_mut().add(|batch| {
            write!(batch, "time={now} {line}").expect("writing to memory does not fail");
        });
    }
}

impl Service for Worker {
    const UNIT: &'static str = "connection";

    async fn serve(self: Rc<Self>, socket: Accepted, admitted: Admitted) {
        let _open = Counted::new(&self, |worker| &worker.open);
        connection::serve(socket, &self).await;
        drop(admitted);
    }

    fn flush(&self) {
        self.lines.borrow_mut().flush();
    }

    fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn idle(&self) -> usize {
        self.open.get().saturating_sub(self.busy.get())
    }
}

/// One of a count, for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted {
    worker: Rc<Worker>,
    count: fn(&Worker) -> &Cell<usize>,
}

impl Counted {
    fn new(worker: &Rc<Worker>, count: fn(&Worker) -> &Cell<usize>) -> Self {
        count(worker).set(count(worker).get() + 1);
        Self { worker: Rc::clone(worker), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let count = (self.count)(&self.worker);
        count.set(count.get() - 1);
    }
}
