//! The tokio driver: steps inside `try_io`, files on the blocking pool, cold pages fetched first.
//!
//! Why calls are made inside `try_io` is explained in `readiness.rs`. For the same reason the side
//! that blocked is asked again, inside its own `try_io`, where it is not the side the call was made
//! under.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::task::{JoinError, spawn_blocking, yield_now};

use crate::error::{Error, ErrorKind};
use crate::kind::Kind;
use crate::ledger::Side;
use crate::limits::TURN_BYTES;
use crate::methods::splice::is_ready;
use crate::source::Piece;
use crate::tokio::pool_task::PoolTask;
use crate::tokio::readiness::{Readiness, errno_of};
use crate::transfer::state::Ends;
use crate::transfer::{Step, Transfer};
use crate::warm;

impl Transfer<'_> {
    /// Moves everything that is left, without holding the thread: sockets and pipes are waited
    /// for through tokio, files are read and written on its blocking pool, and what a socket is
    /// to get of a file is first brought into the page cache. Returns what [`Self::moved`] does.
    ///
    /// Sockets and pipes must come by [`Source::tokio`](crate::Source::tokio) and
    /// [`Sink::tokio`](crate::Sink::tokio). What never blocks, such as /dev/null, may come as
    /// a stream.
    ///
    /// Other tasks get their turn every 4 MiB. `ZeroCopySend` is refused here: its completions
    /// come as `EPOLLERR`, which makes tokio take the socket for closed to writing.
    ///
    /// # Errors
    ///
    /// Those of [`Self::step`]; [`NotWatched`](ErrorKind::NotWatched), before anything moves, if
    /// a socket or pipe came as a plain stream; `ECANCELED` if the runtime shuts down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the future may be dropped at any time, and the transfer driven on, stepped or
    /// run, since all state is in the transfer. If a call on a file is under way on the blocking
    /// pool, dropping waits for it, 2 MiB at most.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn drive(&mut self) -> Result<u64, Error> {
        if let Some(side) = self.unwatched_side() {
            return Err(self.state.error(ErrorKind::NotWatched(side)));
        }
        self.state.gated = true;
        self.state.forbid_error_queue();
        let driven = self.drive_to_end().await;
        if driven.is_err() {
            self.state.uncork(self.sink.fd);
        }
        driven
    }

    async fn drive_to_end(&mut self) -> Result<u64, Error> {
        let mut turn = 0;
        loop {
            let side = self.side();
            let step = match side {
                None if self.state.is_file_call() => self.step_on_the_pool().await?,
                None => self.step()?,
                Some(side) => match self.readiness(side) {
                    Some(end) => self.step_when_ready(end, side).await?,
                    None => self.step()?,
                },
            };
            match step {
                Step::Moved(n) => turn += n,
                Step::Buffered(_) => {}
                // Its readiness is cleared: the next step waits for it.
                Step::Wait(it) if side == Some(it) && self.readiness(it).is_some() => {}
                Step::Wait(side) => match self.readiness(side) {
                    Some(end) => self.until_ready(end, side).await?,
                    None => return Err(self.state.error(ErrorKind::NotWatched(side))),
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

    /// A socket or pipe that tokio does not watch.
    fn unwatched_side(&self) -> Option<Side> {
        let blocks = |kind| matches!(kind, Kind::Socket | Kind::Pipe | Kind::Tls);
        let kinds = self.state.pieces.iter().map(Piece::kind).filter(|&kind| kind != Kind::Memory);
        let mut sources = self.sources.iter().skip(self.state.sources_done).zip(kinds);
        if sources.any(|(end, kind)| blocks(kind) && end.readiness.is_none()) {
            return Some(Side::Source);
        }
        let is_unwatched = blocks(self.state.outlet.kind) && self.sink.readiness.is_none();
        is_unwatched.then_some(Side::Sink)
    }

    /// Steps inside the end's `try_io`.
    async fn step_when_ready(&mut self, end: &dyn Readiness, side: Side) -> Result<Step, Error> {
        self.until_maybe_ready(end, side).await?;
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
            (None, tried) => {
                Err(self.failed(tried.err().map_or(Errno::CANCELED, |error| errno_of(&error))))
            }
        }
    }

    /// Waits for a side that a step found not ready.
    async fn until_ready(&self, end: &dyn Readiness, side: Side) -> Result<(), Error> {
        let fd = self.descriptor(side);
        loop {
            self.until_maybe_ready(end, side).await?;
            let looked = end.try_io(side, &mut || {
                if is_ready(fd, side) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
            });
            match looked {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(self.failed(errno_of(&error))),
            }
        }
    }

    async fn until_maybe_ready(&self, end: &dyn Readiness, side: Side) -> Result<(), Error> {
        let ready = poll_fn(|cx| end.poll_ready(side, cx)).await;
        ready.map_err(|error| self.failed(errno_of(&error)))
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
