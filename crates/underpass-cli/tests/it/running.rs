//! The program as a child: started, heard until it says that it is ready, signalled, heard out.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

/// The program, to be given arguments; its standard output is read.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_underpass"));
    command.stdout(Stdio::piped());
    command
}

/// The program where every user may run it.
pub(crate) fn for_everybody() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let path = dir.path().join("underpass");
    copy_program(env!("CARGO_BIN_EXE_underpass"), &path);
    (dir, path)
}

/// Copies a program, by cp(1): a process that another test starts has this one's descriptors until
/// it executes its own program, and what is open for writing cannot be executed (execve(2),
/// `ETXTBSY`).
pub(crate) fn copy_program(from: &str, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// A command as uid 65534, with these options of setpriv(1).
pub(crate) fn as_nobody(options: &[&str], path: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).args(options).arg(path);
    command
}

/// A child that is ended with the test, and the line on standard error that says it is ready.
pub(crate) struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) line: String,
}

impl Running {
    /// Starts it and waits for its first line.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut running = Self::quiet(command);
        running.line = running.next_line();
        running
    }

    /// Starts one that says nothing before it is done.
    pub(crate) fn quiet(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, line: String::new() }
    }

    /// Waits for the next line on standard error; fails if nothing is said.
    pub(crate) fn next_line(&mut self) -> String {
        if self.stderr.buffer().is_empty() {
            let mut stderr = [PollFd::new(self.stderr.get_ref(), PollFlags::IN)];
            let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
            assert_ne!(poll(&mut stderr, Some(&limit)).unwrap(), 0, "nothing is said");
        }
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line
    }

    /// Where a server says that it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        let after = self.line.split_once("http://").unwrap().1;
        after.split_once('/').unwrap().0.parse().unwrap()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its standard input, if that is a pipe.
    pub(crate) fn stdin(&mut self) -> std::process::ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: exit code, standard output if that is a pipe, the rest of standard
    /// error.
    pub(crate) fn end(mut self) -> (Option<i32>, Vec<u8>, String) {
        let (mut stdout, mut stderr) = (Vec::new(), String::new());
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_end(&mut stdout).unwrap();
        }
        self.stderr.read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stdout, stderr)
    }

    /// The same of one that prints text.
    pub(crate) fn end_of_text(self) -> (Option<i32>, String, String) {
        let (code, stdout, stderr) = self.end();
        (code, String::from_utf8(stdout).unwrap(), stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}
