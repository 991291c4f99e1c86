//! Other programs, run to their end.

use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a command printed, trimmed.
///
/// # Errors
///
/// If it cannot be started, fails (what it wrote to stderr is in the message), or prints
/// something that is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    let (out, complaint) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    ensure!(output.status.success(), "{name}: {}: {}", output.status, complaint.trim());
    Ok(String::from_utf8(out).with_context(|| name)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_named_with_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo sorry >&2; exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "sh: exit status: 3: sorry");
        assert_eq!(output(Command::new("echo").arg("a")).unwrap(), "a");
    }
}
