//! Reads and writes that wait, over a non-blocking descriptor; a signal or a timeout ends the wait.
//!
//! For what must see the bytes: TLS, chunked framing, digests of streams.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::interrupt::{Deadline, Interrupt};

/// A non-blocking descriptor whose reads and writes wait.
#[derive(Debug)]
pub struct WaitingStream<'i, F = OwnedFd> {
    /// The descriptor.
    pub fd: F,
    /// What ends its waits.
    pub interrupt: &'i Interrupt,
    term: Cell<Option<Term>>,
}

/// A time limit for something as a whole, even if bytes arrive now and then.
#[derive(Debug, Clone, Copy)]
struct Term {
    what: &'static str,
    time: Duration,
    /// Unknown before its first byte has arrived.
    until: Option<Instant>,
}

impl<'i, F> WaitingStream<'i, F> {
    /// Of a descriptor that is non-blocking.
    pub const fn new(fd: F, interrupt: &'i Interrupt) -> Self {
        Self { fd, interrupt, term: Cell::new(None) }
    }

    /// Limits the time of all that follows, from now on.
    pub fn must_end(&self, what: &'static str, time: Option<Duration>) {
        let term = |time| Term { what, time, until: Instant::now().checked_add(time) };
        self.term.set(time.map(term));
    }

    /// The same, from its first byte on.
    pub(crate) fn must_end_once_begun(&self, what: &'static str, time: Option<Duration>) {
        self.term.set(time.map(|time| Term { what, time, until: None }));
    }

    /// Takes the limit away.
    pub fn may_last(&self) {
        self.term.set(None);
    }
}

impl<F: AsFd> WaitingStream<'_, F> {
    /// Waits until bytes can be moved.
    ///
    /// # Errors
    ///
    /// [`interrupted`](crate::interrupted) after a signal; `TimedOut` after the idle timeout, or
    /// when the time limit is over.
    pub fn wait(&self, events: PollFlags) -> io::Result<()> {
        let term = self.term.get();
        let deadline = term.and_then(|Term { what, time, until }| {
            until.map(|until| Deadline { what, time, until })
        });
        self.interrupt.wait_to_move_by(self.fd.as_fd(), events, deadline)?;
        if let Some(Term { what, time, until: None }) = term {
            self.must_end(what, Some(time));
        }
        Ok(())
    }
}

impl<F: AsFd> WaitingStream<'_, F> {
    /// Makes a call that does not wait, when the stream is ready for it.
    ///
    /// # Errors
    ///
    /// The call's, and those of waiting.
    pub fn patiently(
        &self,
        events: PollFlags,
        mut call: impl FnMut(&F) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        loop {
            match call(&self.fd) {
                Err(Errno::AGAIN) => self.wait(events)?,
                Err(Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }

    /// Writes some bytes, waiting until there is room for one.
    ///
    /// # Errors
    ///
    /// Those of write(2), and of waiting.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(PollFlags::OUT, |fd| rustix::io::write(fd, bytes))
    }
}

impl<F: AsFd> Read for WaitingStream<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.patiently(PollFlags::IN, |fd| rustix::io::read(fd, &mut *into))
    }
}

impl<F: AsFd> Write for WaitingStream<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
