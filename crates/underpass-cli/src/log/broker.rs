//! The server that a subcommand asks.

use std::time::Duration;

use clap::Args;
use underpass_daemon::host_port::HostPort;
use underpass_log::client::{Client, ClientError};

use crate::exit::with_remedy;
use crate::values::duration;

/// Where the server is.
#[derive(Debug, Args)]
pub(super) struct BrokerArguments {
    /// The server to ask: this one, or any that speaks Kafka's protocol.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    bootstrap: HostPort,

    /// How long it may take to answer.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

impl BrokerArguments {
    /// Connects to it.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(&self.bootstrap, self.timeout).map_err(told)
    }
}

/// What a server said may have anything in it, and is told in one line.
pub(super) fn told(error: ClientError) -> anyhow::Error {
    with_remedy(&error, None)
}

/// An offset that the server may not have told.
pub(super) fn or_unknown(offset: Option<i64>) -> String {
    offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string())
}
