//! What connections need to know of the options.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use underpass_daemon::proxy::Version;

use crate::tee::Tee;
use crate::trust::AcceptProxy;

/// What connections need to know of the options.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) role: Role,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) accept_proxy: AcceptProxy,
    pub(crate) send_proxy: Option<Version>,
    /// For how long nothing comes from a peer before it is asked whether it is there.
    pub(crate) keep_alive: Option<Duration>,
    /// Told when no address of a name was reached.
    pub(crate) name_failed: Notify,
}

/// What is done with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// It is relayed to a target.
    Relay,
    /// It gets back what it sends, and the file does too.
    Echo(Option<Arc<Tee>>),
}
