//! What ends a wait: SIGHUP, SIGINT and SIGTERM, as a flag to check and a descriptor to poll, and
//! timeouts for ends that do nothing.
//!
//! A transfer checks the flag between two calls and polls the descriptor whenever it waits. A
//! signal thus ends it through its ordinary error path. Which signals are caught is the program's.
//!
//! Source: signal(7); poll(2); the self-pipe is D. J. Bernstein's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// Knows whether the process was asked to end.
#[derive(Debug, Clone)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    wake: Arc<UnixStream>,
    /// Keeps `wake` open where no signal is caught.
    waker: Arc<UnixStream>,
    timeouts: Timeouts,
}

/// How long an end may do nothing; `None` is for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// How long nothing may move.
    pub idle: Option<Duration>,
    /// How long an address may take to answer.
    pub connect: Option<Duration>,
}

/// An end did nothing for too long; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
enum Silent {
    #[error("nothing arrived for {0:?}")]
    Source(Duration),
    #[error("the other end took nothing for {0:?}")]
    Sink(Duration),
    #[error("no answer for {0:?}")]
    Address(Duration),
    #[error("{0} was not complete after {1:?}")]
    Late(&'static str, Duration),
}

/// When something must be over, even if bytes still arrive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) what: &'static str,
    pub(crate) time: Duration,
    pub(crate) until: Instant,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// A descriptor is ready.
    Ready,
    /// A signal came.
    Signal,
    /// It is the time that was given.
    Due,
}

impl Interrupt {
    /// One that no signal reaches.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    pub fn never() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        Ok(Self {
            signal: Arc::new(AtomicUsize::new(0)),
            wake: Arc::new(wake),
            waker: Arc::new(waker),
            timeouts: Timeouts::default(),
        })
    }

    /// For a signal handler, which ends all waits: it stores the signal's number in the first, then
    /// writes a byte to the second.
    ///
    /// # Errors
    ///
    /// Those of fcntl(2).
    pub fn for_handlers(&self) -> io::Result<(Arc<AtomicUsize>, UnixStream)> {
        Ok((Arc::clone(&self.signal), self.waker.try_clone()?))
    }

    /// The signal that came first.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        let number = self.signal.load(Ordering::Relaxed);
        i32::try_from(number).ok().filter(|&number| number > 0)
    }

    /// Ends the waits of this one, and of no other.
    pub fn end(&self) {
        self.signal.store(15, Ordering::Relaxed);
        // A full pipe wakes as well.
        let woken = rustix::io::write(&*self.waker, b"x");
        debug_assert!(matches!(woken, Ok(_) | Err(Errno::AGAIN)), "{woken:?}");
    }

    /// The same, with timeouts for its waits.
    #[must_use]
    pub fn with(&self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self.clone() }
    }

    /// Waits until bytes can be moved.
    ///
    /// # Errors
    ///
    /// [`interrupted`] after a signal; [`io::ErrorKind::TimedOut`] if nothing can be moved
    /// for the idle timeout.
    pub fn wait_to_move(&self, fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
        self.wait_to_move_by(fd, events, None)
    }

    /// The same, at most until the deadline; after it this fails even if bytes can be moved.
    pub(crate) fn wait_to_move_by(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        deadline: Option<Deadline>,
    ) -> io::Result<()> {
        let silent = if events.contains(PollFlags::OUT) { Silent::Sink } else { Silent::Source };
        let idle = self.timeouts.idle;
        let Some(Deadline { what, time, until }) = deadline else {
            return self.wait_or_give_up((fd, events), idle, silent);
        };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(given_up(Silent::Late(what, time)));
        }
        if idle.is_some_and(|idle| idle <= left) {
            return self.wait_or_give_up((fd, events), idle, silent);
        }
        self.wait_or_give_up((fd, events), Some(left), |_| Silent::Late(what, time))
    }

    /// How long a connection, a handshake or a head may take.
    pub(crate) const fn connect_timeout(&self) -> Option<Duration> {
        self.timeouts.connect
    }

    /// Waits until a connection is made, at most for the connect timeout.
    pub(crate) fn wait_to_connect(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let time = self.timeouts.connect;
        self.wait_or_give_up((fd, PollFlags::OUT), time, Silent::Address)
    }

    /// Pauses before a connection is tried again; the first attempt was at `begun`.
    pub(crate) fn wait_to_retry(&self, pause: Duration, begun: Instant) -> io::Result<()> {
        if let Some(time) = self.timeouts.connect
            && begun.elapsed() >= time
        {
            return Err(given_up(Silent::Address(time)));
        }
        match self.wait(&[], Some(Instant::now() + pause))? {
            Woken::Signal => Err(interrupted()),
            Woken::Ready | Woken::Due => Ok(()),
        }
    }

    fn wait_or_give_up(
        &self,
        fd: (BorrowedFd<'_>, PollFlags),
        time: Option<Duration>,
        silent: impl FnOnce(Duration) -> Silent,
    ) -> io::Result<()> {
        // A time that the clock cannot represent means no timeout.
        let until = time.and_then(|time| Some((time, Instant::now().checked_add(time)?)));
        match (self.wait(&[fd], until.map(|(_, until)| until))?, until) {
            (Woken::Signal, _) => Err(interrupted()),
            (Woken::Due, Some((time, _))) => Err(given_up(silent(time))),
            (Woken::Ready | Woken::Due, _) => Ok(()),
        }
    }

    /// Waits until one of at most two `fds` is ready, a signal comes, or it is `until`.
    ///
    /// # Errors
    ///
    /// Those of poll(2).
    pub fn wait(
        &self,
        fds: &[(BorrowedFd<'_>, PollFlags)],
        until: Option<Instant>,
    ) -> Result<Woken, Errno> {
        loop {
            if self.signal().is_some() {
                return Ok(Woken::Signal);
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // A pause that a timespec cannot represent means no limit.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let wake = (self.wake.as_fd(), PollFlags::IN);
            let answer = match *fds {
                [] => poll([wake], left.as_ref()),
                [one] => poll([wake, one], left.as_ref()),
                [one, other, ..] => poll([wake, one, other], left.as_ref()),
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

/// Whether one of them is ready, not counting the first.
fn poll<const N: usize>(
    fds: [(BorrowedFd<'_>, PollFlags); N],
    left: Option<&Timespec>,
) -> Result<bool, Errno> {
    let mut fds = fds.map(|(fd, events)| PollFd::from_borrowed_fd(fd, events));
    rustix::event::poll(&mut fds, left)?;
    Ok(fds.iter().skip(1).any(|fd| !fd.revents().is_empty()))
}

/// The [`io::Error`] that means a signal.
#[must_use]
pub fn interrupted() -> io::Error {
    io::Error::other("ended by a signal")
}

fn given_up(silent: Silent) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, silent)
}

/// Whether the idle timeout ended it.
#[must_use]
pub fn is_idle(error: &io::Error) -> bool {
    let silent = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(silent, Some(Silent::Source(_) | Silent::Sink(_)))
}
