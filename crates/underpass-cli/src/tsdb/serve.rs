//! `underpass tsdb serve`: makes a remote read server of the flags and runs it until a signal.

use clap::Args;
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::log::Sink;
use underpass_tsdb::remote::{BindError, ExternalLabel, Options, Server};

use super::place::Place;
use crate::config::reader;
use crate::exit::{remedy_of_binding, with_remedy};
use crate::server::{ServerArguments, say_ready};

/// Let a stock Prometheus query old blocks, through its remote read.
///
/// Clients that take chunks get them as they are in the files, after their checksums are compared;
/// others get samples. Blocks that come and go are noticed within 15 s, or at SIGHUP. The server
/// listens only at 127.0.0.1 unless told otherwise, and runs until SIGINT (Ctrl-C) or SIGTERM.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    place: Place,

    /// Where to listen: HOST:PORT, a port of 127.0.0.1, '*:PORT', unix:PATH or unix:@NAME.
    ///
    /// There is no password: every client that reaches it may read every sample.
    #[arg(long, value_name = "LISTEN", default_value = "127.0.0.1:9201")]
    listen: Endpoint,

    #[command(flatten)]
    server: ServerArguments,

    /// Add this label to series that do not have it: NAME=VALUE. May be given several times.
    ///
    /// A Prometheus with 'external_labels' in its configuration asks only for series with those
    /// labels, so give the same here.
    #[arg(long, value_name = "LABEL")]
    external_label: Vec<ExternalLabel>,

    /// The most samples in an answer to a client that does not take chunks.
    ///
    /// Such an answer is held in memory until it has been sent: compressed, some 8 bytes a sample.
    #[arg(long, value_name = "N", default_value = "50000000")]
    max_samples: u64,

    /// Leave what is damaged out of answers.
    ///
    /// A client cannot be told that an answer is incomplete, so by default a query that meets
    /// damage fails, with a message that says where. With this flag the rest is sent, and only
    /// standard error of the server says what is missing.
    #[arg(long)]
    skip_damaged: bool,

    /// Where a line for each request goes: a file, '-' for standard output, or 'off'.
    #[arg(long, value_name = "FILE", default_value = "off")]
    log: Sink,
}

const HELP: &str = "\
Examples:
  underpass tsdb serve /backup/prometheus
      Serve the blocks there at http://127.0.0.1:9201/api/v1/read.
  underpass tsdb serve --listen '*:9201' --external-label cluster=old --metrics 9202
      Let the network query the blocks in ./data, whose series get a label.

In the configuration of the Prometheus that is to query them:
  remote_read:
    - url: http://127.0.0.1:9201/api/v1/read
      read_recent: true

Without 'read_recent' it asks only for times before its own data begin. The log has a line for
each request, written when its answer has ended:
  time=… client=ADDR request=\"METHOD PATH\" status=N form=FORM end=HOW seconds=S series=N bytes=N
FORM is chunks, samples or text; HOW is whole or cut.";

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
///
/// Those of [`Server::bind`], with what to do about them, and of [`Server::run`].
pub(crate) fn run(wanted: ServeArguments) -> anyhow::Result<()> {
    if wanted.server.is_only_checked() {
        return Ok(());
    }
    crate::show_events();
    let workers = wanted.server.workers();
    let daemon = wanted.server.settings(vec![wanted.listen], wanted.log);
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let options = Options {
        backend: wanted.place.backend(),
        path: wanted.place.path,
        external_labels: wanted.external_label,
        samples_max: wanted.max_samples,
        skips_damaged: wanted.skip_damaged,
        daemon,
    };
    let server = Server::bind(options).map_err(|error| with_remedy(&error, remedy(&error)))?;
    let server = if no_sandbox { server } else { server.confined(config.as_deref()) };
    let blocks = match server.blocks() {
        1 => "1 block".into(),
        blocks => format!("{blocks} blocks"),
    };
    let urls: Vec<String> = server.endpoints().iter().map(url).collect();
    let doing = format!("serving {blocks} at {}", urls.join(", "));
    say_ready(&doing, workers, server.metrics_address());
    Ok(server.on_reload(reader("tsdb serve", config)).run()?)
}

/// What is to stand in the configuration of a client.
fn url(endpoint: &Endpoint) -> String {
    endpoint.tcp().map_or_else(|| endpoint.to_string(), |at| format!("http://{at}/api/v1/read"))
}

fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Daemon(error) => remedy_of_binding(error),
        BindError::Blocks(_) | _ => None,
    }
}
