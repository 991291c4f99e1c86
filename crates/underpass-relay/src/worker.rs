//! A worker: one thread, one runtime, one listening socket, and the connections it accepts.
//!
//! Where as many connections are open as may be, each worker accepts one more, which waits; the
//! others wait in the kernel's queue, and past that queue in the clients' own retries. To stop,
//! a worker takes what the queue holds, closes the listener, and lets connections go on until
//! they end or the grace is over.
//!
//! Source: accept(2), "Error handling"; listen(2); socket(7), `SO_REUSEPORT`.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Semaphore, watch};
use tokio::task::{spawn_local, unconstrained};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use underpass_daemon::limits::pause_after;
use underpass_daemon::listen::BACKLOG;
use underpass_daemon::log::Lines;

use crate::connection::{self, End};
use crate::echo;
use crate::endpoint::Listener;
use crate::flow::Means;
use crate::server::Settings;
use crate::socket::{Acceptor, Socket};
use crate::targets::TargetSet;
use crate::tee::Tee;

/// How often the log is written out, and a stopping worker looks whether it is done.
const TICK: Duration = Duration::from_millis(200);

/// Connections by how they ended, of all workers.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    accepted: AtomicU64,
    strangers: AtomicU64,
    by_end: [AtomicU64; End::ALL.len()],
}

impl Ends {
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

/// What is done with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    /// It is relayed to a target.
    Relay,
    /// It gets back what it sends, and the file does too.
    Echo(Option<Arc<Tee>>),
}

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) settings: Arc<Settings>,
    pub(crate) means: Means,
    pub(crate) targets: watch::Receiver<Arc<TargetSet>>,
    ends: Arc<Ends>,
    lines: RefCell<Lines>,
    open: Cell<usize>,
}

impl Worker {
    pub(crate) fn new(
        settings: Arc<Settings>,
        means: Means,
        targets: watch::Receiver<Arc<TargetSet>>,
        ends: Arc<Ends>,
        lines: Lines,
    ) -> Self {
        let (lines, open) = (RefCell::new(lines), Cell::new(0));
        Self { settings, means, targets, ends, lines, open }
    }

    pub(crate) fn count_accepted(&self) {
        self.ends.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_stranger(&self) {
        self.ends.strangers.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn is_logging(&self) -> bool {
        self.lines.borrow().is_on()
    }

    /// Adds a line to the log, after the time.
    pub(crate) fn write_line(&self, line: fmt::Arguments<'_>) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        self.lines.borrow_mut().add(|batch| {
            write!(batch, "time={now} {line}").expect("writing to memory does not fail");
        });
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
    pub(crate) fn new(worker: &Worker) -> Self {
        Self { end: End::Cut, ends: Arc::clone(&worker.ends) }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ends.by_end[self.end as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What a worker is given at its start.
pub(crate) struct Start {
    pub(crate) listener: Listener,
    pub(crate) settings: Arc<Settings>,
    pub(crate) targets: watch::Receiver<Arc<TargetSet>>,
    pub(crate) ends: Arc<Ends>,
    pub(crate) lines: Lines,
    pub(crate) tally: crate::tally::Tally,
    pub(crate) admission: Arc<Semaphore>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Relays until `stop` is true and connections have ended. Gives how many were cut at the end
/// of the grace.
///
/// # Errors
///
/// If the runtime cannot be made or the socket not be watched.
pub(crate) fn run(start: Start) -> io::Result<usize> {
    let Start { listener, settings, targets, ends, lines, tally, admission, mut stop } = start;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let means = Means::new(settings.pipes_max, tally);
    let worker = Rc::new(Worker::new(settings, means, targets, ends, lines));
    runtime.block_on(async {
        let acceptor = Acceptor::new(listener)?;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // An error means that the relay itself is gone.
                _ = stop.changed() => break,
                _ = tick.tick(), if worker.is_logging() => worker.lines.borrow_mut().flush(),
                accepted = accept(&acceptor, &admission) => match accepted {
                    Ok((socket, peer)) => start_one(socket, peer, &admission, &worker),
                    Err(error) => if let Some(pause) = pause_after(&error) {
                        sleep(pause).await;
                    }
                },
            }
        }
        accept_queued(&acceptor, &admission, &worker).await;
        drop(acceptor);
        Ok(drain(&worker, stop).await)
    })
}

/// Accepts a connection once there is room for one.
async fn accept(
    acceptor: &Acceptor,
    admission: &Semaphore,
) -> io::Result<(Socket, Option<SocketAddr>)> {
    drop(admission.acquire().await.map_err(io::Error::other)?);
    poll_fn(|cx| acceptor.poll_accept(cx)).await
}

/// Accepts what the kernel has already: it would be reset with the listener.
async fn accept_queued(acceptor: &Acceptor, admission: &Arc<Semaphore>, worker: &Rc<Worker>) {
    // However many there are: tokio would end the task's turn, and the queue with it.
    let accepting = unconstrained(poll_fn(|cx| {
        for _ in 0..BACKLOG {
            match acceptor.poll_accept(cx) {
                Poll::Ready(Ok((socket, peer))) => start_one(socket, peer, admission, worker),
                Poll::Ready(Err(error)) if pause_after(&error).is_none() => {}
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(())
    }));
    accepting.await;
}

/// A client that waits for its turn. An end in order would tell it that its answer is empty.
struct Waiting(Option<Socket>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.iter().for_each(Socket::cut_when_closed);
    }
}

/// Starts to relay a connection, as soon as one more may be open.
fn start_one(
    socket: Socket,
    peer: Option<SocketAddr>,
    admission: &Arc<Semaphore>,
    worker: &Rc<Worker>,
) {
    let (admission, worker) = (Arc::clone(admission), Rc::clone(worker));
    worker.open.set(worker.open.get() + 1);
    let mut connection = Box::pin(async move {
        let mut waiting = Waiting(Some(socket));
        // Never closed, so there is always a permit in the end.
        let admitted = admission.acquire_owned().await;
        if let Some(socket) = waiting.0.take() {
            match worker.settings.service.clone() {
                Service::Relay => connection::relay(socket, peer, Rc::clone(&worker)).await,
                Service::Echo(tee) => echo::echo(socket, peer, tee, Rc::clone(&worker)).await,
            }
        }
        worker.open.set(worker.open.get() - 1);
        drop(admitted);
    });
    // A client waits for the first step, and hardly anybody for the last ones of the connections
    // that were woken with the listener. What the step waits for, its task asks for once more.
    let mut nobody = Context::from_waker(Waker::noop());
    if connection.as_mut().poll(&mut nobody).is_pending() {
        spawn_local(connection);
    }
}

/// Waits until all connections have ended, or the grace has, or `stop` changes once more.
async fn drain(worker: &Worker, mut stop: watch::Receiver<bool>) -> usize {
    let end = worker.settings.grace.map(|grace| Instant::now() + grace);
    while worker.open.get() > 0 && end.is_none_or(|end| Instant::now() < end) {
        tokio::select! {
            _ = stop.changed() => break,
            () = sleep(TICK / 20) => {}
        }
        worker.lines.borrow_mut().flush();
    }
    worker.open.get()
}
