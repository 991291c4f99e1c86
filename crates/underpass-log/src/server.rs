//! The server: its options made into the daemon's settings and what workers share.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::host_port::HostPort;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::log::Lines;
use underpass_daemon::{self as daemon, Daemon, Program, RunError, Sandbox, Settings};

use crate::chain::Chain;
use crate::connection::RequestLimits;
use crate::flusher::{Flusher, FlusherThreads};
use crate::groups::{Coordinator, JournalError, Rules};
use crate::metrics::{Counters, Counts, Lags};
use crate::open_files::OpenFiles;
use crate::partition::Promise;
use crate::producers::ids::{IdsError, ProducerIds};
use crate::time::now;
use crate::topics::config::TopicConfig;
use crate::topics::retention::Retention;
use crate::topics::{OpenError, Topics};
use crate::worker::Worker;

/// Descriptors other than those of connections and segments: the workers', standard ones.
const OTHERS: usize = 64;

/// What consumer groups commit, in the data directory.
const JOURNAL: &str = "group-offsets.log";

/// The most members of a consumer group.
const MEMBERS_MAX: usize = 1000;

/// What to keep, and where to offer it.
#[derive(Debug)]
pub struct Options {
    /// The directory of the topics. It is made if it is not there.
    pub data: PathBuf,
    /// What acknowledgements mean, and what consumers see.
    pub promise: Promise,
    /// The number of this broker in the cluster that clients see.
    pub node_id: i32,
    /// Where clients are told to connect; `None` for where each of them already has.
    pub advertised: Option<HostPort>,
    /// Whether a topic that a client asks about is made.
    pub auto_create: bool,
    /// Partitions of a topic whose maker does not say how many.
    pub partitions: u32,
    /// Names and values of what holds for topics for which nothing else is set.
    pub defaults: Vec<(String, String)>,
    /// How often records are looked for that need not be kept any more.
    pub retention_check: Duration,
    /// How long the first members of a group are waited for.
    pub group_delay: Duration,
    /// How long committed offsets outlive the last member of their group.
    pub offsets_retention: Duration,
    /// The most bytes of a request.
    pub request_bytes_max: usize,
    /// How long a connection may wait for its next request; `None` for ever.
    pub idle_limit: Option<Duration>,
    /// What every server is asked for.
    pub daemon: Settings,
}

/// A server that is bound to its address and serves no one yet.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    workers: usize,
    shared: Arc<Shared>,
    flushers: FlusherThreads,
    retention_check: Duration,
    data: PathBuf,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) topics: Arc<Topics>,
    pub(crate) producer_ids: Arc<ProducerIds>,
    pub(crate) node_id: i32,
    pub(crate) advertised: Option<HostPort>,
    pub(crate) auto_create: bool,
    pub(crate) partitions: u32,
    pub(crate) groups: Coordinator,
    pub(crate) counts: Arc<Counts>,
    pub(crate) requests: RequestLimits,
    pub(crate) idle_limit: Option<Duration>,
}

/// Why the topics of a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct TopicsError(#[from] OpenError);

/// Why producers cannot be given ids.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProducerIdsError(#[from] IdsError);

/// Why the journal of group offsets cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct GroupsError(#[from] JournalError);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The topics cannot be opened.
    #[error(transparent)]
    Topics(#[from] TopicsError),
    /// The ids of producers cannot be read.
    #[error(transparent)]
    ProducerIds(#[from] ProducerIdsError),
    /// The journal of group offsets cannot be opened.
    #[error(transparent)]
    Groups(#[from] GroupsError),
    /// It cannot be a server.
    #[error(transparent)]
    Daemon(#[from] daemon::BindError),
    /// There can be no more threads.
    #[error("cannot start the threads that make records durable")]
    Threads(#[source] std::io::Error),
}

impl Server {
    /// Opens the topics, which recovers what an unclean end has left, and binds a socket for each
    /// worker.
    ///
    /// The signals of a server are kept for [`Server::run`] from here on. Raises the soft limit on
    /// open files to the hard one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(options: Options) -> Result<Self, BindError> {
        let limit = raise_open_files();
        // One half of the descriptors is for segments, the other for connections.
        let share = NonZeroUsize::new(limit / 2).unwrap_or(NonZeroUsize::MIN);
        let files = Arc::new(OpenFiles::new(share).crowded_at(limit / 4));
        let flusher = Arc::<Flusher>::default();
        let flushers = flusher.start().map_err(BindError::Threads)?;
        let defaults = TopicConfig::of_server(&options.defaults).map_err(OpenError::from);
        let (promise, defaults) = (options.promise, defaults.map_err(TopicsError)?);
        let topics = Topics::open(&options.data, defaults, files, promise, flusher);
        let topics = topics.map_err(TopicsError)?;
        let ids = ProducerIds::open(&options.data.join("producer-ids"), now());
        let producer_ids = Arc::new(ids.map_err(ProducerIdsError)?);
        let rules = Rules { initial_delay: millis(options.group_delay), members_max: MEMBERS_MAX };
        let journal = options.data.join(JOURNAL);
        let groups = Coordinator::open(&journal, rules, options.offsets_retention);
        let groups = groups.map_err(GroupsError)?;
        let workers = options.daemon.workers.get();
        let daemon = Daemon::bind(options.daemon, (limit / 2).saturating_sub(OTHERS).max(1))?;
        let shared = Shared {
            topics: Arc::new(topics),
            producer_ids,
            node_id: options.node_id,
            advertised: options.advertised,
            auto_create: options.auto_create,
            partitions: options.partitions,
            groups,
            counts: Arc::default(),
            requests: RequestLimits::new(options.request_bytes_max),
            idle_limit: options.idle_limit,
        };
        let shared = Arc::new(shared);
        Ok(Self {
            daemon,
            workers,
            shared,
            flushers,
            retention_check: options.retention_check,
            data: options.data,
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

    /// Calls this at each SIGHUP, on a thread that may wait.
    #[must_use]
    pub fn on_reload(self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { daemon: self.daemon.on_reload(reload), ..self }
    }

    /// Confines the process, once it runs, to its data directory, `config` and its log.
    #[must_use]
    pub fn confined(self, config: Option<&Path>) -> Self {
        // What is cold is read by giving it to /dev/null, on a thread that may wait.
        let sandbox = Sandbox::new().manage(&self.data).write("/dev/null");
        let sandbox = config.into_iter().fold(sandbox, Sandbox::read_replaced);
        Self { daemon: self.daemon.confined(sandbox), ..self }
    }

    /// Serves until SIGTERM or SIGINT, then lets requests under way end, for the grace at most; a
    /// second signal ends them at once. Then everything is made durable, and the next start has
    /// nothing to recover.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let Self { daemon, workers, shared, flushers, retention_check, .. } = self;
        let service = |_| {
            let shared = Arc::clone(&shared);
            move |lines: Lines| Worker::new(shared, lines)
        };
        let retention = Retention::start(Arc::clone(&shared.topics), retention_check);
        let retention = retention.map_err(RunError::Start)?;
        let services = (0..workers).map(service).collect();
        let mut metrics = Registry::with_prefix("underpass_log");
        metrics.register_collector(Box::new(Counters {
            counts: Arc::clone(&shared.counts),
            flusher: Arc::clone(flushers.flusher()),
        }));
        metrics.register_collector(Box::new(Lags(Arc::clone(&shared))));
        let ran = daemon.run(Program {
            services,
            metrics,
            reload: Box::new(|| {}),
            background: Box::pin(std::future::pending()),
        });
        drop(retention);
        flushers.end();
        if let Err(error) = shared.topics.close() {
            tracing::error!("the next start looks through the logs: {}", Chain(&error));
        }
        ran
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
