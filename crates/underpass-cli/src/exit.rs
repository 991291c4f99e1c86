//! How the program ends: 0 done, 1 failed, 2 wrong usage (which the argument parser ends with),
//! 128 and the signal's number where one ended a copy.
//!
//! A failure is one line on standard error: the command, the chain of causes from the object to
//! the kernel's answer, and a remedy where there is one.

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::iter::successors;
use std::process::ExitCode;

use anyhow::Context;
use underpass_daemon::BindError;
use underpass_measure::printable;

/// A command that a signal ended, which a shell tells by the exit code.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The signal's number.
    pub(crate) signal: i32,
    /// What there is to say.
    pub(crate) line: String,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.line)
    }
}

impl Error for Ended {}

/// Tells of a failure and gives the exit code.
pub(crate) fn code(command: &str, outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // The reader that closed standard output has what it wanted.
    if is_unread(&error) {
        return ExitCode::SUCCESS;
    }
    say(&format!("underpass {command}: {error:#}"));
    let signal = error.downcast_ref().and_then(|ended: &Ended| u8::try_from(ended.signal).ok());
    signal.map_or(ExitCode::FAILURE, |signal| ExitCode::from(128_u8.saturating_add(signal)))
}

/// An error's chain in one line, and what the user can do about it.
pub(crate) fn with_remedy(error: &dyn Error, remedy: Option<&'static str>) -> anyhow::Error {
    let causes = successors(Some(error), |&error| error.source());
    let mut line = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
    if let Some(remedy) = remedy {
        line = format!("{line}; {remedy}");
    }
    // A line end in a name would make two of it.
    anyhow::anyhow!(printable(&line))
}

/// What to do about a server that cannot be bound.
pub(crate) fn remedy_of_binding(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Listen { source, .. } => remedy_of_listening(source.kind()),
        BindError::Log { .. } => Some("give a file that can be written, '-' or 'off'"),
        BindError::Signals(_) | _ => None,
    }
}

/// What to do about an address that cannot be listened at.
fn remedy_of_listening(kind: ErrorKind) -> Option<&'static str> {
    [
        (ErrorKind::AddrInUse, "choose another port or path, or port 0 for any free one"),
        (ErrorKind::AddrNotAvailable, "listen on an address of this machine, or on 0.0.0.0"),
        (ErrorKind::NotFound, "make the directory of the path first"),
        (ErrorKind::PermissionDenied, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
    ]
    .into_iter()
    .find_map(|(found, remedy)| (kind == found).then_some(remedy))
}

/// Writes to standard output.
///
/// # Errors
///
/// If it takes nothing.
pub(crate) fn print(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.context("standard output cannot be written")
}

/// Whether standard output is a pipe that nothing reads any more.
pub(crate) fn is_unread(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe)
}

/// Prints a line to standard error. Names in it, of files and from peers, do nothing to a terminal.
pub(crate) fn say(line: &str) {
    let lines: Vec<String> = line.lines().map(printable).collect();
    // If standard error takes nothing, there is nowhere left to say so.
    writeln!(std::io::stderr().lock(), "{}", lines.join("\n")).unwrap_or_default();
}
