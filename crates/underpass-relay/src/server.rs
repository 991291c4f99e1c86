//! The relay: its options made into the daemon's settings and what connections need to know.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{Notify, watch};
use underpass::Pipe;
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::proxy::Version;
use underpass_daemon::{self as daemon, Daemon, FOREVER, Program, Sandbox};

use crate::echo_server::EchoOptions;
use crate::end::Ends;
use crate::health;
use crate::metrics::Counters;
use crate::names;
use crate::settings::{Role, Settings};
use crate::tally::Tally;
use crate::target_list::{Targets, TargetsError};
use crate::targets::TargetSet;
use crate::tee::Tee;
use crate::trust::AcceptProxy;
use crate::worker::Worker;

/// Pipes that one worker's connections may hold at a time, where descriptors allow.
const PIPES_MAX: usize = 256;

/// Descriptors a worker needs in addition to its connections and pipes.
const OTHERS: usize = 64;

/// What to relay, and where to.
#[derive(Debug)]
pub struct Options {
    /// What every server is asked for.
    pub daemon: daemon::Settings,
    /// Where to connect.
    pub targets: Targets,
    /// How long a target may take to accept.
    pub connect_timeout: Duration,
    /// How long a connection may move nothing; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// Which clients begin with a PROXY header.
    pub accept_proxy: AcceptProxy,
    /// The PROXY header each target gets.
    pub send_proxy: Option<Version>,
    /// How often each target is checked; `None` for never.
    pub check_every: Option<Duration>,
    /// How often names of targets are looked up again; `None` for at SIGHUP, and when one fails.
    pub look_up_every: Option<Duration>,
    /// For how long nothing comes from a TCP peer before it is asked whether it is there; `None`
    /// for never.
    pub keep_alive: Option<Duration>,
    /// How long no connection may be open until the relay ends; `None` for ever.
    pub exit_idle: Option<Duration>,
}

/// A relay that is bound to its address and relays nothing yet.
#[derive(Debug)]
pub struct Relay {
    daemon: Daemon,
    workers: usize,
    from: Targets,
    targets: Arc<watch::Sender<Arc<TargetSet>>>,
    settings: Arc<Settings>,
    check_every: Option<Duration>,
    look_up_every: Option<Duration>,
    exit_idle: Option<Duration>,
}

/// Why there is no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// It cannot be a server.
    #[error(transparent)]
    Daemon(#[from] underpass_daemon::BindError),
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
}

/// Why a relay ended other than by a signal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It ceased to be a server.
    #[error(transparent)]
    Daemon(#[from] underpass_daemon::RunError),
    /// What was echoed is not all in the file.
    #[error("not everything that was echoed was kept")]
    Tee(#[source] io::Error),
}

impl Relay {
    /// Reads the targets and binds a socket for each worker.
    ///
    /// The signals of a server are kept for [`Relay::run`] from here on. Raises the soft limit on
    /// open files to the hard one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(mut options: Options) -> Result<Self, BindError> {
        if let Some(limit) = &mut options.daemon.connections_per_address {
            limit.proxies.extend(options.accept_proxy.proxies());
        }
        let set = TargetSet::new(options.targets.read()?, None);
        refuse(names::look_up(&set, &options.daemon.listen))?;
        let relay = Self::new(options, set, Role::Relay)?;
        // Its port, or all of its sockets, may be known only now.
        refuse(relay.targets.borrow().leading_to(relay.endpoints()))?;
        Ok(relay)
    }

    /// A relay without targets, whose clients get back what they send.
    pub(crate) fn of_echo(options: EchoOptions, tee: Option<Arc<Tee>>) -> Result<Self, BindError> {
        let options = Options {
            daemon: options.daemon,
            targets: Targets::Fixed(Vec::new()),
            connect_timeout: Duration::MAX,
            idle_timeout: options.idle_timeout,
            accept_proxy: AcceptProxy::FromNoOne,
            send_proxy: None,
            check_every: None,
            look_up_every: None,
            keep_alive: options.keep_alive,
            exit_idle: options.exit_idle,
        };
        Self::new(options, TargetSet::new(Vec::new(), None), Role::Echo(tee))
    }

    fn new(options: Options, targets: TargetSet, role: Role) -> Result<Self, BindError> {
        let workers = options.daemon.workers.get();
        let (connections_allowed, pipes_max) = shares(workers);
        Pipe::set_limit(workers * pipes_max);
        let settings = Settings {
            role,
            connect_timeout: options.connect_timeout,
            idle_timeout: options.idle_timeout.map(|limit| limit.min(FOREVER)),
            accept_proxy: options.accept_proxy,
            send_proxy: options.send_proxy,
            keep_alive: options.keep_alive,
            name_failed: Notify::new(),
        };
        let mut daemon = Daemon::bind(options.daemon, connections_allowed)?;
        if let Some(idle) = options.keep_alive {
            daemon = daemon.keeping_alive(idle)?;
        }
        Ok(Self {
            daemon,
            workers,
            from: options.targets,
            targets: Arc::new(watch::Sender::new(Arc::new(targets))),
            settings: Arc::new(settings),
            check_every: options.check_every.map(|every| every.min(FOREVER)),
            look_up_every: options.look_up_every.map(|every| every.min(FOREVER)),
            exit_idle: options.exit_idle.map(|limit| limit.min(FOREVER)),
        })
    }

    /// Where it listens, ports resolved.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.daemon.endpoints()
    }

    /// Where its metrics are, the port resolved.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.daemon.metrics_address()
    }

    /// Where it relays to now.
    #[must_use]
    pub fn targets(&self) -> Vec<Endpoint> {
        self.targets.borrow().targets().iter().map(|target| target.endpoint.clone()).collect()
    }

    /// Calls this at each SIGHUP too, on a thread that may wait.
    #[must_use]
    pub fn on_reload(self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { daemon: self.daemon.on_reload(reload), ..self }
    }

    /// Confines the process, once it runs, to reading the file of targets and writing the log;
    /// `config` can be read, too.
    #[must_use]
    pub fn confined(self, config: Option<&Path>) -> Self {
        let mut sandbox = config.into_iter().fold(Sandbox::new().connect(), Sandbox::read_replaced);
        if let Targets::File(path) = &self.from {
            sandbox = sandbox.read_replaced(path);
        }
        if self.from.may_be_named() {
            sandbox = sandbox.look_up();
        }
        Self { daemon: self.daemon.confined(sandbox), ..self }
    }

    /// Relays until SIGTERM or SIGINT, then lets connections end, for the grace at most; a second
    /// signal ends that too. SIGHUP reads the file of targets again; it and SIGUSR1 open the log
    /// again.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let Self { daemon, workers, from, targets, settings, .. } = self;
        let (ends, mut tallies, mut services) = (Arc::<Ends>::default(), Vec::new(), Vec::new());
        for _ in 0..workers {
            let tally = Tally::default();
            tallies.push(tally.clone());
            let (settings, ends) = (Arc::clone(&settings), Arc::clone(&ends));
            let targets = targets.subscribe();
            services.push(move |lines| {
                let lines = RefCell::new(lines);
                Worker { settings, tally, targets, ends, lines }
            });
        }
        let mut metrics = Registry::with_prefix("underpass_relay");
        metrics.register_collector(Box::new(Counters {
            ends: Arc::clone(&ends),
            tallies,
            targets: targets.subscribe(),
        }));
        let health = health::check(
            targets.subscribe(),
            self.check_every,
            settings.connect_timeout,
            settings.send_proxy,
        );
        let endpoints: Arc<[Endpoint]> = daemon.endpoints().into();
        let (own, every) = (Arc::clone(&endpoints), self.look_up_every);
        let names = names::keep_up(targets.subscribe(), own, settings, every);
        let exit_idle = self.exit_idle;
        daemon.run(Program {
            services,
            metrics,
            reload: Box::new(move || reload(&from, &endpoints, &targets)),
            background: Box::pin(async move {
                tokio::select! {
                    () = health => {}
                    () = names => {}
                    () = ends.idle_for(exit_idle) => {}
                }
            }),
        })?;
        Ok(())
    }
}

/// A connection to a target that leads to the relay would make another, for ever.
fn refuse(leading_back: Option<Endpoint>) -> Result<(), TargetsError> {
    leading_back.map_or(Ok(()), |target| Err(TargetsError::Itself(target)))
}

/// Reads the targets again, which is the file of them if there is one, and looks names up.
/// Connections that are open stay with the targets they have.
fn reload(from: &Targets, own: &[Endpoint], targets: &watch::Sender<Arc<TargetSet>>) {
    let before = Arc::clone(&targets.borrow());
    if before.targets().is_empty() {
        return;
    }
    let read = from.read().and_then(|endpoints| {
        let set = TargetSet::new(endpoints, Some(&before));
        refuse(names::look_up(&set, own)).map(|()| set)
    });
    match read {
        Ok(set) => {
            tracing::info!("{} targets from now on", set.targets().len());
            targets.send_replace(Arc::new(set));
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::warn!("the targets stay what they were: {error}{cause}");
        }
    }
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
