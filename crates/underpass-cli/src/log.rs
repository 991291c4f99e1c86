//! `underpass log`: makes a server of the flags and runs it until a signal; or looks at one, or at
//! its files.

mod broker;
mod check;
mod dump;
mod groups;
mod topics;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::host_port::HostPort;
use underpass_daemon::log::Sink;
use underpass_log::{BindError, Level, Options, Promise, Server};

use check::CheckArguments;
use dump::DumpArguments;

use crate::config::reader;
use crate::exit::{remedy_of_binding, with_remedy};
use crate::server::{ServerArguments, list, say_ready};
use crate::values::{OrOff, duration, duration_or_off};
use groups::GroupsArguments;
use topics::TopicsArguments;

/// Keep a log that Kafka's clients take for a broker.
///
/// Topics are directories of segment files, in which record batches stand exactly as on the wire. A
/// fetch is answered from them by sendfile. An acknowledgement of a producer that asked for 'all'
/// means that its records are on the disk, and consumers see nothing that is not.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct LogArguments {
    #[command(subcommand)]
    command: Option<LogCommand>,

    #[command(flatten)]
    serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    Check(CheckArguments),
    Dump(DumpArguments),
    Topics(TopicsArguments),
    Groups(GroupsArguments),
}

/// What the server is asked for.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The directory of the topics. It is made if it is not there.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where to listen: HOST:PORT, a port of 127.0.0.1, or '*:PORT'.
    ///
    /// There is no password: every client that reaches it may read and write every topic.
    #[arg(long, value_name = "LISTEN", default_value = "127.0.0.1:9092")]
    listen: Endpoint,

    /// When a producer that asked for 'acks=all' is answered.
    ///
    /// 'written' means that the records survive this process, and not a loss of power.
    #[arg(long, value_name = "WHEN", default_value = "durable")]
    acks: LevelArgument,

    /// Which records consumers see: those that are on the disk, or all that are written.
    #[arg(long, value_name = "WHICH", default_value = "durable")]
    reads: LevelArgument,

    /// The number of this broker in the cluster that clients see.
    #[arg(long, value_name = "ID", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(i32).range(0..))]
    node_id: i32,

    /// Where clients are told to connect: HOST:PORT [default: where each of them already has].
    ///
    /// For clients behind a proxy or a translated address.
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<HostPort>,

    /// Whether a topic that a client asks about is made.
    #[arg(long, value_name = "WHETHER", default_value = "on")]
    auto_create: OnOff,

    /// Partitions of a topic whose maker does not say how many.
    #[arg(long, value_name = "N", default_value = "1")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    partitions: u32,

    /// What holds for topics for which nothing else is set, such as 'retention.ms=3600000'; may be
    /// repeated.
    #[arg(long = "default", value_name = "NAME=VALUE", value_parser = topics::setting)]
    defaults: Vec<(String, String)>,

    /// How often records are looked for that need not be kept any more.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    retention_check: Duration,

    /// How long the first members of a consumer group are waited for, or 'off'.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = duration_or_off)]
    group_delay: OrOff,

    /// How long committed offsets outlive the last member of their group.
    #[arg(long, value_name = "TIME", default_value = "7days", value_parser = duration)]
    offsets_retention: Duration,

    /// The most bytes of a request.
    #[arg(long, value_name = "BYTES", default_value = "104857600")]
    max_request_bytes: usize,

    /// How long a connection may wait for its next request, or 'off' for no limit.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration_or_off)]
    idle_timeout: OrOff,

    #[command(flatten)]
    server: ServerArguments,

    /// Where a line for each connection goes: a file, '-' for standard output, or 'off'.
    #[arg(long, value_name = "FILE", default_value = "off")]
    log: Sink,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnOff {
    On,
    Off,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelArgument {
    Durable,
    Written,
}

impl From<LevelArgument> for Level {
    fn from(level: LevelArgument) -> Self {
        match level {
            LevelArgument::Durable => Self::Durable,
            LevelArgument::Written => Self::Written,
        }
    }
}

const HELP: &str = "\
Examples:
  underpass log --data /var/lib/underpass-log
      Serve the topics there at 127.0.0.1:9092.
  echo hello | kcat -b 127.0.0.1 -P -t greetings
  kcat -b 127.0.0.1 -C -t greetings -e
      Produce a record, and read it.";

/// Serves until SIGINT or SIGTERM, or does what a subcommand says.
///
/// # Errors
///
/// Those of [`Server::bind`], with what to do about them, and of [`Server::run`].
pub(crate) fn run(wanted: LogArguments) -> anyhow::Result<()> {
    match wanted.command {
        Some(LogCommand::Check(wanted)) => check::run(&wanted),
        Some(LogCommand::Dump(wanted)) => dump::run(&wanted),
        Some(LogCommand::Topics(wanted)) => topics::run(&wanted),
        Some(LogCommand::Groups(wanted)) => groups::run(&wanted),
        None => serve(wanted.serve),
    }
}

fn serve(wanted: ServeArguments) -> anyhow::Result<()> {
    if wanted.server.is_only_checked() {
        return Ok(());
    }
    let Some(data) = wanted.data else { anyhow::bail!("give --data DIR, or a subcommand") };
    crate::show_events();
    let workers = wanted.server.workers();
    let daemon = wanted.server.settings(vec![wanted.listen], wanted.log);
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let options = Options {
        data: data.clone(),
        promise: Promise { acks: wanted.acks.into(), reads: wanted.reads.into() },
        node_id: wanted.node_id,
        advertised: wanted.advertise,
        auto_create: wanted.auto_create == OnOff::On,
        partitions: wanted.partitions,
        defaults: wanted.defaults,
        retention_check: wanted.retention_check,
        group_delay: wanted.group_delay.0.unwrap_or_default(),
        offsets_retention: wanted.offsets_retention,
        request_bytes_max: wanted.max_request_bytes,
        idle_limit: wanted.idle_timeout.0,
        daemon,
    };
    let server = Server::bind(options).map_err(|error| with_remedy(&error, remedy(&error)))?;
    let server = if no_sandbox { server } else { server.confined(config.as_deref()) };
    let doing = format!("serving {} at {}", data.display(), list(server.endpoints()));
    say_ready(&doing, workers, server.metrics_address());
    Ok(server.on_reload(reader("log", config)).run()?)
}

fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Daemon(error) => remedy_of_binding(error),
        BindError::Topics(_) | BindError::Groups(_) | BindError::Threads(_) | _ => None,
    }
}
