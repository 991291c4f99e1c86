//! A connected socket, TCP or Unix, that tokio watches.
//!
//! Calls are made inside tokio's `try_io`, which notes the readiness before it and clears exactly
//! that if the call would block. Only the first bytes are given to a socket without asking: it
//! has room once it is connected, and epoll(7) would say so a turn later.
//!
//! Source: tokio::net::TcpStream::try_io; connect(2), `EINPROGRESS`; socket(7), `SO_LINGER`;
//! tcp(7), "Sockets API", urgent data; tcp_read_sock() of Linux, which stops before it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};
use rustix::pipe::{SpliceFlags, splice};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;
use underpass_daemon::Accepted;

use crate::pipe::CAPACITY;

/// How long a full queue of a Unix listener is left alone: connect(2) does not tell when it has
/// room again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// Where bytes went that were taken, and how many; 0 is the end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Brought {
    InPipe(usize),
    InMemory(usize),
}

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    /// Whether nothing was given to it yet, or tried.
    is_fresh: Cell<bool>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    const fn new(stream: Stream) -> Self {
        Self { stream, is_fresh: Cell::new(true) }
    }

    /// A client's socket, and who the client is.
    pub(crate) fn accepted(accepted: Accepted) -> (Self, Option<SocketAddr>) {
        match accepted {
            Accepted::Tcp(stream, peer) => (Self::new(Stream::Tcp(stream)), Some(peer)),
            Accepted::Unix(stream) => (Self::new(Stream::Unix(stream)), None),
        }
    }

    pub(crate) async fn connect_tcp(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        // A target on this machine has answered by the time the first call returns.
        let is_made = is_connected(&socket, address)? || is_connected(&socket, address)?;
        let stream = TcpStream::from_std(socket.into())?;
        if !is_made {
            connected(&stream, address).await?;
        }
        Ok(Self::new(Stream::Tcp(stream)))
    }

    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        loop {
            match UnixStream::connect(path).await {
                // connect(2): EAGAIN, for nonblocking UNIX domain sockets.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
                connected => return Ok(Self::new(Stream::Unix(connected?))),
            }
        }
    }

    /// The address that a TCP socket has here.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_read_ready(cx),
            Stream::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            _ if self.is_fresh.get() => Poll::Ready(Ok(())),
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Makes a call that takes from the socket. `WouldBlock` if there is nothing to take.
    pub(crate) fn try_take(
        &self,
        call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        self.try_io(Interest::READABLE, call)
    }

    /// Makes a call that gives to the socket. `WouldBlock` if it has no room.
    pub(crate) fn try_give(
        &self,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        if self.is_fresh.replace(false) {
            return Ok(again(|| call(self.as_fd()))?);
        }
        self.try_io(Interest::WRITABLE, call)
    }

    fn try_io(
        &self,
        side: Interest,
        mut call: impl FnMut(BorrowedFd<'_>) -> Result<usize, Errno>,
    ) -> io::Result<usize> {
        let call = || Ok(again(|| call(self.as_fd()))?);
        match &self.stream {
            Stream::Tcp(stream) => stream.try_io(side, call),
            Stream::Unix(stream) => stream.try_io(side, call),
        }
    }

    /// Takes bytes into an empty pipe; into memory where splice(2) does not go on. In front of an
    /// urgent byte it answers as if nothing were there, `EAGAIN` or even 0 once the peer has sent
    /// its end; recv(2) steps over it.
    pub(crate) fn try_splice(&self, pipe: &OwnedFd, memory: &mut [u8]) -> io::Result<Brought> {
        let mut is_in_memory = false;
        let taken = self.try_take(|fd| {
            match splice(fd, None, pipe, None, CAPACITY, SpliceFlags::NONBLOCK) {
                Ok(0) | Err(Errno::AGAIN) => {
                    is_in_memory = true;
                    Ok(rustix::net::recv(fd, &mut *memory, RecvFlags::empty())?.0)
                }
                answer => answer,
            }
        })?;
        Ok(if is_in_memory { Brought::InMemory(taken) } else { Brought::InPipe(taken) })
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

/// Waits until a socket is connected, or cannot be.
async fn connected(stream: &TcpStream, address: SocketAddr) -> io::Result<()> {
    loop {
        stream.writable().await?;
        let looked = stream.try_io(Interest::WRITABLE, || {
            let is_made = is_connected(stream, address)?;
            if is_made { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match looked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return outcome,
        }
    }
}

/// Starts to connect, or finds out whether that has come to an end.
fn is_connected(socket: impl AsFd, address: SocketAddr) -> io::Result<bool> {
    match rustix::net::connect(socket, &address) {
        Ok(()) | Err(Errno::ISCONN) => Ok(true),
        // connect(2): an interrupted call goes on by itself.
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_connection_to_a_target_sends_small_messages_at_once() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = Socket::connect_tcp(address).await.unwrap();
            assert_eq!(Some(listener.accept().await.unwrap().1), client.local_addr());
            assert!(sockopt::tcp_nodelay(&client).unwrap());
        });
    }
}
