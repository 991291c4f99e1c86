//! The flags of `relay` and `echo` about connections on which nothing moves.

use std::time::Duration;

use clap::Args;

use crate::values::{OrOff, duration, duration_or_off};

/// The flags of `relay` and `echo` about connections on which nothing moves.
#[derive(Debug, Args)]
pub(crate) struct IdleArguments {
    /// How long a connection may move nothing, or 'off'.
    ///
    /// A relay then resets both ends, so that a stream that was cut short does not look complete.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration_or_off)]
    pub(crate) idle_timeout: OrOff,

    /// How long a TCP peer may be silent before the kernel asks whether it is there, or 'off'.
    ///
    /// One that does not answer for as long again is gone, and its connection ends. Whole seconds.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration_or_off)]
    pub(crate) keep_alive: OrOff,

    /// End when there was no connection for this time.
    ///
    /// For socket activation: the service manager keeps the socket, and starts the program again
    /// for the next connection.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) exit_idle: Option<Duration>,
}
