//! Other programs, run to their end.

use std::io;
use std::process::Command;

/// What a command printed, trimmed.
///
/// # Errors
///
/// If it cannot be started, fails (what it wrote to stderr is in the message), or prints
/// something that is not UTF-8.
pub fn output(command: &mut Command) -> io::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    let (out, complaint) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
    if !output.status.success() {
        return Err(io::Error::other(format!("{name}: {}: {}", output.status, complaint.trim())));
    }
    let out = String::from_utf8(out);
    let out = out.map_err(|error| io::Error::other(format!("{name}: {error}")))?;
    Ok(out.trim().to_owned())
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
