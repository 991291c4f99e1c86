//! Open files: how many there may be, and what to do when there are no more.
//!
//! Source: getrlimit(2), `RLIMIT_NOFILE`; accept(2), "Error handling".

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How long accepting pauses when the process has no descriptor left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

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
/// It reports errors of one connection, which concern no other, and of limits, which pass when
/// connections end; only those give a pause, and a warning.
#[must_use]
pub fn pause_after(error: &io::Error) -> Option<Duration> {
    let errno = Errno::from_io_error(error);
    if !matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) {
        return None;
    }
    tracing::warn!("accepting pauses for {OUT_OF_DESCRIPTORS:?}: {error}");
    Some(OUT_OF_DESCRIPTORS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepting_pauses_for_limits_and_not_for_a_connection_that_is_gone() {
        for (errno, is_paused) in
            [(Errno::MFILE, true), (Errno::NFILE, true), (Errno::CONNABORTED, false)]
        {
            assert_eq!(pause_after(&errno.into()).is_some(), is_paused, "{errno}");
        }
    }
}
