//! One direction of a connection: bytes from one socket to the other until the first one ends.
//!
//! Small messages are copied through a buffer that the connections of a worker share; a read
//! that fills it says that more is there, and from then on bytes go by splice through a pipe of
//! the pool, until a splice moves little. What the sink does not take at once stays in the pipe
//! or in memory, and nothing more is taken from the source meanwhile. So a direction that is
//! idle holds neither, and back-pressure reaches the sender.
//!
//! `EAGAIN` from splice(2) does not say which end was not ready. Here it need not: a pipe is
//! filled only when it is empty, so filling waits for the source and draining for the sink.
//!
//! Source: splice(2); recv(2); shutdown(2).

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, splice};
use underpass::{Method, Side};

use crate::pipe::{Pipe, Pool};
use crate::socket::{Brought, Socket};
use crate::tally::{Direction, Tally};

/// A read that brings this much says that bytes come in bulk.
const SMALL_MAX: usize = 16 << 10;

/// The buffer for copies where no pipe is to be had.
pub(crate) const BUFFER_BYTES: usize = 64 << 10;

/// Bytes moved before other connections get their turn: half a millisecond at 8 GB/s.
const TURN_BYTES: u64 = 4 << 20;

/// What the flows of one worker share.
#[derive(Debug)]
pub(crate) struct Means {
    pub(crate) pool: Pool,
    pub(crate) buffer: RefCell<Box<[u8]>>,
    pub(crate) tally: Tally,
}

impl Means {
    pub(crate) fn new(pipes_max: usize, tally: Tally) -> Self {
        let buffer = RefCell::new(vec![0; BUFFER_BYTES].into_boxed_slice());
        Self { pool: Pool::new(pipes_max, tally.clone()), buffer, tally }
    }
}

/// Bytes taken from the source that the sink does not have yet.
#[derive(Debug)]
enum Held {
    Nothing,
    /// The first `own` bytes did not come from the source.
    Memory {
        bytes: Box<[u8]>,
        sent: usize,
        own: usize,
    },
    Pipe(Pipe),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The source has ended; what is held is still to be delivered.
    Ended,
    /// The sink has been told.
    Closed,
}

/// The state of one direction.
#[derive(Debug)]
pub(crate) struct Flow {
    held: Held,
    stage: Stage,
    direction: Direction,
    is_bulk: bool,
    /// Bytes that the sink took from memory.
    copied: u64,
    /// Bytes that the sink took from a pipe.
    spliced: u64,
}

/// What a look at the source brought.
pub(crate) enum Taken {
    Bytes,
    End,
    /// Nothing now.
    Nothing,
}

impl Flow {
    /// A direction in which nothing has moved.
    pub(crate) const fn new(direction: Direction) -> Self {
        let (held, stage) = (Held::Nothing, Stage::Open);
        Self { held, stage, direction, is_bulk: false, copied: 0, spliced: 0 }
    }

    /// Delivers `bytes` before anything else; the first `own` of them did not come from the
    /// source, and are not counted.
    pub(crate) fn begin_with(&mut self, bytes: Vec<u8>, own: usize) {
        if !bytes.is_empty() {
            self.held = Held::Memory { bytes: bytes.into(), sent: 0, own };
        }
    }

    /// Bytes that the sink took.
    pub(crate) const fn delivered(&self) -> u64 {
        self.copied + self.spliced
    }

    /// Whether the direction has ended, well or not.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Bytes that the sink took from pipes.
    pub(crate) const fn spliced(&self) -> u64 {
        self.spliced
    }

    /// Bytes that the sink took from memory.
    pub(crate) const fn copied(&self) -> u64 {
        self.copied
    }

    /// Whether bytes have been taken that the sink does not have.
    pub(crate) const fn is_holding(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Moves what can be moved now. Ready when the source has ended and the sink knows. If the
    /// direction `is_last`, the sink knows by close(2), which has to follow at once.
    ///
    /// # Errors
    ///
    /// The side that failed; the direction is over then.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
        means: &Means,
        is_last: bool,
    ) -> Poll<Result<(), Side>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        let mut moved = ready!(self.poll_moving(cx, from, to, means));
        if moved.is_ok() && !is_last {
            moved = to.end_sending().map_err(|_| Side::Sink);
        }
        // What is held has no taker any more, and a pipe that holds bytes is closed.
        (self.held, self.stage) = (Held::Nothing, Stage::Closed);
        Poll::Ready(moved)
    }

    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        from: &Socket,
        to: &Socket,
        means: &Means,
    ) -> Poll<Result<(), Side>> {
        let start = self.delivered();
        loop {
            ready!(self.poll_deliver(cx, to, means)).map_err(|_| Side::Sink)?;
            if self.stage != Stage::Open {
                return Poll::Ready(Ok(()));
            }
            if self.delivered() - start >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(from.poll_read_ready(cx)).map_err(|_| Side::Source)?;
            match self.take(from, to, means)? {
                Taken::Bytes | Taken::Nothing => {}
                Taken::End => self.stage = Stage::Ended,
            }
        }
    }

    /// Takes bytes once, and gives the sink what it takes at once.
    fn take(&mut self, from: &Socket, to: &Socket, means: &Means) -> Result<Taken, Side> {
        if !self.is_bulk {
            return self.copy(from, to, means, SMALL_MAX);
        }
        let Some(mut pipe) = means.pool.take() else {
            return self.copy(from, to, means, BUFFER_BYTES);
        };
        let mut buffer = means.buffer.borrow_mut();
        let (small, _) = buffer.split_at_mut(SMALL_MAX);
        match from.try_splice(&pipe.write, small) {
            Ok(Brought::InPipe(0) | Brought::InMemory(0)) => {
                means.pool.give_back(pipe);
                Ok(Taken::End)
            }
            Ok(Brought::InMemory(n)) => {
                means.pool.give_back(pipe);
                self.give_on(small.get(..n).unwrap_or_default(), to, means)
            }
            Ok(Brought::InPipe(n)) => {
                self.is_bulk = n >= SMALL_MAX;
                pipe.held = n;
                self.held = Held::Pipe(pipe);
                Ok(Taken::Bytes)
            }
            Err(error) => {
                means.pool.give_back(pipe);
                if error.kind() == io::ErrorKind::WouldBlock {
                    Ok(Taken::Nothing)
                } else if is_refusal(&error) {
                    drop(buffer);
                    self.copy(from, to, means, BUFFER_BYTES)
                } else {
                    Err(Side::Source)
                }
            }
        }
    }

    /// Takes bytes into the shared buffer and gives them on. What the sink does not take is kept
    /// in memory of its own.
    fn copy(
        &mut self,
        from: &Socket,
        to: &Socket,
        means: &Means,
        max: usize,
    ) -> Result<Taken, Side> {
        let mut buffer = means.buffer.borrow_mut();
        let (buffer, _) = buffer.split_at_mut(max);
        let n = match from.try_receive(buffer) {
            Ok(0) => return Ok(Taken::End),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Taken::Nothing),
            Err(_) => return Err(Side::Source),
        };
        self.is_bulk = n >= SMALL_MAX;
        self.give_on(buffer.get(..n).unwrap_or_default(), to, means)
    }

    /// Gives the sink bytes from the shared buffer, and holds what it does not take.
    fn give_on(&mut self, bytes: &[u8], to: &Socket, means: &Means) -> Result<Taken, Side> {
        let sent = match to.try_send(bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(Side::Sink),
        };
        self.count(Method::Copy, sent, means);
        let rest = bytes.get(sent..).unwrap_or_default();
        if !rest.is_empty() {
            self.held = Held::Memory { bytes: rest.into(), sent: 0, own: 0 };
        }
        Ok(Taken::Bytes)
    }

    pub(crate) fn count(&mut self, method: Method, n: usize, means: &Means) {
        let n = n as u64;
        if method == Method::Splice {
            self.spliced += n;
        } else {
            self.copied += n;
        }
        means.tally.add(self.direction, method, n);
    }

    /// Gives the sink what is held. Ready when nothing is.
    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        to: &Socket,
        means: &Means,
    ) -> Poll<io::Result<()>> {
        while self.is_holding() {
            match self.deliver(to, means) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(to.poll_write_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn deliver(&mut self, to: &Socket, means: &Means) -> io::Result<()> {
        match &mut self.held {
            Held::Nothing => return Ok(()),
            Held::Memory { bytes, sent, own } => {
                let n = to.try_send(bytes.get(*sent..).unwrap_or_default())?;
                let of_others = (*own).min(n);
                (*sent, *own) = (*sent + n, *own - of_others);
                let is_more = *sent < bytes.len();
                self.count(Method::Copy, n - of_others, means);
                if is_more {
                    return Ok(());
                }
            }
            Held::Pipe(pipe) => {
                let (read, held) = (&pipe.read, pipe.held);
                let drained =
                    to.try_give(|fd| splice(read, None, fd, None, held, SpliceFlags::NONBLOCK));
                let n = match drained {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(n) => n,
                    Err(error) if is_refusal(&error) => return self.rescue(means),
                    Err(error) => return Err(error),
                };
                pipe.held -= n;
                let is_more = pipe.held > 0;
                self.count(Method::Splice, n, means);
                if is_more {
                    return Ok(());
                }
            }
        }
        if let Held::Pipe(pipe) = std::mem::replace(&mut self.held, Held::Nothing) {
            means.pool.give_back(pipe);
        }
        Ok(())
    }

    /// Takes bytes out of a pipe that the sink does not take them from.
    fn rescue(&mut self, means: &Means) -> io::Result<()> {
        let Held::Pipe(pipe) = &mut self.held else { return Ok(()) };
        let mut bytes = vec![0; pipe.held].into_boxed_slice();
        let mut read = 0;
        while read < bytes.len() {
            match rustix::io::read(&pipe.read, &mut bytes[read..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => read += n,
            }
        }
        pipe.held = 0;
        let memory = Held::Memory { bytes, sent: 0, own: 0 };
        if let Held::Pipe(pipe) = std::mem::replace(&mut self.held, memory) {
            means.pool.give_back(pipe);
        }
        Ok(())
    }
}

/// Whether splice(2) is refused as such, by the kernel or by a profile that forbids it.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}
