//! The echo server as a whole: a relay without targets, whose clients get back what they send.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use underpass_daemon::Settings;
use underpass_daemon::endpoint::Endpoint;

use crate::server::{BindError, Relay, RunError};
use crate::tee::Tee;

/// What to echo, and where.
#[derive(Debug)]
pub struct EchoOptions {
    /// What every server is asked for.
    pub daemon: Settings,
    /// A file that is made, or emptied, to keep what comes.
    pub tee: Option<PathBuf>,
    /// How long a connection may move nothing; `None` for ever.
    pub idle_timeout: Option<Duration>,
    /// For how long nothing comes from a TCP peer before it is asked whether it is there; `None`
    /// for never.
    pub keep_alive: Option<Duration>,
    /// How long no connection may be open until the server ends; `None` for ever.
    pub exit_idle: Option<Duration>,
}

/// An echo server that is bound to its address and serves no one yet.
#[derive(Debug)]
pub struct Echo {
    relay: Relay,
    tee: Option<Arc<Tee>>,
}

impl Echo {
    /// Binds a socket for each worker.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn bind(options: EchoOptions) -> Result<Self, BindError> {
        let tee = options.tee.as_ref().map(|path| {
            let made = Tee::create(path);
            made.map_err(|source| BindError::Tee { path: path.clone(), source })
        });
        let tee = tee.transpose()?.map(Arc::new);
        let relay = Relay::of_echo(options, tee.clone())?;
        Ok(Self { relay, tee })
    }

    /// Where it listens, ports resolved.
    #[must_use]
    pub fn endpoints(&self) -> &[Endpoint] {
        self.relay.endpoints()
    }

    /// Where its metrics are, the port resolved.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.relay.metrics_address()
    }

    /// Calls this at each SIGHUP too, on a thread that may wait.
    #[must_use]
    pub fn on_reload(self, reload: impl Fn() + Send + Sync + 'static) -> Self {
        Self { relay: self.relay.on_reload(reload), ..self }
    }

    /// Confines the process, once it runs, to writing the log; `config` can be read, too.
    #[must_use]
    pub fn confined(self, config: Option<&Path>) -> Self {
        Self { relay: self.relay.confined(config), ..self }
    }

    /// Echoes until SIGTERM or SIGINT, then lets connections end, for the grace at most.
    ///
    /// # Errors
    ///
    /// [`RunError`]; among them that the file did not take everything.
    pub fn run(self) -> Result<(), RunError> {
        self.relay.run()?;
        match self.tee.and_then(|tee| tee.failure()) {
            Some(error) => Err(RunError::Tee(error)),
            None => Ok(()),
        }
    }
}
