//! How the program ends: 0 done, 1 failed, 2 wrong usage (which the argument parser ends with),
//! 128 and the signal's number where one ended a copy.
//!
//! A failure is one line on standard error: the command, the chain of causes from the object to
//! the kernel's answer, and a remedy where there is one.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

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

impl std::error::Error for Ended {}

/// Tells of a failure and gives the exit code.
pub(crate) fn code(command: &str, outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Whoever closed standard output has what they wanted.
    if error.downcast_ref().is_some_and(|e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    say(&format!("underpass {command}: {error:#}"));
    let signal = error.downcast_ref().and_then(|ended: &Ended| u8::try_from(ended.signal).ok());
    signal.map_or(ExitCode::FAILURE, |signal| ExitCode::from(128_u8.saturating_add(signal)))
}

/// Prints a line to standard error.
pub(crate) fn say(line: &str) {
    // If standard error takes nothing, there is nowhere left to say so.
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or_default();
}
