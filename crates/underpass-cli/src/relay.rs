//! `underpass relay`: makes a relay of the flags and runs it until a signal.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use underpass_relay::{
    AcceptProxy, BindError, Endpoint, Network, Options, Relay, Sink, Targets, TargetsError, Version,
};

use crate::config::reader;
use crate::exit::{remedy_of_binding, with_remedy};
use crate::idle::IdleArguments;
use crate::server::{ServerArguments, list, say_ready};
use crate::values::{OrOff, duration, duration_or_off};

/// Relay connections to one of several targets, by splice.
///
/// Each connection to LISTEN is connected to the target that has the fewest, and bytes go both
/// ways until both ends have closed. They go from socket to socket through a pipe in the kernel;
/// only small messages, for which a copy costs less, are copied. The relay runs until SIGINT
/// (Ctrl-C) or SIGTERM, and then lets connections end.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub(crate) struct RelayArguments {
    /// Where to listen: HOST:PORT, a port of 127.0.0.1, '*:PORT', unix:PATH or unix:@NAME.
    #[arg(value_name = "LISTEN")]
    listen: Endpoint,

    /// Where to connect: HOST:PORT, unix:PATH or unix:@NAME; several share the connections.
    #[arg(value_name = "TARGET", required_unless_present = "targets_file")]
    targets: Vec<Endpoint>,

    /// A file with one target a line; SIGHUP makes the relay read it again.
    ///
    /// Connections that are open stay with the targets they have. A file that cannot be read, or
    /// has a wrong line, changes nothing.
    #[arg(long, value_name = "FILE", conflicts_with = "targets")]
    targets_file: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArguments,

    /// How long a target may take to accept before the next one is tried.
    ///
    /// The addresses of a name share this time.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    connect_timeout: Duration,

    #[command(flatten)]
    idle: IdleArguments,

    /// How often the names of targets are looked up again, or 'off'.
    ///
    /// They are also looked up at SIGHUP, and soon after a connection to a name has failed. A name
    /// that is not found keeps the addresses it had; one without any is passed over until it is
    /// found. All addresses of a name are tried, that which answered last before the others.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration_or_off)]
    look_up: OrOff,

    /// How often each target is checked by connecting to it, or 'off'.
    ///
    /// One that fails 3 times in a row gets no connections until it succeeds twice. By default
    /// several targets are checked every 2 s, and a single one is not.
    #[arg(long, value_name = "TIME", value_parser = duration_or_off)]
    check: Option<OrOff>,

    /// Take who the client is from a PROXY header, version 1 or 2, that every connection must send.
    ///
    /// Anyone who reaches LISTEN can then claim to be anyone else; see --accept-proxy-from. A
    /// header that is truncated, or whose CRC32C is wrong, does not count.
    #[arg(long)]
    accept_proxy: bool,

    /// The same, but only for connections from these networks: 10.0.0.0/8, ::1, 'unix'; repeatable.
    ///
    /// A connection from there must begin with a header. A connection from elsewhere is
    /// the client's own: all its bytes go to the target, even a PROXY header. 'unix' means every
    /// connection to a LISTEN that is a path.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',', conflicts_with = "accept_proxy")]
    accept_proxy_from: Vec<Network>,

    /// Tell the target who the client is, in a PROXY header of this version.
    ///
    /// Checks send one as well, which says that there is no client.
    #[arg(long, value_name = "VERSION", value_enum)]
    send_proxy: Option<ProxyVersion>,

    /// Where a line for each connection goes: a file, '-' for standard output, or 'off'.
    ///
    /// SIGHUP and SIGUSR1 open the file again, for example after it was renamed.
    #[arg(long, value_name = "FILE", default_value = "off")]
    log: Sink,
}

const HELP: &str = "\
Examples:
  underpass relay 8080 10.0.0.7:80 10.0.0.8:80 --metrics 9100
      Share the connections to 127.0.0.1:8080 among two servers.
  underpass relay '*:5432' unix:/run/postgresql/.s.PGSQL.5432
      Let the network reach a Unix socket.
  underpass relay 0.0.0.0:443 --targets-file targets --send-proxy v2 --log relay.log
      Tell the targets who the clients are; kill -HUP reads their list again.
  underpass relay 0.0.0.0:443 10.0.0.7:443 --accept-proxy-from 10.1.0.0/16,10.2.0.7
      Believe only the load balancers about who the clients are.

The log has a line for each connection, when it ends:
  time=… client=ADDR target=ADDR end=HOW seconds=S up=BYTES down=BYTES spliced=BYTES copied=BYTES
    proxy=WHO
HOW is closed, client-failed, target-failed, idle, no-target, bad-header, one-too-many (of a client
that a header names; see --max-connections-per-address) or cut. A peer's reset is passed on as a
reset, after all that it had sent before. WHO is the address that sent a PROXY header, 'unix',
'stranger' for one from outside of --accept-proxy-from, or '-' where none is asked
for.";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The most targets that are named at the start.
const NAMED_MAX: usize = 16;

/// How often several targets are checked unless told otherwise.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Relays until SIGINT or SIGTERM.
///
/// # Errors
///
/// Those of [`Relay::bind`], with what to do about them, and of [`Relay::run`].
pub(crate) fn run(wanted: RelayArguments) -> anyhow::Result<()> {
    if wanted.server.is_only_checked() {
        return Ok(());
    }
    let workers = wanted.server.workers();
    let daemon = wanted.server.settings(vec![wanted.listen], wanted.log);
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let targets = match wanted.targets_file {
        Some(path) => Targets::File(path),
        None => Targets::Fixed(wanted.targets),
    };
    let mut options = Options {
        daemon,
        targets,
        connect_timeout: wanted.connect_timeout,
        idle_timeout: wanted.idle.idle_timeout.0,
        keep_alive: wanted.idle.keep_alive.0,
        exit_idle: wanted.idle.exit_idle,
        look_up_every: wanted.look_up.0,
        accept_proxy: match (wanted.accept_proxy, wanted.accept_proxy_from) {
            (true, _) => AcceptProxy::FromEveryone,
            (false, networks) if networks.is_empty() => AcceptProxy::FromNoOne,
            (false, networks) => AcceptProxy::From(networks),
        },
        send_proxy: wanted.send_proxy.map(|version| match version {
            ProxyVersion::V1 => Version::V1,
            ProxyVersion::V2 => Version::V2,
        }),
        check_every: None,
    };
    let several = match &options.targets {
        Targets::Fixed(targets) => targets.len() > 1,
        // The next version of the file may have more than one.
        Targets::File(_) => true,
    };
    options.check_every =
        wanted.check.map_or_else(|| several.then_some(CHECK_EVERY), |check| check.0);
    let relay = Relay::bind(options).map_err(|error| with_remedy(&error, remedy(&error)))?;
    let relay = if no_sandbox { relay } else { relay.confined(config.as_deref()) };
    let all = relay.targets();
    let mut targets: Vec<String> = all.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if let more @ 1.. = all.len() - targets.len() {
        targets.push(format!("{more} more"));
    }
    let doing = format!("relaying {} to {}", list(relay.endpoints()), targets.join(", "));
    say_ready(&doing, workers, relay.metrics_address());
    Ok(relay.on_reload(reader("relay", config)).run()?)
}

/// What to do about a relay, or an echo server, that cannot start.
pub(crate) fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Daemon(error) => remedy_of_binding(error),
        BindError::Targets(TargetsError::Itself(_)) => {
            Some("each connection would make another; name another port or path")
        }
        BindError::Targets(TargetsError::Every(_)) => None,
        BindError::Targets(_) => Some("give one target a line: HOST:PORT or unix:PATH"),
        BindError::Tee { .. } => Some("give a file that can be written"),
        _ => None,
    }
}
