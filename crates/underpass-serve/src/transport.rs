//! What carries a connection, from its acceptance to its end.
//!
//! Source: socket(7), `SO_LINGER`; send(2); recv(2), `MSG_PEEK`.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead as _, AsyncWrite as _, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use underpass::Stream;
use underpass::tls::TlsStream;
use underpass_daemon::Accepted;

use crate::account::{Account, Encrypted};

/// A client's connection, over which file-backed slices leave by sendfile.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(Stream<TcpStream>, SocketAddr),
    Tls(Box<TlsStream>, SocketAddr),
    /// The client is known only if a proxy names it.
    Unix(Stream<UnixStream>, Option<IpAddr>),
}

/// Calls a method of whichever stream it is.
macro_rules! stream {
    ($transport:expr, $method:ident, $($argument:expr),*) => {
        match $transport {
            Transport::Tcp(stream, _) => Pin::new(stream).$method($($argument),*),
            Transport::Tls(stream, _) => Pin::new(&mut **stream).$method($($argument),*),
            Transport::Unix(stream, _) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl Transport {
    pub(crate) fn new(accepted: Accepted) -> Self {
        match accepted {
            Accepted::Tcp(stream, peer) => Self::of_tcp(stream, peer),
            Accepted::Unix(stream) => Self::Unix(Stream::new(stream), None),
        }
    }

    pub(crate) fn of_tcp(socket: TcpStream, peer: SocketAddr) -> Self {
        Self::Tcp(Stream::new(socket), peer)
    }

    /// The bare socket of a TCP connection, with its client's address.
    pub(crate) fn into_tcp(self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(stream, peer) => Ok((stream.into_inner(), peer)),
            Self::Tls(..) | Self::Unix(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether it is encrypted.
    pub(crate) const fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(..))
    }

    /// Whether the handshake has agreed on HTTP/2.
    pub(crate) fn is_of_http2(&self) -> bool {
        matches!(self, Self::Tls(stream, _) if stream.negotiated().alpn.as_deref() == Some(b"h2"))
    }

    /// The name that the client asked for in the handshake (SNI).
    pub(crate) fn server_name(&self) -> Option<&str> {
        let Self::Tls(stream, _) = self else { return None };
        stream.negotiated().server_name.as_deref()
    }

    /// The same at rest: what it knew of the disk will be out of date.
    pub(crate) fn rested(self) -> Self {
        match self {
            Self::Tcp(stream, peer) => Self::Tcp(Stream::new(stream.into_inner()), peer),
            Self::Tls(..) => self,
            Self::Unix(stream, peer) => Self::Unix(Stream::new(stream.into_inner()), peer),
        }
    }

    /// The client's address; that of a Unix socket has none, unless a proxy named it.
    pub(crate) fn peer(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, peer) | Self::Tls(_, peer) => Some(peer.ip()),
            Self::Unix(_, peer) => *peer,
        }
    }

    /// Takes another for the client, whose connection the peer passes on.
    pub(crate) fn set_peer(&mut self, client: SocketAddr) {
        match self {
            Self::Tcp(_, peer) | Self::Tls(_, peer) => *peer = client,
            Self::Unix(_, peer) => *peer = Some(client.ip()),
        }
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        stream!(self, poll_read, cx, buf)
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        stream!(self, poll_write_vectored, cx, slices)
    }

    /// What the writes did since this was asked last.
    pub(crate) fn take_account(&mut self) -> Account {
        let encrypted = self.encrypted();
        let sent = match self {
            Self::Tcp(stream, _) => stream.take_sent(),
            Self::Tls(stream, _) => stream.take_sent(),
            Self::Unix(stream, _) => stream.take_sent(),
        };
        Account::of(&sent, encrypted)
    }

    /// Who encrypts, if it is encrypted.
    pub(crate) fn encrypted(&self) -> Option<Encrypted> {
        let Self::Tls(stream, _) = self else { return None };
        Some(if stream.is_in_kernel() { Encrypted::ByKernel } else { Encrypted::ByRustls })
    }

    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_flush, cx)
    }

    /// Tells the client that no more comes, unless a write has failed.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        stream!(self, poll_shutdown, cx)
    }

    /// Tells it so where nothing is on its way, without waiting, if closing alone would not.
    pub(crate) fn end_now(&self) {
        if let Self::Tls(stream, _) = self {
            stream.try_close_notify();
        }
    }

    /// Waits until there may be bytes to read, or the end. Content that was decrypted and not read
    /// counts: the socket stays ready until a read has found neither.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream, _) => stream.get_ref().poll_read_ready(cx),
            Self::Tls(stream, _) => stream.socket().poll_read_ready(cx),
            Self::Unix(stream, _) => stream.get_ref().poll_read_ready(cx),
        }
    }

    /// Whether there are bytes for us that epoll(7) has not reported yet.
    pub(crate) fn has_bytes(&self) -> bool {
        match self {
            Self::Tls(stream, _) => stream.has_unread(),
            Self::Tcp(..) | Self::Unix(..) => self.peek(&mut [0]) > 0,
        }
    }

    /// Looks at bytes that have come over a bare socket, and says how many there are.
    pub(crate) fn peek(&self, into: &mut [u8]) -> usize {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        recv(self, into, flags).map_or(0, |(n, _)| n)
    }

    /// The same once there are some, or their end has come.
    pub(crate) async fn peek_some(&self, into: &mut [u8]) -> io::Result<usize> {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let peek = || Ok(recv(self, &mut *into, flags)?.0);
        match self {
            Self::Tcp(stream, _) => stream.get_ref().async_io(Interest::READABLE, peek).await,
            Self::Unix(stream, _) => stream.get_ref().async_io(Interest::READABLE, peek).await,
            Self::Tls(..) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Takes as many bytes as there is room for, which have come.
    pub(crate) fn skip(&self, into: &mut [u8]) -> io::Result<()> {
        let len = into.len();
        match recv(self, into, RecvFlags::DONTWAIT)? {
            (n, _) if n == len => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Sends what there is room for, where nothing else is under way, and says how much that was.
    pub(crate) fn send_now(&self, bytes: &[u8]) -> (usize, Account) {
        let sent = match self {
            Self::Tls(stream, _) => stream.try_write(bytes).unwrap_or(0),
            Self::Tcp(..) | Self::Unix(..) => {
                send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).unwrap_or(0)
            }
        };
        (sent, Account::of_memory(sent, self.encrypted()))
    }

    /// Bytes that the client has not acknowledged; 0 where that cannot be told.
    pub(crate) fn unacknowledged(&self) -> usize {
        underpass::unacknowledged(self).unwrap_or(0)
    }

    /// Closing it resets the connection from now on: what was sent is not to look whole.
    pub(crate) fn reset_when_closed(&self) {
        // Fails only for a client that is gone already, which knows.
        set_socket_linger(self, Some(Duration::ZERO)).unwrap_or_default();
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.get_ref().as_fd(),
            Self::Tls(stream, _) => stream.socket().as_fd(),
            Self::Unix(stream, _) => stream.get_ref().as_fd(),
        }
    }
}
