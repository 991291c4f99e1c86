//! `BlockingStream`: a blocking socket that sends file-backed slices by sendfile.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::blocking;
use crate::ledger::Side;
use crate::outgoing::{Attempt, Gate};
use crate::policy::Policy;
use crate::sender::Sender;
use crate::sent::Sent;

/// A connected socket for threads that may wait: `std`'s counterpart of
/// [`Stream`](crate::Stream).
///
/// Reads and writes wait, for the peer and for the disk, whether or not the socket is
/// non-blocking. A wait for the peer that outlasts the socket's timeout (`set_read_timeout`,
/// `set_write_timeout`) is an error of kind `WouldBlock`, as with `std`. A write that fails because
/// of a file is an [`Error`](crate::Error) in the `io::Error`.
#[derive(Debug)]
pub struct BlockingStream<S: AsFd>(Sender<S>);

impl<S: AsFd> BlockingStream<S> {
    /// Wraps a connected socket.
    pub fn new(socket: S) -> Self {
        Self(Sender::new(socket))
    }

    /// Sets how file-backed slices are sent; `Auto` otherwise.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.0.writes.policy = policy;
        self
    }

    /// The socket.
    pub fn get_ref(&self) -> &S {
        self.0.socket()
    }

    /// The socket alone.
    pub fn into_inner(self) -> S {
        self.0.into_inner()
    }

    /// What the writes did since this was asked last.
    pub fn take_sent(&mut self) -> Sent {
        std::mem::take(&mut self.0.writes.sent)
    }

    fn wait_for(&self, side: Side) -> io::Result<()> {
        Ok(blocking::wait(self.get_ref().as_fd(), side)?)
    }

    fn is_nonblocking(&self) -> bool {
        rustix::fs::fcntl_getfl(self.get_ref()).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK))
    }
}

impl<S: AsFd> Read for BlockingStream<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(self.get_ref(), &mut *into) {
                // On a socket that waits by itself: its timeout.
                Err(Errno::AGAIN) if self.is_nonblocking() => self.wait_for(Side::Source)?,
                answer => return Ok(answer?),
            }
        }
    }
}

impl<S: AsFd> Write for BlockingStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let (socket, writes) = self.0.split();
            match writes.attempt(socket.as_fd(), slices, &Gate::Open) {
                Ok(Attempt::Wrote(wrote)) => return Ok(wrote.bytes),
                // Not answered through an open gate, but right if it were.
                Ok(Attempt::Cold(cold)) => cold.fetch()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(Side::Sink)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.uncork();
        Ok(())
    }
}
