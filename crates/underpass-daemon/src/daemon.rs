//! The daemon: bound first, then run until a signal.
//!
//! Everything but serving connections happens on the thread that runs it: signals, reloads,
//! metrics, and what the program does in the background.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};

use crate::bound_path::BoundPath;
use crate::endpoint::Endpoint;
use crate::listen::keep_alive;
use crate::listener::{self, Bound, Listener};
use crate::log::{Lines, Log, OpenLog, Sink};
use crate::metrics;
use crate::notify;
use crate::per_address::{PerAddress, PerAddressLimit, Refused};
use crate::sandbox::Sandbox;
use crate::service::{Program, Service};
use crate::signals::{Signals, reload_on, stop_on};
use crate::worker::{self, Start};

/// No clock goes further: a time past it could not be added to now.
pub const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

/// What every server is asked for.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen, once or several times; port 0 takes any free one. A service manager's
    /// sockets take precedence over all of them.
    pub listen: Vec<Endpoint>,
    /// Threads, each with its own listening sockets.
    pub workers: NonZeroUsize,
    /// How long connections may continue after SIGTERM; `None` for ever.
    pub grace: Option<Duration>,
    /// The most connections open at a time; those past it wait. `None`: what descriptors allow.
    pub connections_max: Option<NonZeroUsize>,
    /// The most of them from one address, or one /64 of IPv6; those past it are reset.
    pub connections_per_address: Option<PerAddressLimit>,
    /// Where to serve metrics.
    pub metrics: Option<SocketAddr>,
    /// Where the log goes.
    pub log: Sink,
}

/// A server that is bound to its address and serves no one yet.
#[derive(Debug)]
pub struct Daemon {
    workers: Vec<Vec<Listener>>,
    endpoints: Vec<Endpoint>,
    has_passed_sockets: bool,
    paths: Vec<BoundPath>,
    grace: Option<Duration>,
    connections_max: usize,
    per_address: Option<Arc<PerAddress>>,
    metrics: Option<std::net::TcpListener>,
    log: OpenLog,
    signals: Signals,
    reload: Option<Reload>,
    sandbox: Option<Sandbox>,
    log_sink: Sink,
}

/// What else a reload does.
struct Reload(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No endpoint was given.
    #[error("there is nowhere to listen")]
    Nowhere,
    /// The endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}")]
    Listen {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// What bind(2) or listen(2) answered.
        source: io::Error,
    },
    /// The log cannot be opened.
    #[error("cannot open the log {log}")]
    Log {
        /// Where it was to be.
        log: Sink,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Signals cannot be waited for.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Why a server ended other than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A thread could not be made.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// A worker ended by itself.
    #[error("a worker ended early")]
    Worker(#[source] io::Error),
    /// A worker ended by a bug; its message went to standard error.
    #[error("a worker panicked")]
    Panicked,
}

impl Daemon {
    /// Binds the sockets of each worker and opens the log. `connections_allowed` is how many
    /// connections the limit on open files allows.
    ///
    /// The signals of a server are kept for [`Daemon::run`] from here on, so one that is sent as
    /// soon as the address is known is not lost.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(settings: Settings, connections_allowed: usize) -> Result<Self, BindError> {
        let signals = Signals::watch().map_err(BindError::Signals)?;
        let Bound { workers, endpoints, has_passed_sockets, paths } =
            listener::bind(&settings.listen, settings.workers)?;
        let Settings { grace, connections_max, log, .. } = settings;
        let per_address = settings.connections_per_address.map(PerAddress::new).map(Arc::new);
        let metrics = settings.metrics.map(|address| {
            let endpoint = Endpoint::Tcp(address);
            metrics::listen(address).map_err(|source| BindError::Listen { endpoint, source })
        });
        Ok(Self {
            workers,
            endpoints,
            has_passed_sockets,
            paths,
            grace: grace.map(|grace| grace.min(FOREVER)),
            connections_max: at_most(connections_max, connections_allowed),
            per_address,
            metrics: metrics.transpose()?,
            log: OpenLog::open(&log)
                .map_err(|source| BindError::Log { log: log.clone(), source })?,
            signals,
            reload: None,
            sandbox: None,
            log_sink: log,
        })
    }

    /// Calls this at each SIGHUP too, after the program's own reload.
    #[must_use]
    pub fn on_reload(mut self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        self.reload = Some(Reload(Box::new(reload)));
        self
    }

    /// Has the kernel find TCP clients that are gone, see [`keep_alive`].
    ///
    /// # Errors
    ///
    /// [`BindError::Listen`].
    pub fn keeping_alive(self, idle: Duration) -> Result<Self, BindError> {
        // tcp(7): what accept(2) gives has the options of the listening socket.
        for (socket, endpoint) in self.workers.iter().flatten().zip(self.endpoints.iter().cycle()) {
            if let Listener::Tcp(socket) = socket {
                let refused = |source| BindError::Listen { endpoint: endpoint.clone(), source };
                keep_alive(socket, idle).map_err(refused)?;
            }
        }
        Ok(self)
    }

    /// Confines the process, once it runs, to what the sandbox leaves open and what the daemon
    /// needs itself.
    #[must_use]
    pub fn confined(mut self, mut sandbox: Sandbox) -> Self {
        if let Sink::File(path) = &self.log_sink {
            sandbox = sandbox.log(path);
        }
        for path in &self.paths {
            sandbox = sandbox.remove(path.as_ref());
        }
        self.sandbox = Some(sandbox);
        self
    }

    /// Where it listens, ports resolved, in the order in which [`Admitted::listener`] counts.
    ///
    /// [`Admitted::listener`]: crate::Admitted::listener
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// Whether a service manager passed the sockets, so that these are its endpoints.
    #[must_use]
    pub const fn has_passed_sockets(&self) -> bool {
        self.has_passed_sockets
    }

    /// Where its metrics are, the port resolved.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until SIGTERM or SIGINT, then lets connections end, for the grace at most; a second
    /// signal ends them at once. SIGHUP reloads and opens the log again, SIGUSR1 only the latter.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run<S, M>(self, program: Program<M>) -> Result<(), RunError>
    where
        S: Service,
        M: FnOnce(Lines) -> S + Send + 'static,
    {
        let Signals { runtime, stop: stop_signals, reload: reload_signals } = self.signals;
        if let Some(sandbox) = self.sandbox {
            sandbox.enter();
        }
        let report = |error| tracing::error!("lines of the log are lost: {error}");
        let log = self.log.start(report).map_err(RunError::Start)?;
        let admission = Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS)));
        let crowded = Arc::<Notify>::default();
        let (stop, stopping) = watch::channel(0);
        // Closed when the last worker has ended, in whatever way.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        let mut workers = Vec::new();
        for (listeners, make) in self.workers.into_iter().zip(program.services) {
            let start = Start {
                listeners,
                make,
                lines: log.lines(),
                admission: Arc::clone(&admission),
                per_address: self.per_address.clone(),
                crowded: Arc::clone(&crowded),
                grace: self.grace,
                stop: stopping.clone(),
            };
            workers.push(spawn(start, alive.clone()).map_err(RunError::Start)?);
        }
        drop(alive);
        let mut metrics = program.metrics;
        let refused = self.per_address.map(|all| Box::new(Refused(all)) as _);
        refused.into_iter().for_each(|refused| metrics.register_collector(refused));
        let (of_program, of_caller) = (program.reload, self.reload);
        let reload = Arc::new(move || {
            of_program();
            of_caller.iter().for_each(|reload| reload.0());
        });
        notify::ready();
        runtime.block_on(async {
            tokio::select! {
                _ = all_ended.recv() => {}
                () = stop_on(stop_signals, program.background, &stop, self.paths) => {}
                () = reload_on(reload_signals, &log, reload) => {}
                () = metrics::serve(self.metrics, metrics, stop.subscribe()) => {}
            }
        });
        // A reload that still waits holds no one up.
        runtime.shutdown_background();
        end::<S>(workers, log)
    }
}

type Worker = JoinHandle<io::Result<usize>>;

fn spawn<S: Service>(
    start: Start<impl FnOnce(Lines) -> S + Send + 'static>,
    alive: mpsc::Sender<()>,
) -> io::Result<Worker> {
    Builder::new().name("worker".into()).spawn(move || {
        let outcome = worker::run(start);
        drop(alive);
        outcome
    })
}

fn end<S: Service>(workers: Vec<Worker>, log: Log) -> Result<(), RunError> {
    let mut cut = 0;
    for worker in workers {
        cut += worker.join().map_err(|_| RunError::Panicked)?.map_err(RunError::Worker)?;
    }
    match cut {
        0 => {}
        1 => tracing::warn!("1 {} was cut", S::UNIT),
        _ => tracing::warn!("{cut} {}s were cut", S::UNIT),
    }
    let lost = log.close();
    if lost > 0 {
        tracing::warn!("{lost} lines of the log were lost");
    }
    Ok(())
}

/// How many connections there may be: as many as wanted, where open files allow them.
fn at_most(wanted: Option<NonZeroUsize>, allowed: usize) -> usize {
    let wanted = wanted.map_or(allowed, NonZeroUsize::get);
    if wanted > allowed {
        tracing::warn!(
            "open files allow {allowed} connections at a time, and not {wanted}; raise the limit \
             on them (ulimit -n)"
        );
    }
    wanted.min(allowed)
}
