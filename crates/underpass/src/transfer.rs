//! The transfer: sources, a sink, and steps of one system call each.
//!
//! All state is here and none in a driver, so a driver can be dropped at any point and another
//! can continue: no byte is lost and none is sent twice.

pub(crate) mod state;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::descriptor::Descriptor;
use crate::error::Error;
use crate::ledger::{Ledger, Side};
use crate::policy::Policy;
use crate::sink::Sink;
use crate::source::Source;
use crate::stability::Stability;
use crate::transfer::state::{Ends, TransferState};
use crate::warm;

/// Moves the bytes of one or more sources to a sink.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use underpass::{Sink, Source, Transfer};
///
/// let file = std::fs::File::open("large.bin")?;
/// let socket = std::net::TcpStream::connect("localhost:9000")?;
/// let mut transfer = Transfer::new(Source::bytes("head\r\n"), Sink::stream(&socket))
///     .chain(Source::file(&file, ..)?);
/// transfer.run()?;
/// println!("{}", transfer.ledger());
/// # Ok(())
/// # }
/// ```
///
/// "Moved" means accepted by the sink: it is in a socket's buffer or in the page cache. It
/// does not mean that a peer has read it.
///
/// sendfile(2), splice(2) and writes to pipes raise SIGPIPE in a process that has not set it to
/// be ignored, when the reader is gone; the Rust runtime sets it so. The rest use `MSG_NOSIGNAL`.
#[derive(Debug)]
pub struct Transfer<'a> {
    pub(crate) state: TransferState,
    /// Of the pieces that are not memory, in order.
    pub(crate) sources: Vec<Descriptor<'a>>,
    pub(crate) sink: Descriptor<'a>,
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// The sink took this many bytes. 0 after a signal, and when a method was given up for
    /// another: step again.
    Moved(u64),
    /// This many bytes were taken from the source and are in between.
    Buffered(u64),
    /// That side is not ready: step again when it is readable (source) or writable (sink).
    Wait(Side),
    /// The next bytes of the file must be read from its disk first; only where [`Transfer::gated`]
    /// asked for it. [`prefetch`] them on a thread that may wait, and step again.
    Cold {
        /// Where they start in the file.
        offset: u64,
        /// How many there are.
        len: u64,
    },
    /// Everything has moved.
    Done,
}

impl<'a> Transfer<'a> {
    /// A transfer of one source. No call is made before the first step.
    #[must_use]
    pub fn new(source: Source<'a>, sink: Sink<'a>) -> Self {
        let Sink { end, outlet } = sink;
        let state = TransferState::new(source.piece, outlet);
        Self { state, sources: Vec::from_iter(source.end), sink: end }
    }

    /// Adds a source behind the others. Memory goes together with what follows it, in one call
    /// or by `MSG_MORE`.
    #[must_use]
    pub fn chain(mut self, next: Source<'a>) -> Self {
        self.sources.extend(next.end);
        self.state.pieces.push_back(next.piece);
        self
    }

    /// Sets who chooses the method; `Auto` otherwise.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.state.policy = policy;
        self
    }

    /// Sets what is done about files that change in mid-send; `Guard` otherwise.
    ///
    /// A lease belongs to the open file: one transfer at a time may hold it on each.
    #[must_use]
    pub fn stability(mut self, stability: Stability) -> Self {
        self.state.stability = stability;
        self
    }

    /// Asks for [`Step::Cold`] instead of steps that wait for a disk. At most three reports come
    /// for one place; then the call is made and may wait.
    ///
    /// The question is about sources; writing to a file can wait for its disk whatever is asked.
    #[must_use]
    pub fn gated(mut self) -> Self {
        self.state.gated = true;
        self
    }

    /// Moves at most this many bytes a step, as a limited rate wants it. `Clone` moves none, and
    /// is not divided.
    #[must_use]
    pub fn at_most(mut self, bytes: u64) -> Self {
        self.state.step_bytes_max = bytes.max(1);
        self
    }

    /// Makes the next system call that moves bytes, and no other such call.
    ///
    /// Calls that move none may precede it: fstat(2) or fcntl(2) for the stability policy, before
    /// the call that completes a file, and for `MmapWrite`; up to nine one-byte reads for the
    /// gate; pipe2(2), mmap(2) and poll(2) where the method needs them. At most 2 MiB moves,
    /// 16 MiB by `CopyFileRange` unless gated; `Clone` moves nothing.
    ///
    /// Does not wait for peers if the streams are non-blocking. Waits for disks unless
    /// [`gated`](Self::gated).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). What has moved has moved; the transfer is as it was
    /// before the failing call, and may be stepped on.
    pub fn step(&mut self) -> Result<Step, Error> {
        let ends = Ends { source: self.source(), sink: self.sink.fd };
        self.state.step(ends)
    }

    /// Which end the next step may have to wait for; `None` for a regular file.
    ///
    /// Between two streams of which one is a pipe the step needs both; then it is the source,
    /// and the step itself says which was not ready.
    #[must_use]
    pub fn side(&self) -> Option<Side> {
        self.state.side()
    }

    /// Bytes the sink has accepted. Always exact.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.state.ledger.moved()
    }

    /// Bytes taken from the source that the sink has not accepted yet.
    #[must_use]
    pub fn buffered(&self) -> u64 {
        self.state.buffered()
    }

    /// The account so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.state.ledger
    }

    /// The descriptor of the current piece; `None` if nothing but memory is left.
    pub(crate) fn source(&self) -> Option<BorrowedFd<'a>> {
        Some(self.sources.get(self.state.sources_done)?.fd)
    }

    /// The descriptor of one side, to wait for; the sink's where the source is memory.
    #[must_use]
    pub fn descriptor(&self, side: Side) -> BorrowedFd<'a> {
        match side {
            Side::Source => self.source().unwrap_or(self.sink.fd),
            Side::Sink => self.sink.fd,
        }
    }

    /// How tokio watches one side.
    #[cfg(feature = "tokio")]
    pub(crate) fn readiness(&self, side: Side) -> Option<&'a dyn crate::Readiness> {
        match side {
            Side::Source => self.sources.get(self.state.sources_done)?.readiness,
            Side::Sink => self.sink.readiness,
        }
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        let source = self.source();
        self.state.release_source(source);
        self.state.uncork(self.sink.fd);
        self.state.close();
    }
}

/// Moves everything from `source` to `sink`, waiting as need be.
///
/// # Errors
///
/// Those of [`Transfer::step`].
pub fn transfer(source: Source<'_>, sink: Sink<'_>) -> Result<Ledger, Error> {
    let mut transfer = Transfer::new(source, sink);
    transfer.run()?;
    Ok(std::mem::take(&mut transfer.state.ledger))
}

/// Brings `len` bytes at `offset` of a file into the page cache, waiting for its disk: the answer
/// to [`Step::Cold`], on a thread that may wait.
///
/// # Errors
///
/// Those of sendfile(2), `EIO` among them; the step that needs the bytes would meet them too.
pub fn prefetch(file: &impl AsFd, offset: u64, len: u64) -> io::Result<()> {
    Ok(warm::prefetch(file.as_fd(), offset, len)?)
}
