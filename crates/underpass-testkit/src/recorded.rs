//! A program that is watched while it runs, with a record of its calls by strace.
//!
//! strace's `-D` makes the tracer a process apart, so that the program itself is the child that
//! was started: its number can be watched, and signals reach it. The record of a call is written
//! before the thread that made it runs again; a program that is idle is therefore in the record
//! with all that it did.
//!
//! Source: strace(1), `-D`, `--seccomp-bpf`; proc(5), `/proc/pid/task/tid/stat`.

use std::fs;
use std::io;
use std::process::Command;
use std::time::Duration;

use crate::strace::{Call, parse};
use crate::wait;

/// The calls that move file bytes, or give a program the memory of a file.
const CALLS: &str = "sendfile,splice,tee,vmsplice,read,pread64,readv,preadv,preadv2,recvfrom,\
                     recvmsg,write,writev,pwritev2,sendto,sendmsg,sendmmsg,mmap";

/// How long a program may take to become idle on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The record of one program and its children.
#[derive(Debug)]
pub struct Recorded {
    record: tempfile::NamedTempFile,
}

impl Recorded {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// Those of making a temporary file.
    pub fn new() -> io::Result<Self> {
        Ok(Self { record: tempfile::NamedTempFile::new()? })
    }

    /// The program under strace, to be given arguments and to be started once.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut strace = Command::new("strace");
        strace.args(["-D", "-f", "-qq", "-yy", "-s", "16", "--seccomp-bpf"]);
        strace.arg(format!("--trace={CALLS}")).arg("-o").arg(self.record.path());
        strace.args(["--", program]);
        strace
    }

    /// The calls so far.
    ///
    /// # Errors
    ///
    /// Those of reading the record.
    pub fn calls(&self) -> io::Result<Vec<Call>> {
        Ok(parse(&fs::read_to_string(self.record.path())?))
    }
}

/// Waits until every thread of a process and of its children sleeps: what it was asked is then
/// done, and in the record.
///
/// # Errors
///
/// `TimedOut` if one does not in 20 seconds of a quiet machine.
pub fn until_idle(process: u32) -> io::Result<()> {
    wait::until(PATIENCE, || is_idle(process).then_some(()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, format!("{process} is not idle")))
}

fn is_idle(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.flatten().all(|thread| {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let stat = read("stat");
        // The name, in parentheses, may hold anything; one that ended in between is gone.
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        let children = read("children");
        matches!(state, None | Some('S' | 'I' | 'Z' | 'X'))
            && children.split_whitespace().filter_map(|child| child.parse().ok()).all(is_idle)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skip::Capability::Strace;

    #[test]
    fn the_child_is_the_program_itself_and_idle_means_that_its_calls_are_recorded() {
        crate::require!(Strace);
        let recorded = Recorded::new().unwrap();
        let mut command = recorded.command("sh");
        command.args(["-c", "dd if=/dev/zero of=/dev/null bs=5 count=1; exec sleep 600"]);
        let mut child = command.spawn().unwrap();
        let name = format!("/proc/{}/comm", child.id());
        let is_sleep = || (fs::read_to_string(&name).unwrap() == "sleep\n").then_some(());
        wait::until(Duration::from_secs(10), is_sleep).unwrap();
        until_idle(child.id()).unwrap();
        let calls = recorded.calls().unwrap();
        let is_read = |call: &&Call| call.name == "read" && call.arguments.contains("</dev/zero");
        let reads = calls.iter().filter(is_read);
        assert_eq!(reads.map(|call| call.returned).collect::<Vec<_>>(), [Some(5)]);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
