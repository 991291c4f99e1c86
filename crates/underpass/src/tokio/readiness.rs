//! Descriptors that tokio watches.
//!
//! A call must be made inside `try_io`: tokio notes the readiness before it, and clears exactly
//! that if the call would block. Clearing it afterwards loses an edge that came in between, and
//! with it the wake-up.
//!
//! Source: tokio::net::TcpStream::try_io; epoll(7), "edge-triggered".

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream, unix::pipe};

use crate::kind::Kind;
use crate::ledger::Side;

/// A stream that tokio watches: [`TcpStream`], [`UnixStream`], tokio's pipes, and [`AsyncFd`].
///
/// As with all of tokio's poll functions, one task at a time can wait for a side of it. A child
/// process's pipe becomes one of tokio's pipes by `into_owned_fd` and
/// [`pipe::Receiver::from_owned_fd`].
pub trait Readiness: AsFd + Send + Sync + sealed::Sealed {
    /// Waits until `side` may be ready: a source to be read, a sink to be written.
    ///
    /// # Errors
    ///
    /// That the runtime is shutting down.
    fn poll_ready(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Makes `call` if `side` may be ready, and clears the readiness if it says `WouldBlock`.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if `side` is not ready, and those of `call`.
    fn try_io(&self, side: Side, call: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>;

    /// What it is. One fstat(2) where the type does not say.
    #[doc(hidden)]
    fn kind(&self) -> Kind {
        Kind::of_stream(self.as_fd())
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "sealing a trait is making this one unnameable")]
    pub trait Sealed {}
    impl Sealed for super::TcpStream {}
    impl Sealed for super::UnixStream {}
    impl Sealed for super::pipe::Sender {}
    impl Sealed for super::pipe::Receiver {}
    impl<T: super::AsRawFd> Sealed for super::AsyncFd<T> {}
}

/// Makes a call inside the end's `try_io`, again after a signal.
pub(crate) fn attempt(
    end: &dyn Readiness,
    side: Side,
    mut call: impl FnMut(BorrowedFd<'_>) -> Result<u64, Errno>,
) -> Result<u64, Errno> {
    let mut answer = Err(Errno::AGAIN);
    let tried = end.try_io(side, &mut || {
        answer = rustix::io::retry_on_intr(|| call(end.as_fd()));
        answer.map(drop).map_err(io::Error::from)
    });
    match tried {
        Ok(()) => answer,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Errno::AGAIN),
        Err(error) => Err(errno_of(&error)),
    }
}

/// tokio's own errors, which carry no errno, say that the runtime is shutting down.
pub(crate) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::CANCELED)
}

const fn interest(side: Side) -> Interest {
    match side {
        Side::Source => Interest::READABLE,
        Side::Sink => Interest::WRITABLE,
    }
}

macro_rules! readiness_of_socket {
    ($socket:ty) => {
        impl Readiness for $socket {
            fn poll_ready(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match side {
                    Side::Source => self.poll_read_ready(cx),
                    Side::Sink => self.poll_write_ready(cx),
                }
            }

            fn try_io(
                &self,
                side: Side,
                call: &mut dyn FnMut() -> io::Result<()>,
            ) -> io::Result<()> {
                Self::try_io(self, interest(side), call)
            }

            fn kind(&self) -> Kind {
                Kind::Socket
            }
        }
    };
}

readiness_of_socket!(TcpStream);
readiness_of_socket!(UnixStream);

impl Readiness for pipe::Sender {
    fn poll_ready(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match side {
            Side::Source => Poll::Ready(Err(Errno::BADF.into())),
            Side::Sink => self.poll_write_ready(cx),
        }
    }

    fn try_io(&self, _: Side, call: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        Self::try_io(self, call)
    }
}

impl Readiness for pipe::Receiver {
    fn poll_ready(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match side {
            Side::Source => self.poll_read_ready(cx),
            Side::Sink => Poll::Ready(Err(Errno::BADF.into())),
        }
    }

    fn try_io(&self, _: Side, call: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        Self::try_io(self, call)
    }
}

impl<T: AsRawFd + Send + Sync> Readiness for AsyncFd<T> {
    fn poll_ready(&self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = match side {
            Side::Source => ready!(self.poll_read_ready(cx)),
            Side::Sink => ready!(self.poll_write_ready(cx)),
        };
        Poll::Ready(guard.map(drop))
    }

    fn try_io(&self, side: Side, call: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        Self::try_io(self, interest(side), |_| call())
    }
}
