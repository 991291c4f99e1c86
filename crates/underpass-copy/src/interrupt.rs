//! SIGINT and SIGTERM as a flag to look at and a descriptor to poll with.
//!
//! A transfer looks at the flag between two calls and polls the descriptor whenever it waits, so
//! that a signal ends it through its ordinary error path, which removes what has no name yet. A
//! second signal ends the process as if nothing caught the first: the way out of a call that
//! nothing wakes, such as a name server that does not answer.
//!
//! Source: signal(7); poll(2); the self-pipe is D. J. Bernstein's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Tells whether the process was asked to end.
#[derive(Debug)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    wake: UnixStream,
    /// Keeps `wake` from reading as closed where no signal is caught.
    _peer: UnixStream,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Ready,
    Signal,
    Due,
}

impl Interrupt {
    /// Catches SIGINT and SIGTERM for the rest of the process's life.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2) and sigaction(2).
    pub fn catch() -> io::Result<Self> {
        let this = Self::never()?;
        let again = Arc::new(AtomicBool::new(false));
        for (signal, number) in [(SIGINT, 2_usize), (SIGTERM, 15)] {
            let status = 128 + signal;
            signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&again))?;
            signal_hook::flag::register(signal, Arc::clone(&again))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&this.signal), number)?;
            signal_hook::low_level::pipe::register(signal, this._peer.try_clone()?)?;
        }
        Ok(this)
    }

    /// One that no signal reaches.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    pub fn never() -> io::Result<Self> {
        let (wake, peer) = UnixStream::pair()?;
        Ok(Self { signal: Arc::new(AtomicUsize::new(0)), wake, _peer: peer })
    }

    /// The signal that came first.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let number = self.signal.load(Ordering::Relaxed);
        i32::try_from(number).ok().filter(|&number| number > 0)
    }

    /// Waits until `fd` is ready, a signal comes, or it is `until`.
    pub(crate) fn wait(
        &self,
        fd: Option<(BorrowedFd<'_>, PollFlags)>,
        until: Option<Instant>,
    ) -> Result<Woken, Errno> {
        loop {
            if self.signal().is_some() {
                return Ok(Woken::Signal);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // A pause beyond what a timespec holds is no limit.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let wake = PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN);
            let answer = match fd {
                None => rustix::event::poll(&mut [wake], left.as_ref()).map(|_| false),
                Some((fd, events)) => {
                    let mut fds = [wake, PollFd::from_borrowed_fd(fd, events)];
                    rustix::event::poll(&mut fds, left.as_ref())
                        .map(|_| !fds[1].revents().is_empty())
                }
            };
            match answer {
                Ok(true) => return Ok(Woken::Ready),
                Ok(false) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Woken::Due);
            }
        }
    }
}
