//! A TLS connection under tokio.
//!
//! Source: RFC 8446 §6.1; tokio::net::TcpStream::try_io.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::Shutdown;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::closing::Closing;
use super::handover::Unavailable;
use super::handshake::{Handshake, Negotiated, Secured};
use super::kernel::Kernel;
use super::records::Records;
use super::user_space::UserSpace;
use crate::ledger::Side;
use crate::{CopyStream, Readiness, Sent, Sink, Source, Stream};

/// A TLS connection whose records the kernel makes and reads where it can, and rustls elsewhere.
///
/// It is an ordinary `AsyncRead + AsyncWrite`, which hyper, axum and tonic take for a socket.
/// File-backed slices leave by sendfile(2) if the kernel makes the records, as over a
/// [`Stream`]. Otherwise they are read as over a [`CopyStream`]: a file that changes on the way
/// is never completed.
///
/// Shutting it down tells the peer that no more content comes (close_notify), and waits until the
/// kernel has given its last record to the socket. A peer that stops reading can make that last:
/// how long it may is the caller's to say. After a write that failed it tells the peer nothing, so
/// that a part is not taken for the whole.
///
/// In the kernel, session tickets and TLS 1.2's warnings are passed over. Keys stay those of the
/// handshake: a peer that changes its keys is an error
/// ([`TlsError::KeyUpdate`](super::TlsError::KeyUpdate)), and so is sending more than one key may
/// encrypt ([`TlsError::KeyUsedUp`](super::TlsError::KeyUsedUp), after 2^24 records, which are
/// 256 GiB if they are full).
///
/// A connection that closes without close_notify is an error of kind `UnexpectedEof`.
///
/// # Panics
///
/// Outside a tokio runtime with timers, when it is shut down, or when it writes bytes of a file
/// that are not in the page cache.
#[derive(Debug)]
pub struct TlsStream {
    transport: Transport,
    negotiated: Negotiated,
    unavailable: Option<Unavailable>,
    closing: Closing,
    /// A write failed: what was sent must not look complete.
    is_broken: bool,
}

#[derive(Debug)]
enum Transport {
    Kernel(Stream<TcpStream>, Kernel),
    UserSpace(CopyStream<OverRustls>),
}

impl Transport {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::UserSpace(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Kernel(stream, kernel) => {
                kernel.may_send()?;
                let n = ready!(Pin::new(stream).poll_write_vectored(cx, slices))?;
                kernel.note_sent(n);
                Poll::Ready(Ok(n))
            }
        }
    }
}

impl TlsStream {
    /// Shakes hands with the server of this name over a connected socket.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`. How
    /// long the handshake may take is the caller's to say.
    ///
    /// # Errors
    ///
    /// Those of [`Handshake`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn connect(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        Self::shake(Handshake::connect(config, name)?, socket).await
    }

    /// Shakes hands with a client.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`. How
    /// long the handshake may take is the caller's to say.
    ///
    /// # Errors
    ///
    /// Those of [`Handshake`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub async fn accept(config: Arc<ServerConfig>, socket: TcpStream) -> io::Result<Self> {
        Self::shake(Handshake::accept(config)?, socket).await
    }

    async fn shake(mut handshake: Handshake, socket: TcpStream) -> io::Result<Self> {
        let mut next = Some(Side::Sink);
        while let Some(side) = next {
            let interest = match side {
                Side::Source => Interest::READABLE,
                Side::Sink => Interest::WRITABLE,
            };
            socket.ready(interest).await?;
            let stepped = socket.try_io(interest, || {
                next = handshake.step(&socket)?;
                if next == Some(side) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match stepped {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                stepped => stepped?,
            }
        }
        let Secured { records, negotiated, unavailable } = handshake.conclude(socket.as_fd())?;
        let transport = match records {
            Records::Kernel(kernel) => Transport::Kernel(Stream::new(socket), kernel),
            Records::UserSpace(rustls) => {
                Transport::UserSpace(CopyStream::new(OverRustls { socket, rustls }))
            }
        };
        Ok(Self {
            transport,
            negotiated,
            unavailable,
            closing: Closing::default(),
            is_broken: false,
        })
    }

    /// The socket. Bytes that are written to it or read from it are content only where
    /// [`Self::is_in_kernel`] says so.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match &self.transport {
            Transport::Kernel(stream, _) => stream.get_ref(),
            Transport::UserSpace(stream) => &stream.get_ref().socket,
        }
    }

    /// Whether the kernel makes and reads the records.
    #[must_use]
    pub const fn is_in_kernel(&self) -> bool {
        matches!(self.transport, Transport::Kernel(..))
    }

    /// Why the kernel does not make and read the records; `None` if it does.
    #[must_use]
    pub const fn unavailable(&self) -> Option<Unavailable> {
        self.unavailable
    }

    /// What the two ends agreed on.
    #[must_use]
    pub const fn negotiated(&self) -> &Negotiated {
        &self.negotiated
    }

    /// What the writes did since this was asked last.
    pub fn take_sent(&mut self) -> Sent {
        match &mut self.transport {
            Transport::Kernel(stream, _) => stream.take_sent(),
            Transport::UserSpace(stream) => stream.take_sent(),
        }
    }

    /// What the connection yields until its peer's close_notify, as a source of transfers.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        let socket: &dyn Readiness = self.socket();
        Source::over(socket.into(), &self.records())
    }

    /// The connection as a sink of transfers, which are done once the socket has all the records.
    /// They send no close_notify. After one that failed, drop the connection: to shut it down would
    /// say that all was sent.
    #[must_use]
    pub fn sink(&self) -> Sink<'_> {
        let socket: &dyn Readiness = self.socket();
        Sink::over(socket.into(), &self.records())
    }

    /// Whether content or anything else of the peer's has come that was not read. Takes nothing out
    /// of the socket.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        self.records().has_unread(self.socket().as_fd())
    }

    /// Sends what there is room for, where no write is under way, and says how much that was. In
    /// user space some of it may wait for the stream to be flushed or shut down.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; those of sendmsg(2).
    pub fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.records().send(self.socket().as_fd(), &[IoSlice::new(bytes)])?)
    }

    /// Tells the peer that no more content comes (close_notify), if there is room for that now and
    /// no write has failed: for connections that are dropped while nothing is on its way.
    pub fn try_close_notify(&self) {
        if !self.is_broken {
            // A peer that is gone needs not be told.
            drop(self.records().close_notify(self.socket().as_fd()));
        }
    }

    fn records(&self) -> Records {
        match &self.transport {
            Transport::Kernel(_, kernel) => Records::Kernel(kernel.clone()),
            Transport::UserSpace(stream) => Records::UserSpace(stream.get_ref().rustls.clone()),
        }
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::UserSpace(stream) => Pin::new(stream).poll_read(cx, into),
            Transport::Kernel(stream, kernel) => {
                let n = ready!(poll_receive(stream.get_ref(), cx, |socket| {
                    Ok(kernel.receive(socket, into.initialize_unfilled())?)
                }))?;
                into.advance(n);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(this.transport.poll_write(cx, slices));
        this.is_broken |= written.is_err();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::UserSpace(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Kernel(stream, _) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_broken {
            return Poll::Ready(end(this.socket()));
        }
        match &mut this.transport {
            Transport::UserSpace(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Kernel(stream, kernel) => {
                ready!(Pin::new(&mut *stream).poll_flush(cx))?;
                this.closing.poll(stream.get_ref(), cx, |socket| Ok(kernel.close_notify(socket)?))
            }
        }
    }
}

/// rustls over a socket. All slices are bytes that it reads.
#[derive(Debug)]
struct OverRustls {
    socket: TcpStream,
    rustls: UserSpace,
}

impl AsyncRead for OverRustls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, rustls } = self.get_mut();
        // The socket counts as readable until a call has found nothing there, and such a call finds
        // nothing in rustls either.
        let n = ready!(poll_receive(socket, cx, |socket| {
            Ok(rustls.receive(socket, into.initialize_unfilled())?)
        }))?;
        into.advance(n);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for OverRustls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_send(&self.socket, cx, |socket| Ok(self.rustls.send(socket, slices)?))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll_send(&self.socket, cx, |socket| Ok(self.rustls.finish(socket)?))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(poll_send(&self.socket, cx, |socket| Ok(self.rustls.close_notify(socket)?)))?;
        Poll::Ready(end(&self.socket))
    }
}

/// Ends the sending of a socket, which its peer may have closed.
pub(super) fn end(socket: &TcpStream) -> io::Result<()> {
    match rustix::net::shutdown(socket, Shutdown::Write) {
        Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn poll_receive<T>(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        if let Some(answer) = tried(socket.try_io(Interest::READABLE, || call(socket.as_fd()))) {
            return Poll::Ready(answer);
        }
    }
}

pub(super) fn poll_send<T>(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        if let Some(answer) = tried(socket.try_io(Interest::WRITABLE, || call(socket.as_fd()))) {
            return Poll::Ready(answer);
        }
    }
}

/// The answer of a call, unless it has to be made again.
fn tried<T>(answer: io::Result<T>) -> Option<io::Result<T>> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        answer => Some(answer),
    }
}
