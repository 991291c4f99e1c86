//! The blocking driver: steps, and poll(2) where a step says who is not ready.
//!
//! Works with blocking descriptors too; then the waiting happens inside the calls.
//!
//! Source: poll(2); socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, socket_timeout};

use crate::error::{Error, ErrorKind};
use crate::ledger::Side;
use crate::transfer::{Step, Transfer};

impl Transfer<'_> {
    /// Moves everything that is left, waiting for peers and disks. Returns what [`Self::moved`]
    /// returns: all bytes moved so far, earlier steps included.
    ///
    /// # Errors
    ///
    /// Those of [`Self::step`]; `EAGAIN` once a socket has not been ready for all of its
    /// timeout (`SO_RCVTIMEO`, `SO_SNDTIMEO`).
    pub fn run(&mut self) -> Result<u64, Error> {
        self.state.gated = false;
        loop {
            match self.step()? {
                Step::Moved(_) | Step::Buffered(_) | Step::Cold { .. } => {}
                Step::Wait(side) => self.wait(side)?,
                Step::Done => return Ok(self.moved()),
            }
        }
    }

    fn wait(&self, side: Side) -> Result<(), Error> {
        wait(self.descriptor(side), side).map_err(|errno| self.state.error(ErrorKind::Io(errno)))
    }
}

/// Waits until an end may be ready, a socket no longer than its own timeout; then `EAGAIN`.
pub(crate) fn wait(fd: BorrowedFd<'_>, side: Side) -> Result<(), Errno> {
    let (events, timeout) = match side {
        Side::Source => (PollFlags::IN, Timeout::Recv),
        Side::Sink => (PollFlags::OUT, Timeout::Send),
    };
    // What is not a socket has none.
    let timeout = socket_timeout(fd, timeout).unwrap_or_default();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], timeout.as_ref()) {
        Ok(0) => Err(Errno::AGAIN),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
