//! What was typed: the flags of each command, their defaults, and the help to learn them from.
//!
//! A wrong flag ends the program with 2 and a usage message, before anything is opened.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use underpass::Stability;
use underpass_serve::access_log::Sink;

use crate::compare::CompareArguments;
use crate::copy::CopyArguments;
use crate::deferred::Deferred;
use crate::echo::EchoArguments;
use crate::explain::ExplainArguments;
use crate::relay::RelayArguments;

/// Threads beyond this add memory and nothing else.
const WORKERS_MAX: usize = 1024;

/// Moves file bytes to sockets beneath user space.
///
/// An ordinary program reads a file into its own memory and writes it out again: the processor
/// copies every byte twice. underpass tells the kernel which bytes of which file go to which
/// socket, and the kernel sends them from its page cache.
#[derive(Debug, Parser)]
#[command(name = "underpass", version, arg_required_else_help = true)]
#[command(after_help = "See 'underpass COMMAND --help' for examples.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a directory over HTTP.
    Serve(Deferred<ServeArguments>),
    /// Copy bytes between files, streams, sockets and URLs.
    Copy(Deferred<CopyArguments>),
    /// Relay connections to one of several targets, by splice.
    Relay(Deferred<RelayArguments>),
    /// Send back to each client what it sends, by splice.
    Echo(Deferred<EchoArguments>),
    /// Compare every way of moving a file's bytes, measured on this machine.
    Compare(Deferred<CompareArguments>),
    /// Carry out one order of a comparison, which comes over standard input.
    #[command(hide = true)]
    MeasureEnd,
    /// Carry out one order of a claim's measurement, which comes over standard input.
    #[command(hide = true)]
    MeasureClaim,
    /// Explain what share of a program's file bytes left by reference, and why not all.
    Explain(Deferred<ExplainArguments>),
    /// Stop, and become a command when continued; explain starts commands so.
    #[command(hide = true)]
    Become {
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Print completions for a shell.
    #[command(hide = true)]
    Completions {
        /// The shell they are for.
        shell: Shell,
    },
    /// Print a manual page in roff.
    #[command(hide = true)]
    Man {
        /// The command it is for; underpass itself without one.
        command: Option<String>,
    },
}

/// Serve a directory over HTTP.
///
/// Files, single byte ranges of them, their index.html and listings of directories are sent to
/// whoever asks with GET or HEAD. Nothing outside of DIR is ever reached, not by '..' and not
/// through a symbolic link. The server runs until SIGINT (Ctrl-C) or SIGTERM, and then lets the
/// responses under way end.
#[derive(Debug, Args)]
#[command(after_long_help = SERVE_HELP)]
pub(crate) struct ServeArguments {
    /// The directory to serve.
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// The address to listen on, or a port alone.
    ///
    /// A port alone means that port of 127.0.0.1, which only this machine reaches. Port 0 takes
    /// any free one. To serve the network, listen on 0.0.0.0 or on `[::]`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,

    /// How many threads serve [default: one for each processor].
    ///
    /// Each has its own listening socket and shares nothing with the others.
    #[arg(long, value_name = "N", value_parser = workers)]
    pub(crate) workers: Option<NonZeroUsize>,

    /// Where a line for each request goes: a file, '-' for standard output, or 'off'.
    ///
    /// Lines are in the combined format. They are dropped, and counted, rather than hold up a
    /// response when the file cannot take them.
    #[arg(long, value_name = "FILE", default_value = "off")]
    pub(crate) access_log: Sink,

    /// What is done about a file that changes while it is sent: none, guard, lease or copy.
    ///
    /// none: nothing, for files that are only ever replaced by renaming.
    /// guard: look again before the last bytes leave, and cut the response short if it changed.
    /// lease: make whoever opens the file for writing wait until it is sent.
    /// copy: send a copy, at the price of copying.
    #[arg(
        long,
        value_name = "POLICY",
        default_value_t = Stability::default(),
        value_parser = stability(),
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub(crate) stability: Stability,
}

const SERVE_HELP: &str = "\
Examples:
  underpass serve
      Serve the current directory at http://127.0.0.1:8080/.
  underpass serve /srv/files --listen 0.0.0.0:80 --access-log /var/log/underpass.log
      Serve /srv/files to everybody, with a log.
  underpass serve --listen 0 --workers 1
      Take any free port, which is printed, and one thread.
  curl -C - -O http://127.0.0.1:8080/big.iso
      Resume a download from it.

What leaves without a copy:
  The bytes of a file go from the page cache to the socket by sendfile(2); they never enter the
  memory of this program. Small files are the exception: up to 16 KiB a copy costs less
  than the reference. A file that is not in the page cache is first read on another thread, so
  that it delays nobody else. Since the network holds references to the cached pages, a file
  that is overwritten in place while it is sent may arrive as a mixture; --stability says what
  is done about that. Replace files by renaming (as mv, rsync and package managers do), and
  every response is one version, whole.";

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let wanted = "give ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or a port";
    let mut found = text.to_socket_addrs().map_err(|error| format!("{error}; {wanted}"))?;
    found.next().ok_or_else(|| format!("the name has no address; {wanted}"))
}

pub(crate) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= WORKERS_MAX);
    count.ok_or_else(|| format!("give a number from 1 to {WORKERS_MAX}"))
}

/// A time, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrOff(pub(crate) Option<Duration>);

/// A time above nothing, with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = "give a time such as 500ms, 5s or 10m";
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; {wanted}"))?;
    if time.is_zero() { Err(wanted.into()) } else { Ok(time) }
}

pub(crate) fn duration_or_off(text: &str) -> Result<OrOff, String> {
    match text {
        "off" => Ok(OrOff(None)),
        time => duration(time).map(|time| OrOff(Some(time))),
    }
}

/// Processors that this process may use.
pub(crate) fn processors() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

fn stability() -> impl TypedValueParser<Value = Stability> {
    PossibleValuesParser::new(Stability::ALL.map(Stability::name))
        .try_map(|word| word.parse::<Stability>())
}

impl ServeArguments {
    /// The workers asked for, or one for each processor this process may use.
    pub(crate) fn worker_count(&self) -> NonZeroUsize {
        self.workers.unwrap_or_else(processors)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_flags_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_says_of_itself_what_the_list_says_of_it() {
        let listed = Arguments::command();
        let mut defined = listed.clone();
        defined.build();
        for command in listed.get_subcommands() {
            let itself = defined.find_subcommand(command.get_name()).unwrap();
            let about = |command: &clap::Command| command.get_about().unwrap().to_string();
            assert_eq!(about(itself), about(command));
        }
    }

    #[test]
    fn an_address_may_be_a_port_alone() {
        for (text, address_text) in [
            ("8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(address(text).unwrap(), address_text.parse().unwrap());
        }
        for text in ["", "65536", "127.0.0.1", "1.2.3.4:65536", "::1:x", "-1"] {
            assert!(address(text).unwrap_err().contains("give ADDRESS:PORT"), "{text}");
        }
    }

    #[test]
    fn workers_are_counted_from_1_to_1024() {
        assert_eq!(workers("1").unwrap().get(), 1);
        assert_eq!(workers("1024").unwrap().get(), 1024);
        for text in ["0", "1025", "-1", "two", "", "99999999999999999999"] {
            assert_eq!(workers(text).unwrap_err(), "give a number from 1 to 1024", "{text}");
        }
    }

    #[test]
    fn a_time_has_a_unit_and_is_not_zero() {
        let time = |text| duration_or_off(text).map(|time| time.0);
        assert_eq!(time("off"), Ok(None));
        assert_eq!(time("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time("1m 30s"), Ok(Some(Duration::from_secs(90))));
        for text in ["", "5", "0s", "-1s", "fast"] {
            assert!(time(text).unwrap_err().contains("give a time such as 500ms"), "{text}");
        }
    }

    #[test]
    fn every_policy_can_be_typed() {
        for policy in Stability::ALL {
            let words = ["underpass", "serve", "--stability", policy.name()];
            let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
                panic!("the command is serve");
            };
            assert_eq!(wanted.0.stability, policy);
        }
    }
}
