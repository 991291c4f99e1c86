//! The server: its options made into the daemon's settings and what workers share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::log::Lines;
use underpass_daemon::{self as daemon, Daemon, Program, RunError, Sandbox, Settings};

use super::blocks::{BlocksError, Current};
use super::external::{ExternalLabel, ExternalLabels};
use super::reading::Rules;
use super::tally::Counters;
use super::worker::{Shared, Worker};
use crate::file::Backend;

/// Requests that are answered at a time; others wait. Prometheus'
/// `--storage.remote.read-concurrent-limit` has the same default.
const READS_MAX: usize = 10;

/// How often blocks are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Descriptors other than those of connections and blocks: the log's, the workers', standard ones.
const OTHERS: usize = 64;

/// What to serve, and where.
#[derive(Debug)]
pub struct Options {
    /// A block, a directory of blocks, or a data directory.
    pub path: PathBuf,
    /// How files are read.
    pub backend: Backend,
    /// Labels that are added to every series that lacks them.
    pub external_labels: Vec<ExternalLabel>,
    /// The most samples of an answer that is one message.
    pub samples_max: u64,
    /// Whether what is damaged is left out of answers. If not, their queries fail.
    pub skips_damaged: bool,
    /// What every server is asked for.
    pub daemon: Settings,
}

/// A server that is bound to its address and serves no one yet.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    workers: usize,
    shared: Arc<Shared>,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// There are no blocks.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// It cannot be a server.
    #[error(transparent)]
    Daemon(#[from] daemon::BindError),
}

impl Server {
    /// Opens the blocks and binds a socket for each worker.
    ///
    /// The signals of a server are kept for [`Server::run`] from here on. Raises the soft limit on
    /// open files to the hard one.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(options: Options) -> Result<Self, BindError> {
        let limit = raise_open_files();
        let current = Current::open(&options.path, options.backend)?;
        let files: usize =
            current.now().blocks.iter().map(|block| 1 + block.segments().count()).sum();
        let workers = options.daemon.workers.get();
        let daemon = Daemon::bind(options.daemon, limit.saturating_sub(files + OTHERS).max(1))?;
        let rules = Rules {
            external_labels: ExternalLabels::new(options.external_labels),
            samples_max: options.samples_max,
            skips_damaged: options.skips_damaged,
        };
        let shared = Shared {
            current: Arc::new(current),
            rules: Arc::new(rules),
            counts: Arc::default(),
            gate: Arc::new(Semaphore::new(READS_MAX)),
        };
        Ok(Self { daemon, workers, shared: Arc::new(shared) })
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

    /// How many blocks it serves now.
    #[must_use]
    pub fn blocks(&self) -> usize {
        self.shared.current.now().blocks.len()
    }

    /// Calls this at each SIGHUP too, on a thread that may wait.
    #[must_use]
    pub fn on_reload(self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { daemon: self.daemon.on_reload(reload), ..self }
    }

    /// Confines the process, once it runs, to reading the blocks and `config`, and to writing the
    /// log.
    #[must_use]
    pub fn confined(self, config: Option<&Path>) -> Self {
        let current = &self.shared.current;
        // The engine asks for the limit on mappings.
        let sandbox = Sandbox::new().read(current.path()).read("/proc/sys/vm/max_map_count");
        let sandbox = config.into_iter().fold(sandbox, Sandbox::read_replaced);
        // Blocks may be links to other places.
        let blocks = current.now();
        let dirs = blocks.blocks.iter().map(|block| block.dir().to_path_buf());
        let sandbox = dirs.fold(sandbox, Sandbox::read);
        Self { daemon: self.daemon.confined(sandbox), ..self }
    }

    /// Serves until SIGTERM or SIGINT, then lets requests under way end, for the grace at most; a
    /// second signal ends them at once. SIGHUP finds the blocks and opens the log again, SIGUSR1
    /// only the latter.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let Self { daemon, workers, shared } = self;
        let service = |_| {
            let shared = Arc::clone(&shared);
            move |lines: Lines| Worker::new(shared, lines)
        };
        let services = (0..workers).map(service).collect();
        let (current, counts) = (Arc::clone(&shared.current), Arc::clone(&shared.counts));
        let mut metrics = Registry::with_prefix("underpass_tsdb");
        metrics.register_collector(Box::new(Counters { counts, current: Arc::clone(&current) }));
        let reloaded = Arc::clone(&current);
        daemon.run(Program {
            services,
            metrics,
            reload: Box::new(move || reloaded.refresh()),
            background: Box::pin(keep_looking(current)),
        })
    }
}

/// Looks for blocks that have come or gone, for ever.
async fn keep_looking(current: Arc<Current>) {
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once, and the blocks have just been opened.
    look.tick().await;
    loop {
        look.tick().await;
        let current = Arc::clone(&current);
        // A panic there has said so, and the next look is another.
        drop(spawn_blocking(move || current.refresh()).await);
    }
}
