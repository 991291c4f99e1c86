//! Open files: how many there may be, and what to do when there are no more.
//!
//! Source: getrlimit(2), `RLIMIT_NOFILE`; accept(2), "Error handling".

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long accepting pauses when it cannot succeed, as without a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Errors of the connection that accept(2) has taken from the queue.
const OF_ONE_CONNECTION: [Errno; 12] = [
    Errno::CONNABORTED,
    Errno::CONNRESET,
    Errno::INTR,
    Errno::NETDOWN,
    Errno::PROTO,
    Errno::NOPROTOOPT,
    Errno::HOSTDOWN,
    Errno::NONET,
    Errno::HOSTUNREACH,
    Errno::OPNOTSUPP,
    Errno::NETUNREACH,
    Errno::TIMEDOUT,
];

/// Raises the soft limit on open files to the hard one, and gives what it is then.
#[must_use]
pub fn raise_open_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
}

/// How long not to accept after an error of accept(2).
///
/// It reports errors of one connection, which concern no other. All others give a pause, and a
/// warning: limits pass when connections end, and what stays, such as a listening socket that
/// another process has shut down, must not take all of the processor.
#[must_use]
pub fn pause_after(error: &io::Error) -> Option<Duration> {
    if Errno::from_io_error(error).is_some_and(|errno| OF_ONE_CONNECTION.contains(&errno)) {
        return None;
    }
    tracing::warn!("accepting pauses for {PAUSE:?}: {error}");
    Some(PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_pauses_for_what_lasts_and_not_for_a_connection_that_is_gone() {
        for (errno, is_paused) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::INVAL, true),
            (Errno::CONNABORTED, false),
            (Errno::HOSTUNREACH, false),
        ] {
            assert_eq!(pause_after(&errno.into()).is_some(), is_paused, "{errno}");
        }
    }
}
