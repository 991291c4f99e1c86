//! A connected socket, TCP or Unix, that tokio watches.
//!
//! Every call is made inside tokio's `try_io`, which notes the readiness before it and clears
//! exactly that if the call would block.
//!
//! Source: tokio::net::TcpStream::try_io; socket(7), `SO_LINGER`.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;

use crate::endpoint::Listener;

/// How long a full queue of a Unix listener is left alone: connect(2) does not tell when it has
/// room again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// A listening socket that tokio watches.
#[derive(Debug)]
pub(crate) enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(listener) => Self::Tcp(TcpListener::from_std(listener)?),
            Listener::Unix(listener) => Self::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// Accepts a connection, and says who the client is.
    pub(crate) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Socket, Option<SocketAddr>)>> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = ready!(listener.poll_accept(cx))?;
                // A peer that is gone already is met again by the first read.
                socket.set_nodelay(true).unwrap_or_default();
                Poll::Ready(Ok((Socket::Tcp(socket), Some(peer))))
            }
            Self::Unix(listener) => {
                let (socket, _) = ready!(listener.poll_accept(cx))?;
                Poll::Ready(Ok((Socket::Unix(socket), None)))
            }
        }
    }
}

impl Socket {
    pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_nodelay(true)?;
        Ok(Self::Tcp(socket.connect(address).await?))
    }

    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                // connect(2): EAGAIN, for nonblocking UNIX domain sockets.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
                connected => return Ok(Self::Unix(connected?)),
            }
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Makes a call that takes from the socket. `WouldBlock` if there is nothing to take.
    pub(crate) fn try_take(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        self.try_io(Interest::READABLE, || Ok(again(|| call(self.as_fd()))?))
    }

    /// Makes a call that gives to the socket. `WouldBlock` if it has no room.
    pub(crate) fn try_give(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        self.try_io(Interest::WRITABLE, || Ok(again(|| call(self.as_fd()))?))
    }

    fn try_io<R>(&self, side: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(side, call),
            Self::Unix(stream) => stream.try_io(side, call),
        }
    }

    /// Takes bytes into memory; 0 is the end.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.try_take(|fd| Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::empty())?.0))
    }

    /// Gives bytes from memory.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.try_give(|fd| rustix::net::send(fd, bytes, SendFlags::NOSIGNAL))
    }

    /// Tells the peer that no more comes; what it sends is still taken.
    pub(crate) fn end_sending(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self, Shutdown::Write)?)
    }

    /// From here on closing the socket tells a TCP peer that the stream was cut short, and drops
    /// what was not delivered.
    pub(crate) fn cut_when_closed(&self) {
        // Fails only for a peer that is gone already, which knows.
        sockopt::set_socket_linger(self, Some(Duration::ZERO)).unwrap_or_default();
    }
}

/// Repeats a call that a signal interrupted.
fn again(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            answer => return answer,
        }
    }
}
