//! Blocking reads and writes over a non-blocking descriptor, ended by a signal or
//! the idle timeout.
//!
//! For what must see the bytes: TLS, chunked framing, digests of streams.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;

use crate::interrupt::{Deadline, Interrupt};

/// A descriptor that is waited for.
#[derive(Debug)]
pub(crate) struct Patient<'i, F = OwnedFd> {
    pub(crate) fd: F,
    pub(crate) interrupt: &'i Interrupt,
    term: Cell<Option<Term>>,
}

/// What must come to an end although something comes now and then.
#[derive(Debug, Clone, Copy)]
struct Term {
    what: &'static str,
    time: Duration,
    /// Unknown before the first of it has come.
    until: Option<Instant>,
}

impl<'i, F> Patient<'i, F> {
    pub(crate) const fn new(fd: F, interrupt: &'i Interrupt) -> Self {
        Self { fd, interrupt, term: Cell::new(None) }
    }

    /// Gives what follows so much time in all, from now on.
    pub(crate) fn must_end(&self, what: &'static str, time: Option<Duration>) {
        let term = |time| Term { what, time, until: Instant::now().checked_add(time) };
        self.term.set(time.map(term));
    }

    /// The same, from when something of it has come.
    pub(crate) fn must_end_once_begun(&self, what: &'static str, time: Option<Duration>) {
        self.term.set(time.map(|time| Term { what, time, until: None }));
    }

    /// Gives what follows all the time it takes.
    pub(crate) fn may_last(&self) {
        self.term.set(None);
    }
}

impl<F: AsFd> Patient<'_, F> {
    pub(crate) fn wait(&self, events: PollFlags) -> io::Result<()> {
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

impl<F: AsFd> Read for Patient<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.fd, &mut *into) {
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }
}

impl<F: AsFd> Patient<'_, F> {
    /// Writes some bytes, waiting until there is room for one.
    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.fd, bytes) {
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }
}

impl<F: AsFd> Write for Patient<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A range of a file, read without the file's own offset.
#[derive(Debug)]
pub(crate) struct Stretch<'f> {
    pub(crate) file: &'f File,
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let max = into.len().min(left);
        if max == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut into[..max], self.at)?;
        if n == 0 {
            let missing = self.end - self.at;
            let why = format!("the file ends {missing} bytes before the range does");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.at += n as u64;
        Ok(n)
    }
}
