//! The relay: its options made into workers, and the signals that reload and stop them.
//!
//! Everything but moving bytes happens on the thread that runs it: health checks, metrics,
//! reloads.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use underpass_daemon::bound_path::BoundPath;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::log::{Log, Sink};

use crate::echo::EchoOptions;
use crate::endpoint::{Bound, Endpoint, Listener};
use crate::health;
use crate::metrics::{self, Counters};
use crate::proxy::Version;
use crate::signals::{Signals, reload_on, stop_on};
use crate::tally::Tally;
use crate::target_list::{Targets, TargetsError};
use crate::targets::TargetSet;
use crate::tee::Tee;
use crate::trust::AcceptProxy;
use crate::worker::{self, Ends, Service, Start};

/// Pipes that one worker's connections may hold at a time, where descriptors allow.
const PIPES_MAX: usize = 256;

/// Descriptors a worker needs besides its connections and pipes.
const OTHERS: usize = 64;

/// No clock goes further: a time past it could not be added to now.
const FOREVER: Duration = Duration::from_hours(24 * 365 * 30);

/// What to relay, and where to.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0 takes any free one.
    pub listen: Endpoint,
    /// Where to connect.
    pub targets: Targets,
    /// Threads, each with its own listening socket.
    pub workers: NonZeroUsize,
    /// How long a target may take to accept.
    pub connect_timeout: Duration,
    /// How long a connection may move nothing; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// How long connections may go on after SIGTERM; `None` for ever.
    pub grace: Option<Duration>,
    /// The most connections open at a time; those past it wait. `None`: what descriptors allow.
    pub connections_max: Option<NonZeroUsize>,
    /// Who begins with a PROXY header.
    pub accept_proxy: AcceptProxy,
    /// The PROXY header each target gets.
    pub send_proxy: Option<Version>,
    /// How often each target is checked; `None` for never.
    pub check_every: Option<Duration>,
    /// Where metrics are to be had.
    pub metrics: Option<SocketAddr>,
    /// Where a line a connection goes.
    pub log: Sink,
}

/// What connections need to know of the options.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) service: Service,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) grace: Option<Duration>,
    pub(crate) accept_proxy: AcceptProxy,
    pub(crate) send_proxy: Option<Version>,
    pub(crate) pipes_max: usize,
}

/// A relay that is bound to its address and relays nothing yet.
#[derive(Debug)]
pub struct Relay {
    listeners: Vec<Listener>,
    endpoint: Endpoint,
    path: Option<BoundPath>,
    from: Targets,
    targets: watch::Sender<Arc<TargetSet>>,
    settings: Arc<Settings>,
    connections_max: usize,
    check_every: Option<Duration>,
    metrics: Option<std::net::TcpListener>,
    log: Log,
    signals: Signals,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}")]
    Listen {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// What bind(2) or listen(2) answered.
        source: io::Error,
    },
    /// The targets cannot be read.
    #[error(transparent)]
    Targets(#[from] TargetsError),
    /// The file that is to keep what is echoed cannot be made.
    #[error("cannot keep what is echoed in {}", path.display())]
    Tee {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
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

/// Why a relay ended other than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A thread could not be made.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// A worker ended by itself.
    #[error("a worker ended early")]
    Worker(#[source] io::Error),
    /// What was echoed is not all in the file.
    #[error("not everything that was echoed was kept")]
    Tee(#[source] io::Error),
    /// A worker ended by a bug; its message went to standard error.
    #[error("a worker panicked")]
    Panicked,
}

impl Relay {
    /// Reads the targets and binds a socket for each worker.
    ///
    /// From here on SIGTERM, SIGINT and SIGHUP are kept for [`Relay::run`]. Raises the soft limit
    /// on open files to the hard one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(options: Options) -> Result<Self, BindError> {
        let targets = TargetSet::new(options.targets.read(&options.listen)?, None);
        Self::new(options, targets, Service::Relay)
    }

    /// A relay without targets, whose clients get back what they send.
    pub(crate) fn of_echo(options: EchoOptions, tee: Option<Arc<Tee>>) -> Result<Self, BindError> {
        let EchoOptions { listen, workers, idle_timeout, grace, .. } = options;
        let EchoOptions { connections_max, metrics, log, .. } = options;
        let options = Options {
            listen,
            targets: Targets::Fixed(Vec::new()),
            workers,
            connect_timeout: Duration::MAX,
            idle_timeout,
            grace,
            connections_max,
            accept_proxy: AcceptProxy::FromNobody,
            send_proxy: None,
            check_every: None,
            metrics,
            log,
        };
        Self::new(options, TargetSet::new(Vec::new(), None), Service::Echo(tee))
    }

    fn new(options: Options, targets: TargetSet, service: Service) -> Result<Self, BindError> {
        let signals = Signals::watch().map_err(BindError::Signals)?;
        let Options { listen, workers, .. } = options;
        let bound = listen.listen(workers);
        let Bound { listeners, endpoint, path } =
            bound.map_err(|source| BindError::Listen { endpoint: listen, source })?;
        let metrics = options.metrics.map(|address| {
            let bound = std::net::TcpListener::bind(address);
            let bound = bound.and_then(|it| it.set_nonblocking(true).map(|()| it));
            let endpoint = Endpoint::Tcp(address);
            bound.map_err(|source| BindError::Listen { endpoint, source })
        });
        let (connections_max, pipes_max) = shares(workers.get());
        let settings = Settings {
            service,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout.map(|limit| limit.min(FOREVER)),
            grace: options.grace.map(|limit| limit.min(FOREVER)),
            accept_proxy: options.accept_proxy,
            send_proxy: options.send_proxy,
            pipes_max,
        };
        let report = |error| tracing::error!("the log ends here: {error}");
        Ok(Self {
            listeners,
            endpoint,
            path,
            from: options.targets,
            targets: watch::Sender::new(Arc::new(targets)),
            settings: Arc::new(settings),
            connections_max: at_most(options.connections_max, connections_max),
            check_every: options.check_every.map(|every| every.min(FOREVER)),
            metrics: metrics.transpose()?,
            log: Log::open(&options.log, report)
                .map_err(|source| BindError::Log { log: options.log, source })?,
            signals,
        })
    }

    /// Where it listens, the port resolved.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where its metrics are, the port resolved.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Where it relays to now.
    #[must_use]
    pub fn targets(&self) -> Vec<Endpoint> {
        self.targets.borrow().targets().iter().map(|target| target.endpoint.clone()).collect()
    }

    /// Relays until SIGTERM or SIGINT, then lets connections end, for the grace at most; a second
    /// signal ends that too. SIGHUP reads the file of targets again and opens the log anew.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let Self { listeners, targets, settings, log, signals, .. } = self;
        let Signals { runtime, mut term, mut int, mut hup } = signals;
        let admission = Arc::new(Semaphore::new(self.connections_max.min(Semaphore::MAX_PERMITS)));
        let (stop, stopping) = watch::channel(false);
        // Closed when the last worker has ended, in whatever way.
        let (alive, mut all_ended) = mpsc::channel::<()>(1);
        let ends = Arc::<Ends>::default();
        let (mut workers, mut tallies) = (Vec::new(), Vec::new());
        for listener in listeners {
            let tally = Tally::default();
            tallies.push(tally.clone());
            let start = Start {
                listener,
                settings: Arc::clone(&settings),
                targets: targets.subscribe(),
                ends: Arc::clone(&ends),
                lines: log.lines(),
                tally,
                admission: Arc::clone(&admission),
                stop: stopping.clone(),
            };
            let (named, alive) = (thread::Builder::new().name("relay".into()), alive.clone());
            let work = move || {
                let outcome = worker::run(start);
                drop(alive);
                outcome
            };
            workers.push(named.spawn(work).map_err(RunError::Start)?);
        }
        drop(alive);
        let counters = Counters { ends, tallies, targets: targets.subscribe() };
        let watched = targets.subscribe();
        runtime.block_on(async {
            tokio::select! {
                _ = all_ended.recv() => {}
                () = stop_on(&mut term, &mut int, &stop, self.path) => {}
                () = reload_on(&mut hup, (&self.from, &self.endpoint), &targets, &log) => {}
                () = health::check(
                    watched,
                    self.check_every,
                    settings.connect_timeout,
                    settings.send_proxy,
                ) => {}
                () = metrics::serve(self.metrics, counters) => {}
            }
        });
        // A file of targets that is still being read holds nobody.
        runtime.shutdown_background();
        end(workers, log)
    }
}

fn end(workers: Vec<thread::JoinHandle<io::Result<usize>>>, log: Log) -> Result<(), RunError> {
    let mut cut = 0;
    for worker in workers {
        cut += worker.join().map_err(|_| RunError::Panicked)?.map_err(RunError::Worker)?;
    }
    if cut > 0 {
        tracing::warn!("{cut} connections were cut");
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

/// Raises the limit on open files; gives how many connections there may be in all, and how many
/// pipes a worker may have.
fn shares(workers: usize) -> (usize, usize) {
    let limit = raise_open_files();
    // A pipe and a connection have two descriptors each.
    let pipes = (limit / workers / 8).min(PIPES_MAX);
    let rest = limit.saturating_sub(workers * (2 * pipes + OTHERS));
    ((rest / 2).max(1), pipes)
}
