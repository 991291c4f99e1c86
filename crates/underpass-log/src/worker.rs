//! What the connections of one worker share.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{MissedTickBehavior, interval};
use underpass_daemon::log::Lines;
use underpass_daemon::{Accepted, Admitted, Service};

use crate::connection;
use crate::connection::vitals::Connections;
use crate::partition::Partition;
use crate::partition::waiters::{Bell, Registered, Waiters};
use crate::server::Shared;
use crate::time::now;

/// How often connections are looked at, whether they have been idle or stuck for too long.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    lines: RefCell<Lines>,
    pub(crate) connections: Rc<Connections>,
    appends: Rc<Appends>,
    /// Rung at a stop: fetches that wait answer with what they have.
    waiting: Waiters,
    is_stopping: Cell<bool>,
}

/// Partitions with batches that this worker's connections have queued.
#[derive(Debug, Default)]
struct Appends {
    partitions: RefCell<Vec<Arc<Partition>>>,
    some: Notify,
}

impl Worker {
    /// A worker, and its tasks. In the runtime of its thread.
    pub(crate) fn new(shared: Arc<Shared>, lines: Lines) -> Self {
        let (appends, connections) = (Rc::<Appends>::default(), Rc::<Connections>::default());
        spawn_local(Rc::clone(&appends).write());
        spawn_local(keep_looking(Rc::clone(&connections), Arc::clone(&shared)));
        Self {
            shared,
            lines: RefCell::new(lines),
            connections,
            appends,
            waiting: Waiters::default(),
            is_stopping: Cell::new(false),
        }
    }

    /// Has what is queued for a partition written after the turns of the other connections:
    /// their batches go with it in one call.
    pub(crate) fn write_soon(&self, partition: &Arc<Partition>) {
        let mut partitions = self.appends.partitions.borrow_mut();
        if !partitions.iter().any(|other| Arc::ptr_eq(other, partition)) {
            partitions.push(Arc::clone(partition));
        }
        self.appends.some.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    /// Has `bell` rung at a stop, until what is returned is dropped.
    pub(crate) fn ring_at_stop<'w>(&'w self, bell: &'w Arc<Bell>) -> Registered<'w> {
        self.waiting.register(bell)
    }

    /// Adds a line to the log, after the time.
    pub(crate) fn write_line(&self, line: fmt::Arguments<'_>) {
        self.lines.borrow_mut().add(|batch| {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            write!(batch, "time={now} {line}").expect("writing to memory does not fail");
        });
    }
}

impl Service for Worker {
    const UNIT: &'static str = "connection";

    async fn serve(self: Rc<Self>, socket: Accepted, admitted: Admitted) {
        connection::serve(socket, &self).await;
        drop(admitted);
    }

    fn flush(&self) {
        self.lines.borrow_mut().flush();
    }

    fn stop(&self) {
        self.is_stopping.set(true);
        self.waiting.ring();
        self.connections.stop_reading();
        // Once is enough, and more does no harm.
        self.shared.groups.close();
    }

    fn idle(&self) -> usize {
        self.connections.idle()
    }
}

impl Appends {
    /// Writes what is queued, for ever. A task that is woken runs behind those woken before it.
    async fn write(self: Rc<Self>) {
        loop {
            self.some.notified().await;
            let partitions = self.partitions.take();
            let now = now();
            partitions.iter().for_each(|partition| partition.write_queued(now));
        }
    }
}

async fn keep_looking(connections: Rc<Connections>, shared: Arc<Shared>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        connections.look(shared.idle_limit);
    }
}
