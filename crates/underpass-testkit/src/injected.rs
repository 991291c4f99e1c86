//! Faults in the calls of a program that runs already, for a time.
//!
//! Source: strace(1), `--attach` and "Tampering"; ptrace(2): a tracer that ends detaches.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// While it lives, calls of the program fail.
#[derive(Debug)]
pub struct Injected {
    strace: Child,
}

impl Injected {
    /// Puts a fault into the calls of a process, all its threads included, in strace's words:
    /// `fdatasync:error=EIO`. Returns once every thread is traced.
    ///
    /// # Errors
    ///
    /// If strace cannot be started or cannot attach.
    pub fn into(process: u32, fault: &str) -> io::Result<Self> {
        let calls = fault.split_once(':').map_or(fault, |(calls, _)| calls);
        let mut command = Command::new("strace");
        command.args(["-f", "-qqq", "-o", "/dev/null", "--trace", calls]);
        command.arg(format!("--inject={fault}")).args(["-p", &process.to_string()]);
        let strace = command.stdin(Stdio::null()).spawn()?;
        let mut injected = Self { strace };
        let is_attached = wait::until(Duration::from_secs(10), || {
            match (injected.strace.try_wait(), is_traced(process)) {
                (Ok(Some(status)), _) => Some(Err(io::Error::other(format!("strace: {status}")))),
                (Err(error), _) | (_, Err(error)) => Some(Err(error)),
                (Ok(None), Ok(is_traced)) => is_traced.then_some(Ok(())),
            }
        });
        is_attached.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())).map(|()| injected)
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // It may have ended with the process. Killed in the middle of a call, it would leave that
        // call changed, so it is asked.
        if matches!(self.strace.try_wait(), Ok(None)) {
            let _asked = kill_process(Pid::from_child(&self.strace), Signal::TERM);
        }
        drop(self.strace.wait());
    }
}

fn is_traced(process: u32) -> io::Result<bool> {
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread that ended meanwhile has nothing there.
        let status = std::fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        if status.contains("TracerPid:\t0\n") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};

    use super::*;
    use crate::skip::Capability;

    #[test]
    fn calls_fail_while_it_lives_and_not_afterwards() {
        crate::require!(Capability::Strace);
        // For each line, what mkdir(2) answers.
        let script = "while read name; do mkdir $name 2>&1; echo; done";
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).current_dir(dir.path());
        let mut child = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut make = |name: &str| {
            writeln!(input, "{name}").unwrap();
            let lines = output.by_ref().map(Result::unwrap);
            lines.take_while(|line| !line.is_empty()).collect::<String>()
        };
        assert_eq!(make("a"), "");
        let injected = Injected::into(child.id(), "mkdir,mkdirat:error=EIO").unwrap();
        assert!(make("b").contains("Input/output error"));
        drop(injected);
        assert_eq!(make("c"), "");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!dir.path().join("b").exists());
    }
}
