//! A TLS connection for threads that may wait.
//!
//! Source: RFC 8446 §6.1; socket(7), `SO_RCVTIMEO` and `SO_SNDTIMEO`.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::handover::Unavailable;
use super::handshake::{Handshake, Negotiated, Secured};
use super::records::{Halt, Records};
use crate::ledger::Side;
use crate::outgoing::{self, Gate};
use crate::{Sink, Source, blocking};

/// A TLS connection whose records the kernel makes and reads where it can, and rustls elsewhere:
/// [`TlsStream`](super::TlsStream) for threads that may wait.
///
/// Transfers take it as [`Self::source`] and as [`Self::sink`]. Where the kernel makes the records,
/// files leave by sendfile(2) and content arrives by splice(2). File-backed slices that are written
/// to it are read from their file, which is checked before the last of them leaves.
///
/// Calls wait as the socket does: not at all if it is non-blocking, and no longer than its
/// timeouts. Two threads may send and receive at the same time.
///
/// In the kernel, session tickets and TLS 1.2's warnings are passed over, and keys stay those of
/// the handshake: a peer that changes its keys is an error
/// ([`TlsError::KeyUpdate`](super::TlsError::KeyUpdate)).
///
/// Closing a non-blocking socket while its peer still takes bytes may lose the last of them,
/// because the kernel keeps some before the socket's own queue: close it when the peer has
/// answered, or closed.
#[derive(Debug)]
pub struct BlockingTlsStream<S> {
    socket: S,
    secured: Secured,
}

impl<S: AsFd> BlockingTlsStream<S> {
    /// Bytes that should leave over one connection that the kernel encrypts: half of the 2^24 full
    /// records that one key of AES-GCM may encrypt, since not every record is full. Transfers do
    /// not count theirs.
    pub const SEND_BYTES_MAX: u64 = 1 << 37;

    /// Shakes hands with the server of this name over a connected socket.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`.
    ///
    /// # Errors
    ///
    /// Those of [`Handshake`]; `WouldBlock` where the socket does not wait.
    pub fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: S,
    ) -> io::Result<Self> {
        Self::shake(Handshake::connect(config, name)?, socket)
    }

    /// Shakes hands with a client.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`.
    ///
    /// # Errors
    ///
    /// Those of [`Handshake`]; `WouldBlock` where the socket does not wait.
    pub fn accept(config: Arc<ServerConfig>, socket: S) -> io::Result<Self> {
        Self::shake(Handshake::accept(config)?, socket)
    }

    fn shake(mut handshake: Handshake, socket: S) -> io::Result<Self> {
        while let Some(side) = handshake.step(&socket)? {
            wait(socket.as_fd(), side)?;
        }
        handshake.finish(socket)
    }

    pub(super) const fn new(socket: S, secured: Secured) -> Self {
        Self { socket, secured }
    }

    /// What the connection yields until its peer's close_notify, as a source of transfers.
    ///
    /// Records that are not content are taken on the way. A connection that closes without
    /// close_notify is an error, [`TlsError::CutShort`](super::TlsError::CutShort).
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        Source::over(self.socket.as_fd().into(), &self.secured.records)
    }

    /// The connection as a sink of transfers, which are done once the socket has all the records.
    /// They send no close_notify.
    #[must_use]
    pub fn sink(&self) -> Sink<'_> {
        Sink::over(self.socket.as_fd().into(), &self.secured.records)
    }

    /// The socket. Bytes that are written to it or read from it are content only where
    /// [`Self::unavailable`] is `None`.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// The same connection with what `change` makes of its socket: the same one in another type.
    #[must_use]
    pub fn map_socket<T: AsFd>(self, change: impl FnOnce(S) -> T) -> BlockingTlsStream<T> {
        BlockingTlsStream { socket: change(self.socket), secured: self.secured }
    }

    /// Whether the kernel makes and reads the records.
    #[must_use]
    pub const fn is_in_kernel(&self) -> bool {
        self.secured.records.is_in_kernel()
    }

    /// Why the kernel does not make and read the records; `None` if it does.
    #[must_use]
    pub const fn unavailable(&self) -> Option<Unavailable> {
        self.secured.unavailable
    }

    /// What the two ends agreed on.
    #[must_use]
    pub const fn negotiated(&self) -> &Negotiated {
        &self.secured.negotiated
    }

    /// As [`Read::read`], through a shared reference; 0 at the peer's close_notify.
    ///
    /// # Errors
    ///
    /// A [`TlsError`](super::TlsError) inside, of kind `UnexpectedEof` where the connection closed
    /// without close_notify; `EBADMSG` or a [`rustls::Error`] for a forged record; those of
    /// recvmsg(2).
    pub fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.waiting(Side::Source, |records, socket| records.receive(socket, into))
    }

    /// Looks at content that the next [`Self::receive`] will take: some of it, or all there is.
    ///
    /// # Errors
    ///
    /// Those of [`Self::receive`]; [`TlsError::Record`](super::TlsError::Record) for a record
    /// without content before one of another type.
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.waiting(Side::Source, |records, socket| records.peek(socket, into))
    }

    /// As [`Write::write`], through a shared reference. In user space some of what it took may
    /// wait for [`Self::flush`].
    ///
    /// # Errors
    ///
    /// [`TlsError::KeyUsedUp`](super::TlsError::KeyUsedUp); those of sendmsg(2); an
    /// [`Error`](crate::Error) if the bytes are in a file and it changed.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.send_slices(&[IoSlice::new(bytes)])
    }

    fn send_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            let sent = outgoing::with_memory(slices, &Gate::Open, |memory| {
                self.waiting(Side::Sink, |records, socket| records.send(socket, memory))
            })?;
            match sent {
                Ok(sent) => return sent,
                // Not answered through an open gate, but right if it were.
                Err(cold) => cold.fetch()?,
            }
        }
    }

    /// As [`Write::flush`], through a shared reference.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2).
    pub fn flush(&self) -> io::Result<()> {
        self.waiting(Side::Sink, Records::flush)
    }

    /// Tells the peer that no more content comes; its own may still.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2). After `WouldBlock` the peer has not been told: call it again.
    pub fn close_notify(&self) -> io::Result<()> {
        self.waiting(Side::Sink, Records::close_notify)
    }

    fn waiting<T>(
        &self,
        side: Side,
        mut call: impl FnMut(&Records, BorrowedFd<'_>) -> Result<T, Halt>,
    ) -> io::Result<T> {
        let socket = self.socket.as_fd();
        loop {
            match call(&self.secured.records, socket) {
                Err(Halt::Call(Errno::AGAIN)) => wait(socket, side)?,
                Err(Halt::Call(Errno::INTR)) => {}
                answer => return Ok(answer?),
            }
        }
    }
}

/// Waits as a call on the socket would.
fn wait(socket: BorrowedFd<'_>, side: Side) -> io::Result<()> {
    if rustix::fs::fcntl_getfl(socket)?.contains(OFlags::NONBLOCK) {
        return Err(Errno::AGAIN.into());
    }
    Ok(blocking::wait(socket, side)?)
}

impl<S: AsFd> Read for BlockingTlsStream<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into)
    }
}

impl<S: AsFd> Write for BlockingTlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send_slices(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::flush(self)
    }
}
