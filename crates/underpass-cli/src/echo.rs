//! `underpass echo`: makes an echo server of the flags and runs it until a signal.

use std::path::PathBuf;

use clap::Args;
use underpass_relay::{Echo, EchoOptions, Endpoint, Sink};

use crate::config::reader;
use crate::exit::with_remedy;
use crate::idle::IdleArguments;
use crate::relay::remedy;
use crate::server::{ServerArguments, list, say_ready};

/// Send back to each client what it sends, by splice.
///
/// Bytes go from the socket through a pipe in the kernel back to the socket; only small messages,
/// for which a copy costs less, are copied. The server runs until SIGINT (Ctrl-C) or SIGTERM, and
/// then lets connections end.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct EchoArguments {
    /// Where to listen: HOST:PORT, a port of 127.0.0.1, '*:PORT', unix:PATH or unix:@NAME.
    #[arg(value_name = "LISTEN")]
    listen: Endpoint,

    /// Keep what comes in this file, which is made or emptied.
    ///
    /// The bytes of one connection are in order; those of several come in turns.
    #[arg(long, value_name = "FILE")]
    tee: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArguments,

    #[command(flatten)]
    idle: IdleArguments,

    /// Where a line for each connection goes: a file, '-' for standard output, or 'off'.
    #[arg(long, value_name = "FILE", default_value = "off")]
    log: Sink,
}

const HELP: &str = "\
Examples:
  underpass echo 7
      Echo to everyone who connects to port 7 of 127.0.0.1.
  underpass echo unix:/tmp/echo --tee received
      Keep what comes, too.";

/// Echoes until SIGINT or SIGTERM.
///
/// # Errors
///
/// Those of [`Echo::bind`], with what to do about them, and of [`Echo::run`].
pub(crate) fn run(wanted: EchoArguments) -> anyhow::Result<()> {
    if wanted.server.is_only_checked() {
        return Ok(());
    }
    let workers = wanted.server.workers();
    let daemon = wanted.server.settings(vec![wanted.listen], wanted.log);
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let options = EchoOptions {
        daemon,
        tee: wanted.tee,
        idle_timeout: wanted.idle.idle_timeout.0,
        keep_alive: wanted.idle.keep_alive.0,
        exit_idle: wanted.idle.exit_idle,
    };
    let echo = Echo::bind(options).map_err(|error| with_remedy(&error, remedy(&error)))?;
    let echo = if no_sandbox { echo } else { echo.confined(config.as_deref()) };
    let doing = format!("echoing at {}", list(echo.endpoints()));
    say_ready(&doing, workers, echo.metrics_address());
    Ok(echo.on_reload(reader("echo", config)).run()?)
}
