//! Why there is no watch: what a number may be of instead of a process that can be watched.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5).

use crate::probe::ProbeError;
use crate::proc::{self, Proc};
use crate::words::printable;

/// Why there is no watch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// What number a process has is not known.
    #[error(
        "/proc shows the numbers of another PID namespace than this one, so which process has \
         which number is not known; mount /proc anew ('unshare --mount-proc')"
    )]
    Numbers,
    /// The process does not exist.
    #[error("there is no process {process} that this user may see; 'pgrep -a NAME' finds one")]
    NoProcess {
        /// Its number.
        process: u32,
    },
    /// It is there in name only.
    #[error(
        "process {process} ({program}) has ended, and only its parent, process {parent}, has not \
         asked for its status yet; watch the parent, or start it anew"
    )]
    Ended {
        /// Its number.
        process: u32,
        /// Its name.
        program: String,
        /// Its parent's number.
        parent: u32,
    },
    /// The number is not of a process.
    #[error("{thread} is a thread of process {process} ({program}); give the process's number")]
    Thread {
        /// The number.
        thread: u32,
        /// Whose thread it is.
        process: u32,
        /// The name of that.
        program: String,
    },
    /// The kernel's own threads make no calls.
    #[error(
        "process {process} ({program}) is a thread of the kernel, which makes no system calls: \
         nothing of it can be explained; 'pgrep -a NAME' finds a program"
    )]
    OfKernel {
        /// Its number.
        process: u32,
        /// Its name.
        program: String,
    },
    /// The probe failed while it watched.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// That a number is of a process which makes calls, or will.
pub(crate) fn require_watchable(process: u32) -> Result<(), WatchError> {
    if proc::own_number() != Some(std::process::id()) {
        return Err(WatchError::Numbers);
    }
    let asked = Proc::open(process);
    let status = asked.as_ref().and_then(Proc::status);
    let (Some(asked), Some(status)) = (asked, status) else {
        return Err(WatchError::NoProcess { process });
    };
    let thread = process;
    let process = asked.process().unwrap_or(process);
    let program = printable(&Proc::open(process).map(|it| it.name()).unwrap_or_default());
    if process != thread {
        return Err(WatchError::Thread { thread, process, program });
    }
    if status.is_of_kernel {
        return Err(WatchError::OfKernel { process, program });
    }
    if !asked.is_there(status) {
        return Err(WatchError::Ended { process, program, parent: status.parent });
    }
    Ok(())
}
