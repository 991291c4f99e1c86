//! The blocking driver: steps, and poll(2) where a step says who is not ready.
//!
//! Works with blocking descriptors too; then the waiting happens inside the calls.
//!
//! Source: poll(2).

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::error::{Error, ErrorKind};
use crate::ledger::Side;
use crate::transfer::{Step, Transfer};

impl Transfer<'_> {
    /// Moves everything that is left, waiting for peers and disks. Returns what [`Self::moved`]
    /// returns: all bytes moved so far, earlier steps included.
    ///
    /// # Errors
    ///
    /// Those of [`Self::step`].
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
        let events = match side {
            Side::Source => PollFlags::IN,
            Side::Sink => PollFlags::OUT,
        };
        let fd = self.descriptor(side);
        match rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.state.error(ErrorKind::Io(errno))),
        }
    }
}
