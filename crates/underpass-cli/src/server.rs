//! The flags that all servers share.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::log::Sink;
use underpass_daemon::{PerAddressLimit, Settings};

use crate::exit::say;
use crate::values::{OrOff, address, duration_or_off, processors, workers};

/// The flags that all servers share.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// How many threads serve [default: one for each processor].
    ///
    /// Each has its own listening socket and shares nothing with the others.
    #[arg(long, value_name = "N", value_parser = workers)]
    workers: Option<NonZeroUsize>,

    /// How long connections may continue after SIGTERM, or 'off' for no limit.
    ///
    /// A second signal ends them at once.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration_or_off)]
    grace: OrOff,

    /// The most connections at a time [default: what the limit on open files allows].
    ///
    /// Those past it wait to be accepted; the kernel keeps up to 4096 for each thread. There are
    /// never more than the limit on open files allows.
    #[arg(long, value_name = "N")]
    max_connections: Option<NonZeroUsize>,

    /// The most connections from one address at a time, or from one /64 of IPv6.
    ///
    /// Those past it are reset. All clients behind one proxy have its address, unless it names them
    /// in a PROXY header that is asked for.
    #[arg(long, value_name = "N")]
    max_connections_per_address: Option<NonZeroUsize>,

    /// Where to serve metrics over HTTP: /metrics in the OpenMetrics format, and /healthz.
    ///
    /// /healthz is 200, and 503 from SIGTERM to the end, so that a load balancer looks elsewhere.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    metrics: Option<SocketAddr>,

    /// Read settings from this file: TOML, with the names of the flags as keys.
    ///
    /// Arguments without a flag have their names in lower case: directory, listen, targets. What
    /// is typed overrides the file. SIGHUP reads it again and says what a restart would change. In
    /// that of 'serve', a table such as `[host."www.example.org"]` is a site with its own
    /// directory and flags; SIGHUP applies what is said of sites.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Check the flags and the file of settings, and end.
    #[arg(long)]
    check_config: bool,

    /// Do not confine the server to its own files and to the system calls of a server.
    ///
    /// Once it runs, Landlock lets it open only what it serves (also what is next to DIR, which may
    /// be replaced), its log, and the files that SIGHUP makes it read again. Only 'relay' connects
    /// to anything. A filter (seccomp) leaves it the calls of files, sockets, memory and threads:
    /// it starts no program. That costs each system call some 40 ns.
    #[arg(long)]
    pub(crate) no_sandbox: bool,
}

impl ServerArguments {
    /// Whether no more is wanted than a check of the settings, which has succeeded.
    pub(crate) fn is_only_checked(&self) -> bool {
        self.is_only_checked_if(false)
    }

    /// The same, where it may have been asked for in another way too.
    pub(crate) fn is_only_checked_if(&self, is_asked_for: bool) -> bool {
        let is_only_checked = self.check_config || is_asked_for;
        if is_only_checked {
            let config = self.config.as_ref().map(|path| format!(" and {}", path.display()));
            say(&format!("the flags{} are in order", config.unwrap_or_default()));
        }
        is_only_checked
    }

    /// Whether no more is wanted than such a check, which is not over yet.
    pub(crate) const fn is_check(&self, is_asked_for: bool) -> bool {
        self.check_config || is_asked_for
    }

    /// What the daemon is asked for, together with where to listen and where the log goes.
    pub(crate) fn settings(&self, listen: Vec<Endpoint>, log: Sink) -> Settings {
        Settings {
            listen,
            workers: self.workers(),
            grace: self.grace.0,
            connections_max: self.max_connections,
            connections_per_address: self
                .max_connections_per_address
                .map(|max| PerAddressLimit { max, proxies: Vec::new() }),
            metrics: self.metrics,
            log,
        }
    }

    /// The workers asked for, or one for each processor this process may use.
    pub(crate) fn workers(&self) -> NonZeroUsize {
        self.workers.unwrap_or_else(processors)
    }
}

/// Says that a server is ready.
pub(crate) fn say_ready(doing: &str, workers: NonZeroUsize, metrics: Option<SocketAddr>) {
    let counted = if workers.get() == 1 { "worker" } else { "workers" };
    say(&format!("{doing} ({workers} {counted})"));
    if let Some(address) = metrics {
        say(&format!("metrics at http://{address}/metrics"));
    }
}

/// Endpoints as they are named in a sentence.
pub(crate) fn list(endpoints: &[Endpoint]) -> String {
    let named: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    named.join(", ")
}
