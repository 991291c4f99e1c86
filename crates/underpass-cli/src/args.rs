//! What was typed: the commands. Their flags are defined in their own files.
//!
//! A wrong flag ends the program with 2 and a usage message, before anything is opened.

use std::ffi::OsString;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::compare::CompareArguments;
use crate::copy::CopyArguments;
use crate::deferred::Deferred;
use crate::echo::EchoArguments;
use crate::explain::ExplainArguments;
use crate::log::LogArguments;
use crate::relay::RelayArguments;
use crate::serve::ServeArguments;
use crate::tsdb::TsdbArguments;

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
    /// Keep a log that Kafka's clients take for a broker.
    Log(Deferred<LogArguments>),
    /// Read the blocks of a Prometheus database, without writing a byte near them.
    Tsdb(Deferred<TsdbArguments>),
    /// Compare every way of moving a file's bytes, measured on this machine.
    Compare(Deferred<CompareArguments>),
    /// Carry out one order of a comparison, which comes over standard input.
    #[command(hide = true)]
    MeasureEnd,
    /// Explain what share of a program's file bytes left by reference, and why the rest did not.
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
}
