//! How the program ends: 0 done, 1 failed, 2 wrong usage (which the argument parser ends with).
//!
//! A failure is one line on standard error: the command, the chain of causes from the object to
//! the kernel's answer, and a remedy where there is one.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

/// Tells of a failure and gives the exit code.
pub(crate) fn code(command: &str, outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    // Whoever closed standard output has what they wanted.
    if error.downcast_ref().is_some_and(|e: &std::io::Error| e.kind() == ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    say(&format!("underpass {command}: {error:#}"));
    ExitCode::FAILURE
}

/// Prints a line to standard error.
pub(crate) fn say(line: &str) {
    // If standard error takes nothing, there is nowhere left to say so.
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or_default();
}
