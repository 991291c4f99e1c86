//! The tokio driver: steps inside `try_io`, files on the blocking pool, cold pages fetched first.
//!
//! A call must be made inside `try_io`: tokio notes the readiness before it, and clears exactly
//! that if the call would block. Clearing it afterwards loses an edge that came in between, and
//! with it the wake-up. For the same reason the side that blocked is asked again, inside its own
//! `try_io`, where it is not the side the call was made under.
//!
//! Source: tokio::net::TcpStream::try_io; epoll(7), "edge-triggered".

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream, unix::pipe};
use tokio::task::{JoinError, spawn_blocking, yield_now};

use crate::error::{Error, ErrorKind};
use crate::ledger::Side;
use crate::limits::TURN_BYTES;
use crate::methods::splice::is_ready;
use crate::tokio::pool_task::PoolTask;
use crate::transfer::state::Ends;
use crate::transfer::{Step, Transfer};
use crate::warm;

/// An end of a transfer that tokio watches.
///
/// As with all of tokio's poll functions, one task at a time can wait for a side of it.
pub trait Readiness: Send + Sync {
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

impl Transfer<'_> {
    /// Moves everything that is left, without holding the thread: sockets and pipes are waited
    /// for through tokio, files are read and written on its blocking pool, and what a socket is
    /// to get of a file is first brought into the page cache. Returns what [`Self::moved`] does.
    ///
    /// `source` and `sink` are the ends that are streams, as tokio knows them; of several
    /// streams in a chain, all must be the same one. An end that is a file or memory has none,
    /// nor has a stream that never blocks (/dev/null).
    ///
    /// Other tasks get their turn every 4 MiB. The future may be dropped at any time, and the
    /// transfer driven on, stepped or run: all state is in the transfer. If a call on a file is
    /// under way on the blocking pool, dropping waits for it, 2 MiB at most.
    ///
    /// `ZeroCopySend` is refused here: its completions come as `EPOLLERR`, which makes tokio take
    /// the socket for closed to writing.
    ///
    /// # Errors
    ///
    /// Those of [`Self::step`]; `ECANCELED` if the runtime shuts down; `EAGAIN` if a stream that
    /// was not given blocks.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn drive(
        &mut self,
        source: Option<&dyn Readiness>,
        sink: Option<&dyn Readiness>,
    ) -> Result<u64, Error> {
        let evented = |side| match side {
            Side::Source => source,
            Side::Sink => sink,
        };
        self.state.gated = true;
        self.state.forbid_error_queue();
        let mut turn = 0;
        loop {
            let step = match self.side() {
                None if self.state.is_file_call() => self.step_on_the_pool().await?,
                None => self.step()?,
                Some(side) => match evented(side) {
                    Some(end) => self.step_when_ready(end, side).await?,
                    None => self.step()?,
                },
            };
            match step {
                Step::Moved(n) => turn += n,
                Step::Buffered(_) => {}
                Step::Wait(side) => match evented(side) {
                    Some(end) => self.until_ready(end, side).await?,
                    None => return Err(self.failed(Errno::AGAIN)),
                },
                Step::Cold { offset, len } => self.prefetch(offset, len).await?,
                Step::Done => return Ok(self.moved()),
            }
            if turn >= TURN_BYTES {
                turn = 0;
                yield_now().await;
            }
        }
    }

    /// Steps inside the end's `try_io`.
    async fn step_when_ready(&mut self, end: &dyn Readiness, side: Side) -> Result<Step, Error> {
        self.readiness(end, side).await?;
        let mut outcome = None;
        let tried = end.try_io(side, &mut || {
            let step = self.step();
            let blocked = step == Ok(Step::Wait(side));
            outcome = Some(step);
            if blocked { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (outcome, tried) {
            (Some(step), _) => step,
            // The readiness was cleared between the look and the call.
            (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Moved(0)),
            (None, tried) => Err(self.failed(tried.err().map_or(Errno::CANCELED, errno_of))),
        }
    }

    /// Waits for a side that a step found not ready.
    async fn until_ready(&self, end: &dyn Readiness, side: Side) -> Result<(), Error> {
        let fd = self.descriptor(side);
        loop {
            self.readiness(end, side).await?;
            let looked = end.try_io(side, &mut || {
                if is_ready(fd, side) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match looked {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.failed(errno_of(error))),
            }
        }
    }

    async fn readiness(&self, end: &dyn Readiness, side: Side) -> Result<(), Error> {
        let ready = poll_fn(|cx| end.poll_ready(side, cx)).await;
        ready.map_err(|error| self.failed(errno_of(error)))
    }

    async fn step_on_the_pool(&mut self) -> Result<Step, Error> {
        let ends = Ends { source: self.source(), sink: self.descriptor(Side::Sink) };
        let task = PoolTask::new(&mut self.state, ends);
        let task = task.map_err(|errno| self.failed(errno))?;
        let mut reclaim = Reclaim { transfer: self, task: Some(Arc::clone(&task)) };
        let joined = spawn_blocking(move || task.run()).await;
        let outcome = reclaim.now();
        drop(reclaim);
        match outcome {
            Some(outcome) => outcome,
            None => Err(self.lost(joined.err())),
        }
    }

    /// Brings a range into the page cache on the blocking pool.
    async fn prefetch(&self, offset: u64, len: u64) -> Result<(), Error> {
        let Some(file) = self.source() else { return Ok(()) };
        let file = rustix::io::fcntl_dupfd_cloexec(file, 0).map_err(|e| self.failed(e))?;
        // An unreadable disk is met again, and reported, by the step that needs the bytes.
        match spawn_blocking(move || warm::prefetch(file.as_fd(), offset, len)).await {
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(error) => Err(self.lost(Some(error))),
        }
    }

    /// What is left to say if the pool did not run a task to its end.
    fn lost(&self, error: Option<JoinError>) -> Error {
        if let Some(panic) = error.and_then(|error| error.try_into_panic().ok()) {
            std::panic::resume_unwind(panic);
        }
        self.failed(Errno::CANCELED)
    }

    fn failed(&self, errno: Errno) -> Error {
        self.state.error(ErrorKind::Io(errno))
    }
}

/// Brings a state home when a future is done with the pool, or dropped.
struct Reclaim<'t, 'a> {
    transfer: &'t mut Transfer<'a>,
    task: Option<Arc<PoolTask>>,
}

impl Reclaim<'_, '_> {
    fn now(&mut self) -> Option<Result<Step, Error>> {
        let (state, outcome) = self.task.take()?.reclaim()?;
        self.transfer.state = state;
        outcome
    }
}

impl Drop for Reclaim<'_, '_> {
    fn drop(&mut self) {
        // The outcome has no taker: bytes are booked already, an error comes back with the next
        // step.
        let (Some(_) | None) = self.now();
    }
}

fn errno_of(error: io::Error) -> Errno {
    // tokio's own errors, which carry no errno, say that the runtime is shutting down.
    Errno::from_io_error(&error).unwrap_or(Errno::CANCELED)
}
