//! One direction of a long-lived connection: bytes from one stream to another until the first
//! one ends.
//!
//! Small messages are copied through a buffer that the thread shares; a read that fills it says
//! that more is there, and from then on bytes go by splice through a pooled pipe, until a splice
//! moves little. What the sink does not take at once stays in the pipe or in memory, and nothing
//! more is taken from the source meanwhile. So an idle direction holds neither, and back-pressure
//! reaches the sender.
//!
//! `EAGAIN` from splice(2) does not say which end was not ready. Here it need not: a pipe is
//! filled only when it is empty, so filling waits for the source and draining for the sink.
//!
//! Source: splice(2); read(2); shutdown(2).

use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use crate::buffer::Buffer;
use crate::error::{Error, ErrorKind};
use crate::ledger::Side;
use crate::limits::{COPY_MAX, TURN_BYTES};
use crate::method::Method;
use crate::methods::copy;
use crate::methods::splice::{End, splice};
use crate::pipe::Pipe;
use crate::progress::is_refusal;
use crate::tokio::readiness::{Readiness, attempt, errno_of};

/// The most that is copied at a time where there is no pipe.
const BUFFER_BYTES: u64 = 64 << 10;

/// Moves bytes from one stream to another, and holds no pipe and no buffer while it is idle.
///
/// A proxy's connection is two of them, one for each direction; where all it does is move bytes,
/// [`copy_bidirectional`](crate::copy_bidirectional) is that in one call. A flow is polled by one
/// task, always with the same two streams.
///
/// ```no_run
/// # use tokio::net::TcpStream;
/// # async fn pump(from: TcpStream, to: TcpStream) -> Result<(), underpass::Error> {
/// let mut flow = underpass::Flow::new();
/// std::future::poll_fn(|cx| flow.poll_shutdown(cx, &from, &to)).await?;
/// println!("{} bytes", flow.moved());
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// Cancel safe: all state is in the flow, so a future around it can be dropped, and the flow polled
/// again. A flow that is dropped loses the bytes it holds, see [`is_holding`](Self::is_holding).
#[derive(Debug)]
pub struct Flow {
    held: Held,
    stage: Stage,
    is_bulk: bool,
    /// Whether nothing was given to the sink yet, or tried: it has room once it is connected, and
    /// epoll(7) would say so a turn later.
    is_fresh: bool,
    copied: u64,
    spliced: u64,
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
    /// All is delivered.
    Over,
    /// This side has failed.
    Failed(Side),
}

/// A side that failed, and why.
type Failure = (Side, Errno);

impl Default for Flow {
    fn default() -> Self {
        Self::new()
    }
}

impl Flow {
    /// A direction in which nothing has moved.
    #[must_use]
    pub const fn new() -> Self {
        let (held, stage) = (Held::Nothing, Stage::Open);
        Self { held, stage, is_bulk: false, is_fresh: true, copied: 0, spliced: 0 }
    }

    /// Delivers `bytes` before anything else. The first `own` of them did not come from the
    /// source, and are not counted.
    pub fn start_with(&mut self, bytes: Vec<u8>, own: usize) {
        if !bytes.is_empty() {
            self.held = Held::Memory { bytes: bytes.into(), sent: 0, own };
        }
    }

    /// Bytes that the sink took.
    #[must_use]
    pub const fn moved(&self) -> u64 {
        self.copied + self.spliced
    }

    /// Bytes that the sink took by this method: [`Method::Splice`] or [`Method::Copy`].
    #[must_use]
    pub const fn moved_by(&self, method: Method) -> u64 {
        if matches!(method, Method::Splice) {
            self.spliced
        } else if matches!(method, Method::Copy) {
            self.copied
        } else {
            0
        }
    }

    /// Whether the direction has ended, well or not.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::Failed(_))
    }

    /// The side whose failure ended the direction.
    #[must_use]
    pub const fn failed_side(&self) -> Option<Side> {
        if let Stage::Failed(side) = self.stage { Some(side) } else { None }
    }

    /// Whether bytes have been taken from the source that the sink does not have.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        !matches!(self.held, Held::Nothing)
    }

    /// Moves what can be moved now. Ready when the source has ended, the sink has everything, and
    /// its peer has been sent the end of the stream, shutdown(2).
    ///
    /// # Errors
    ///
    /// `ErrorKind::Io`, by [`failed_side`](Self::failed_side); the direction is over then.
    pub fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn Readiness,
        to: &dyn Readiness,
    ) -> Poll<Result<(), Error>> {
        self.poll(cx, from, to, true)
    }

    /// As [`Self::poll_shutdown`] without shutdown(2): the caller closes the sink.
    ///
    /// # Errors
    ///
    /// Those of [`Self::poll_shutdown`].
    pub fn poll_delivered(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn Readiness,
        to: &dyn Readiness,
    ) -> Poll<Result<(), Error>> {
        self.poll(cx, from, to, false)
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn Readiness,
        to: &dyn Readiness,
        shuts_down: bool,
    ) -> Poll<Result<(), Error>> {
        if self.is_over() {
            return Poll::Ready(Ok(()));
        }
        let mut moved = ready!(self.poll_moving(cx, from, to));
        if moved.is_ok() && shuts_down {
            moved = rustix::net::shutdown(to, Shutdown::Write).map_err(|errno| (Side::Sink, errno));
        }
        let (stage, outcome) = match moved {
            Ok(()) => (Stage::Over, Ok(())),
            Err((side, errno)) => (Stage::Failed(side), Err(self.error(errno))),
        };
        // No one takes what is held any more, and a pipe that holds bytes is closed.
        (self.held, self.stage) = (Held::Nothing, stage);
        Poll::Ready(outcome)
    }

    fn error(&self, errno: Errno) -> Error {
        let (buffered, method) = match &self.held {
            Held::Nothing => (0, Method::Copy),
            Held::Memory { bytes, sent, .. } => ((bytes.len() - sent) as u64, Method::Copy),
            Held::Pipe(pipe) => (pipe.held, Method::Splice),
        };
        let kind = ErrorKind::Io(errno);
        Error { moved: self.moved(), buffered, file_offset: None, wanted: None, method, kind }
    }

    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        from: &dyn Readiness,
        to: &dyn Readiness,
    ) -> Poll<Result<(), Failure>> {
        let start = self.moved();
        loop {
            ready!(self.poll_deliver(cx, to)).map_err(|errno| (Side::Sink, errno))?;
            if self.stage != Stage::Open {
                return Poll::Ready(Ok(()));
            }
            if self.moved() - start >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let ready = ready!(from.poll_ready(Side::Source, cx));
            ready.map_err(|error| (Side::Source, errno_of(&error)))?;
            match self.take(from, to) {
                Ok(()) | Err((Side::Source, Errno::AGAIN)) => {}
                Err(failure) => return Poll::Ready(Err(failure)),
            }
        }
    }

    /// Takes bytes once, and gives the sink what it takes at once.
    fn take(&mut self, from: &dyn Readiness, to: &dyn Readiness) -> Result<(), Failure> {
        if !self.is_bulk {
            return self.copy(from, to, COPY_MAX);
        }
        let Some(mut pipe) = Pipe::take() else { return self.copy(from, to, BUFFER_BYTES) };
        match pipe.try_fill(from) {
            Ok(0) => self.stage = Stage::Ended,
            Ok(n) => {
                self.is_bulk = n >= COPY_MAX;
                self.held = Held::Pipe(pipe);
            }
            Err(errno) if is_refusal(Method::Splice, errno, false) => {
                drop(pipe);
                return self.copy(from, to, BUFFER_BYTES);
            }
            Err(errno) => return Err((Side::Source, errno)),
        }
        Ok(())
    }

    /// Takes bytes into the thread's buffer and gives them to the sink. What it does not take is
    /// kept in memory.
    fn copy(&mut self, from: &dyn Readiness, to: &dyn Readiness, max: u64) -> Result<(), Failure> {
        let mut buffer = Buffer::default();
        let room = buffer.room(0, None, max);
        let taken = attempt(from, Side::Source, |fd| copy::fill(fd, None, room));
        let n = taken.map_err(|errno| (Side::Source, errno))?;
        if n == 0 {
            self.stage = Stage::Ended;
            return Ok(());
        }
        self.is_bulk = n >= COPY_MAX;
        buffer.filled(n);
        let sent = match self.give(to, |fd| send(fd, buffer.bytes())) {
            Err(Errno::AGAIN) => 0,
            answer => answer.map_err(|errno| (Side::Sink, errno))?,
        };
        self.copied += sent;
        buffer.consume(sent);
        if buffer.len() > 0 {
            self.held = Held::Memory { bytes: buffer.bytes().into(), sent: 0, own: 0 };
        }
        Ok(())
    }

    /// Makes a call that gives to the sink, the first time without asking whether it has room.
    fn give(
        &mut self,
        to: &dyn Readiness,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<u64, Errno>,
    ) -> Result<u64, Errno> {
        if std::mem::take(&mut self.is_fresh) {
            return rustix::io::retry_on_intr(|| call(to.as_fd()));
        }
        attempt(to, Side::Sink, call)
    }

    /// Gives the sink what is held. Ready when nothing is.
    fn poll_deliver(
        &mut self,
        cx: &mut Context<'_>,
        to: &dyn Readiness,
    ) -> Poll<Result<(), Errno>> {
        while self.is_holding() {
            match self.deliver(to) {
                Ok(()) => {}
                Err(Errno::AGAIN) => {
                    let ready = ready!(to.poll_ready(Side::Sink, cx));
                    ready.map_err(|error| errno_of(&error))?;
                }
                Err(errno) => return Poll::Ready(Err(errno)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn deliver(&mut self, to: &dyn Readiness) -> Result<(), Errno> {
        match std::mem::replace(&mut self.held, Held::Nothing) {
            Held::Nothing => Ok(()),
            Held::Memory { bytes, mut sent, mut own } => {
                let answer = self.give(to, |fd| send(fd, bytes.get(sent..).unwrap_or_default()));
                let n = *answer.as_ref().unwrap_or(&0);
                let of_others = n.min(own as u64);
                self.copied += n - of_others;
                (sent, own) =
                    (sent + crate::methods::count(n), own - crate::methods::count(of_others));
                if sent < bytes.len() {
                    self.held = Held::Memory { bytes, sent, own };
                }
                answer.map(drop)
            }
            Held::Pipe(mut pipe) => {
                let answer = self.give(to, |fd| {
                    splice(End(pipe.read_end(), None), End(fd, None), pipe.held, false)
                });
                match answer {
                    Ok(n) => {
                        self.spliced += n;
                        pipe.held -= n;
                    }
                    Err(errno) if is_refusal(Method::Splice, errno, false) => {
                        self.held = Held::Memory { bytes: pipe.empty()?, sent: 0, own: 0 };
                        return Ok(());
                    }
                    Err(_) => {}
                }
                if pipe.held > 0 {
                    self.held = Held::Pipe(pipe);
                }
                // A sink that takes nothing and is not full would be asked for ever.
                if answer == Ok(0) { Err(Errno::IO) } else { answer.map(drop) }
            }
        }
    }
}

/// send(2) without SIGPIPE; write(2) where the sink is not a socket.
fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<u64, Errno> {
    let sent = match rustix::net::send(fd, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::NOTSOCK) => rustix::io::write(fd, bytes),
        sent => sent,
    };
    sent.map(|n| n as u64)
}
