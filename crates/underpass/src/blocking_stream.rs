//! `BlockingStream`: a blocking socket that sends file-backed slices by sendfile.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::outgoing::{Attempt, Continuation, Gate, Route, attempt};

/// A connected socket for threads that may wait: `std`'s counterpart of
/// [`Stream`](crate::Stream).
///
/// Reads and writes wait, for the peer and for the disk, whether or not the socket is
/// non-blocking.
#[derive(Debug)]
pub struct BlockingStream<S> {
    socket: S,
    route: Route,
    continuation: Continuation,
}

impl<S: AsFd> BlockingStream<S> {
    /// Wraps a connected socket.
    pub fn new(socket: S) -> Self {
        Self { socket, route: Route::Auto, continuation: Continuation::default() }
    }

    /// Sets how file-backed slices travel.
    #[must_use]
    pub const fn with_route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// The socket.
    pub const fn get_ref(&self) -> &S {
        &self.socket
    }

    /// The socket alone.
    pub fn into_inner(self) -> S {
        self.socket
    }

    fn wait_for(&self, what: PollFlags) -> io::Result<()> {
        rustix::event::poll(&mut [PollFd::new(&self.socket, what)], None)?;
        Ok(())
    }
}

impl<S: AsFd> Read for BlockingStream<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.socket, &mut *into) {
                Err(Errno::AGAIN) => self.wait_for(PollFlags::IN)?,
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
        let route = self.continuation.route(self.route, slices);
        loop {
            match attempt(self.socket.as_fd(), slices, route, &Gate::Open) {
                Ok(Attempt::Wrote(n)) => {
                    self.continuation.note(route, slices, n);
                    return Ok(n);
                }
                // Not answered through an open gate, but right if it were.
                Ok(Attempt::Cold(cold)) => cold.fetch()?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for(PollFlags::OUT)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
