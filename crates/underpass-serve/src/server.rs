//! The server: its options made into the daemon's settings and a site for each worker.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::{Duration, sleep};
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::limits::raise_open_files;
use underpass_daemon::log::Lines;
use underpass_daemon::{self as daemon, Daemon, Program, RunError, Sandbox, Settings};

use crate::access::Access;
use crate::access_log::{AccessLog, Format};
use crate::certificates::CertificateError;
use crate::connection::Shared;
use crate::conversation::Http2Options;
use crate::hosts::HostPattern;
use crate::leases::LeaseError;
use crate::limits::Limits;
use crate::links::Symlinks;
use crate::metrics::{Counters, Counts};
use crate::of_origins;
use crate::proxies::Proxies;
use crate::root::RootError;
use crate::site::Site;
use crate::site_options::SiteOptions;
use crate::sites::{Checked, Publisher, Sites, WorkerSites};
use crate::tls::{Tls, TlsOptions};
use crate::to_https::{ClearListeners, ToHttps};
use crate::tree::KeptFiles;
use crate::upload::tidy_up;

/// Files a worker keeps open at most.
const FILES_MAX: usize = 1024;

/// Other descriptors of a worker: its runtime's, its listening socket, a connection that waits for
/// its place, and files that are being looked up.
const OTHERS_A_WORKER: usize = 10;

/// How often uploads are looked at of which nothing more comes.
const UPLOADS_EVERY: Duration = Duration::from_secs(60 * 60);

/// What to serve, and where.
#[derive(Debug)]
pub struct Options {
    /// What every server is asked for.
    pub daemon: Settings,
    /// The site.
    pub site: SiteOptions,
}

/// A server that is bound to its address and serves no one yet.
#[derive(Debug)]
pub struct Server {
    daemon: Daemon,
    publisher: Publisher,
    files: Vec<KeptFiles>,
    tls: Option<Tls>,
    http2: Option<Http2Options>,
    log_format: Format,
    limits: Limits,
    proxies: Proxies,
    /// Whether others make the sites anew at a reload.
    is_republished: bool,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The directory cannot be served.
    #[error(transparent)]
    Root(#[from] RootError),
    /// Leases were asked for, and one cannot be held.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The certificates cannot be shown.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Two sites are for the same hosts.
    #[error("there are two sites for {0}")]
    HostTwice(HostPattern),
    /// A site that is not of the start, in the sandbox of the start.
    #[error("the sandbox does not let {} be read", .0.display())]
    Sandbox(PathBuf),
    /// The same where files are to be put.
    #[error("the sandbox does not let files be put into {}", .0.display())]
    ReadOnly(PathBuf),
    /// A Unix socket, over which there is no TLS.
    #[error("there is no TLS over {0}")]
    TlsOver(Endpoint),
    /// An endpoint in the clear that is not among the sockets of the service manager.
    #[error("no socket was passed for {0}")]
    NotPassed(Endpoint),
    /// All listeners are in the clear.
    #[error("no listener is left for TLS")]
    OnlyClear,
    /// It cannot be a server.
    #[error(transparent)]
    Daemon(#[from] daemon::BindError),
}

impl Server {
    /// Opens the directory and binds a socket for each worker.
    ///
    /// The signals of a server are kept for [`Server::run`] from here on, so one that is sent as
    /// soon as the address is known is not lost. Raises the soft limit on open files to the hard
    /// one.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the directory is not one or may not be entered; leases cannot be held in it;
    /// the address is taken, or not this machine's, or its port needs a privilege.
    pub fn bind(options: Options) -> Result<Self, BindError> {
        Self::bind_sites(options.daemon, options.site.into())
    }

    /// The same for several sites.
    ///
    /// # Errors
    ///
    /// Those of [`Server::bind`], and [`BindError::HostTwice`].
    pub fn bind_sites(daemon: Settings, sites: Sites) -> Result<Self, BindError> {
        let workers = daemon.workers.get();
        // Each listens at each endpoint; one socket is counted among the others of a worker.
        let listeners = workers * daemon.listen.len().saturating_sub(1);
        let room = Room::within(raise_open_files(), descriptors_open() + listeners, workers);
        let sites = Checked::new(sites)?;
        // Each with its siblings.
        let siblings = sites.options().map(|site| site.codings.len()).max().unwrap_or(0);
        let files_a_worker = room.files_a_worker.get() / (1 + siblings);
        let files_a_worker = NonZeroUsize::new(files_a_worker).unwrap_or(NonZeroUsize::MIN);
        let files = KeptFiles::of_workers(workers, files_a_worker);
        let daemon = Daemon::bind(daemon, room.connections)?;
        let published = watch::Sender::new(Arc::new(sites));
        let publisher = Publisher {
            published,
            files: files.first().cloned(),
            readable: None,
            writable: Vec::new(),
        };
        let (tls, log_format, limits, proxies) = Default::default();
        let http2 = Some(Http2Options::default());
        Ok(Self {
            daemon,
            publisher,
            files,
            tls,
            http2,
            log_format,
            limits,
            proxies,
            is_republished: false,
        })
    }

    /// Has all connections begin with a handshake of TLS. The certificates are read, and again at
    /// each SIGHUP: if they cannot be used then, those in use stay.
    ///
    /// # Errors
    ///
    /// [`BindError::Certificate`]; [`BindError::TlsOver`] where it listens at a Unix socket.
    pub fn secured(self, options: TlsOptions) -> Result<Self, BindError> {
        self.secured_but(options, &ToHttps::default())
    }

    /// The same but for some listeners, which send their clients to the others.
    ///
    /// # Errors
    ///
    /// Those of [`Server::secured`]; [`BindError::NotPassed`]; [`BindError::OnlyClear`].
    pub fn secured_but(self, options: TlsOptions, clear: &ToHttps) -> Result<Self, BindError> {
        let passed = self.daemon.has_passed_sockets();
        let clear = ClearListeners::of(clear, self.endpoints(), passed)?;
        Ok(Self { tls: Some(Tls::new(options, clear)?), ..self })
    }

    /// Whether connections to this one of the endpoints begin with TLS.
    #[must_use]
    pub fn is_secured_at(&self, endpoint: usize) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.https_port(endpoint).is_none())
    }

    /// How HTTP/2 is spoken, or that it is not. Otherwise it is, as by default.
    #[must_use]
    pub fn with_http2(self, http2: Option<Http2Options>) -> Self {
        Self { http2, ..self }
    }

    /// Has lines of the log look so.
    #[must_use]
    pub fn logging_in(self, log_format: Format) -> Self {
        Self { log_format, ..self }
    }

    /// Holds connections to these limits.
    #[must_use]
    pub fn limited(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Takes the word of these for who clients are.
    #[must_use]
    pub fn behind(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
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

    /// What replaces the sites while it runs. Who has it makes them anew at SIGHUP: the names and
    /// passwords of the former ones are then not read again.
    #[must_use]
    pub fn publisher(&mut self) -> Publisher {
        self.is_republished = true;
        self.publisher.clone()
    }

    /// Calls this at each SIGHUP too, on a thread that may wait.
    #[must_use]
    pub fn on_reload(self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { daemon: self.daemon.on_reload(reload), ..self }
    }

    /// Confines the process, once it runs, to writing the log, and to reading `config`, the
    /// directory, and what is next to that, since it may be replaced; everything, if links are
    /// followed wherever they lead.
    #[must_use]
    pub fn confined(mut self, config: Option<&Path>) -> Self {
        // The engine asks for the limit on mappings, and gives pages that it only wants read to
        // /dev/null.
        let sites = Arc::clone(&self.publisher.published.borrow());
        let readable: Vec<_> = sites.options().flat_map(readable).collect();
        let sandbox = readable.iter().fold(Sandbox::new(), Sandbox::read);
        self.publisher.readable = Some(readable);
        let sandbox = sandbox.read("/proc/sys/vm/max_map_count").write("/dev/null");
        let writable: Vec<_> = sites.writable().map(canonical).collect();
        let sandbox = writable.iter().fold(sandbox, Sandbox::manage);
        let sandbox =
            sites.options().filter_map(SiteOptions::cache).fold(sandbox, |sandbox, cache| {
                let cache = cache.canonicalize().unwrap_or_else(|_| cache.to_owned());
                sandbox.manage(cache).look_up().connect()
            });
        self.publisher.writable = writable;
        let names = sites.access().filter_map(Access::path);
        let again = self.tls.iter().flat_map(Tls::paths).chain(names).chain(config);
        let again = again.chain(sites.options().flat_map(SiteOptions::read_again));
        let sandbox = again.fold(sandbox, Sandbox::read_replaced);
        Self { daemon: self.daemon.confined(sandbox), ..self }
    }

    /// Serves until SIGTERM or SIGINT, then lets requests under way end, for the grace at most; a
    /// second signal ends them at once. SIGHUP and SIGUSR1 open the log again.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn run(self) -> Result<(), RunError> {
        let (mut services, mut of_workers) = (Vec::new(), Vec::new());
        let tls = self.tls.clone();
        let tls = if self.http2.is_some() { tls.map(Tls::offering_http2) } else { tls };
        for files in self.files {
            let counts = Arc::<Counts>::default();
            of_workers.push(Arc::clone(&counts));
            let log = move |lines: Lines| AccessLog::new(lines).in_format(self.log_format);
            let published = self.publisher.published.subscribe();
            let sites = move || WorkerSites::new(published, files);
            let (tls, http2, proxies) = (tls.clone(), self.http2.clone(), self.proxies.clone());
            let site = move |lines: Lines| Site::new(sites(), log(lines), counts).behind(proxies);
            services.push(move |lines| Shared::new(site(lines), tls, http2, self.limits));
        }
        let mut metrics = Registry::with_prefix("underpass_serve");
        let is_secured = self.tls.is_some();
        metrics.register_collector(Box::new(Counters { of_workers, is_secured }));
        let sites = self.publisher.published;
        of_origins::collect(&mut metrics, &sites);
        let written_to = sites.borrow().written_to();
        let at_the_end = sites.clone();
        let (published, origins) = (sites.clone(), of_origins::background(&sites));
        let ended = self.daemon.run(Program {
            services,
            metrics,
            reload: Box::new(move || {
                self.tls.iter().for_each(Tls::reload);
                if !self.is_republished {
                    let sites = Arc::clone(&sites.borrow());
                    sites.access().for_each(Access::reload);
                }
            }),
            background: Box::pin(async move {
                // Detached: no stop waits for it. It is confined as all threads are by now.
                drop(std::thread::spawn(move || written_to.iter().for_each(|it| tidy_up(it))));
                let uploads = async {
                    loop {
                        sleep(UPLOADS_EVERY).await;
                        let sites = Arc::clone(&published.borrow());
                        sites.forget_old_uploads().await;
                    }
                };
                tokio::join!(uploads, origins);
            }),
        });
        of_origins::close(&at_the_end);
        ended
    }
}

/// The directory of a site, and those where another may take its place. Everything, if links are
/// followed wherever they lead.
fn readable(site: &SiteOptions) -> Vec<PathBuf> {
    if site.cache().is_some() {
        return vec![canonical(site)];
    }
    let everywhere = (site.lookup.symlinks == Symlinks::All).then(|| "/".into());
    around(&site.root).into_iter().chain(everywhere).chain([canonical(site)]).collect()
}

fn canonical(site: &SiteOptions) -> PathBuf {
    site.root.canonicalize().unwrap_or_else(|_| site.root.clone())
}

/// Where another directory may take the place of `root`: the directory that it is in, and that of
/// what it links to. Not the root of the file system, which would be everything.
fn around(root: &Path) -> Vec<PathBuf> {
    let paths = [std::path::absolute(root), root.canonicalize()];
    let parents = paths.into_iter().flatten().filter_map(|path| Some(path.parent()?.to_owned()));
    parents.filter(|parent| parent.parent().is_some()).collect()
}

/// What the limit on open files is divided into.
#[derive(Debug, PartialEq, Eq)]
struct Room {
    connections: usize,
    files_a_worker: NonZeroUsize,
}

impl Room {
    /// Where `limit` files may be open, and `open` are. Connections get half of a small limit, if
    /// that leaves each worker one file, and all of a large one but what the files need.
    fn within(limit: usize, open: usize, workers: usize) -> Self {
        let others = open + workers * OTHERS_A_WORKER;
        let rest = limit.saturating_sub(others + workers * FILES_MAX);
        let most = limit.saturating_sub(others + workers);
        let connections = rest.max(limit / 2).min(most).max(1);
        let files = limit.saturating_sub(others + connections) / workers;
        let files_a_worker = NonZeroUsize::new(files.min(FILES_MAX)).unwrap_or(NonZeroUsize::MIN);
        Self { connections, files_a_worker }
    }
}

/// Descriptors that this process has, inherited ones included.
fn descriptors_open() -> usize {
    // Without /proc, the three that every process has.
    std::fs::read_dir("/proc/self/fd").map_or(3, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(limit: usize, open: usize, workers: usize) -> (usize, usize) {
        let Room { connections, files_a_worker } = Room::within(limit, open, workers);
        (connections, files_a_worker.get())
    }

    #[test]
    fn connections_and_files_fit_the_limit_on_open_files_together() {
        assert_eq!(room(1_048_576, 10, 2), (1_048_576 - 10 - 2 * (1024 + 10), 1024));
        assert_eq!(room(1024, 10, 1), (512, 1024 - 512 - 10 - 10));
        assert_eq!(room(1024, 10, 4), (512, (1024 - 512 - 10 - 40) / 4));
        assert_eq!(room(64, 10, 2), (32, 1), "each worker keeps one");
        assert_eq!(room(64, 10, 4), (64 - 10 - 4 * (10 + 1), 1), "also of many");
        assert_eq!(room(0, 10, 1), (1, 1));
    }
}
