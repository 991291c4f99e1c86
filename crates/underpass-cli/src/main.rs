//! The command `underpass`.
//!
//! Flags become ready objects here and a library does the work; what the user sees of errors is
//! decided here too.
#![forbid(unsafe_code)]

mod args;
mod compare;
mod config;
mod copy;
mod deferred;
mod echo;
mod exit;
mod explain;
mod generate;
mod idle;
mod log;
#[cfg(feature = "html")]
mod page;
mod relay;
mod serve;
mod server;
mod tsdb;
mod values;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    let typed: Vec<_> = std::env::args_os().collect();
    let name = typed.get(1).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let arguments = match config::expand(typed) {
        Ok(expanded) => Arguments::parse_from(expanded),
        Err(error) => return exit::code(&name, Err(error)),
    };
    if matches!(arguments.command, Command::Serve(_) | Command::Relay(_) | Command::Echo(_)) {
        show_events();
    }
    let (name, outcome) = match arguments.command {
        Command::Serve(wanted) => ("serve", serve::run(*wanted.0)),
        Command::Copy(wanted) => ("copy", copy::run(*wanted.0)),
        Command::Relay(wanted) => ("relay", relay::run(*wanted.0)),
        Command::Echo(wanted) => ("echo", echo::run(*wanted.0)),
        Command::Log(wanted) => ("log", log::run(*wanted.0)),
        Command::Tsdb(wanted) => ("tsdb", tsdb::run(*wanted.0)),
        Command::Compare(wanted) => ("compare", compare::run(*wanted.0)),
        Command::MeasureEnd => ("measure-end", compare::serve()),
        Command::Explain(wanted) => ("explain", explain::run(*wanted.0)),
        Command::Become { command } => ("explain", explain::become_command(&command)),
        Command::Completions { shell } => ("completions", generate::completions(shell)),
        Command::Man { command } => ("man", generate::man(command.as_deref())),
    };
    exit::code(name, outcome)
}

/// Has what a server reports while it runs written to standard error.
fn show_events() {
    // Of others nothing: h2 warns of each frame that a client should not send.
    let ours = Targets::new().with_target("underpass", LevelFilter::WARN);
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_target(false)
        // Plain lines for logs, whatever features other crates ask of the subscriber.
        .with_ansi(false)
        .finish()
        .with(ours)
        .init();
}
