//! The server: its options made into workers, and a signal that stops them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use underpass::Stability;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::listen::listen;
use underpass_daemon::log::Log;

use crate::access_log::{AccessLog, Sink};
use crate::root::{Root, RootError};
use crate::service::Service;
use crate::site::Site;
use crate::worker;

/// Files a worker holds open.
const FILES_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not 0");

/// What to serve, and where.
#[derive(Debug)]
pub struct Options {
    /// The directory.
    pub root: PathBuf,
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Threads, each with its own listening socket.
    pub workers: NonZeroUsize,
    /// Where a line a request goes.
    pub access_log: Sink,
    /// What is done about files that change while they are sent.
    pub stability: Stability,
}

/// A server that is bound to its address and serves nobody yet.
#[derive(Debug)]
pub struct Server {
    sites: Vec<(TcpListener, Service)>,
    address: SocketAddr,
    access_log: Log,
    signals: Signals,
}

/// SIGTERM and SIGINT, which from here on are waited for and end nothing by themselves.
#[derive(Debug)]
struct Signals {
    runtime: Runtime,
    term: Signal,
    int: Signal,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The directory cannot be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The access log cannot be opened.
    #[error("cannot open the access log {sink}")]
    AccessLog {
        /// Where the lines were to go.
        sink: Sink,
        /// What open(2) answered.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What bind(2) or listen(2) answered.
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

impl Server {
    /// Opens the directory and binds a socket for each worker.
    ///
    /// From here on SIGTERM and SIGINT are kept for [`Server::run`], so that one sent as soon as
    /// the address is known is not lost.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the directory is not one or may not be entered; the address is taken, or
    /// not this machine's, or its port needs a privilege.
    pub fn bind(options: Options) -> Result<Self, BindError> {
        let Options { listen: mut address, workers, stability, .. } = options;
        let service =
            || Root::open(&options.root).map(|root| Service::new(root, FILES_MAX, stability));
        let failed = |source| BindError::Listen { address: options.listen, source };
        let listeners = listen(address, workers).map_err(failed)?;
        let mut sites = Vec::new();
        for listener in listeners {
            address = listener.local_addr().map_err(failed)?;
            sites.push((listener, service()?));
        }
        let report = |error| tracing::error!("the access log ends here: {error}");
        let access_log = Log::open(&options.access_log, report)
            .map_err(|source| BindError::AccessLog { sink: options.access_log.clone(), source })?;
        let signals = Signals::watch().map_err(BindError::Signals)?;
        Ok(Self { sites, address, access_log, signals })
    }

    /// The address listened on, its port resolved.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Threads that will serve.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.sites.len()
    }

    /// Serves until SIGTERM or SIGINT, then lets responses under way end, for 10 s at most.
    ///
    /// Raises the soft limit on open files to the hard one.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let connections_max = connections_a_worker(self.sites.len());
        let (stop, stopping) = watch::channel(false);
        let mut workers = Vec::new();
        for (listener, service) in self.sites {
            let (site, stopping) =
                (Site::new(service, AccessLog::new(self.access_log.lines())), stopping.clone());
            let serve = move || worker::run(listener, site, connections_max, stopping);
            let named = thread::Builder::new().name("underpass-serve".into()).spawn(serve);
            workers.push(named.map_err(RunError::Start)?);
        }
        self.signals.wait();
        stop.send_replace(true);
        for worker in workers {
            worker.join().map_err(|_| RunError::Panicked)?.map_err(RunError::Worker)?;
        }
        let dropped = self.access_log.close();
        if dropped > 0 {
            tracing::warn!("{dropped} lines of the access log were lost");
        }
        Ok(())
    }
}

/// Descriptors a worker needs besides: its runtime's, and files that are being looked up.
const OTHERS_A_WORKER: usize = 64;

/// Raises the limit on open files, and says how many of them a worker's connections may be.
fn connections_a_worker(workers: usize) -> usize {
    let share = raise_open_files() / workers;
    // Under a small limit both give way: half for connections, half for the rest.
    share.saturating_sub(FILES_MAX.get() + OTHERS_A_WORKER).max(share / 2).max(1)
}

impl Signals {
    fn watch() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let context = runtime.enter();
        let (term, int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(context);
        Ok(Self { runtime, term, int })
    }

    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
            }
        });
    }
}
