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
    /// The number is of no process that makes calls, or will: why, and what to do.
    #[error("{0}")]
    Refused(String),
    /// The probe failed while it watched.
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

/// That a number is of a process which makes calls, or will.
pub(crate) fn require_watchable(process: u32) -> Result<(), WatchError> {
    if proc::own_number() != Some(std::process::id()) {
        return Err(WatchError::Refused(
            "/proc shows the numbers of another PID namespace than this one, so which process has \
             which number is not known; mount /proc anew ('unshare --mount-proc')"
                .into(),
        ));
    }
    let asked = Proc::open(process);
    let status = asked.as_ref().and_then(Proc::status);
    let (Some(asked), Some(status)) = (asked, status) else { return Err(no_process(process)) };
    let thread = process;
    let process = asked.process().unwrap_or(process);
    let program = printable(&Proc::open(process).map(|it| it.name()).unwrap_or_default());
    let parent = status.parent;
    let why = if process != thread {
        format!("{thread} is a thread of process {process} ({program}); give the process's number")
    } else if status.is_of_kernel {
        format!(
            "process {process} ({program}) is a thread of the kernel, which makes no system \
             calls: nothing of it can be explained; 'pgrep -a NAME' finds a program"
        )
    } else if !asked.is_there(status) {
        format!(
            "process {process} ({program}) has ended, and only its parent, process {parent}, has \
             not asked for its status yet; watch the parent, or start it anew"
        )
    } else {
        return Ok(());
    };
    Err(WatchError::Refused(why))
}

pub(crate) fn no_process(process: u32) -> WatchError {
    WatchError::Refused(format!(
        "there is no process {process} that this user may see; 'pgrep -a NAME' finds one"
    ))
}
