//! A connected socket, TCP or Unix, that tokio watches.
//!
//! Source: connect(2), `EINPROGRESS`; socket(7), `SO_LINGER`; tcp(7), `SIOCOUTQ`.

use std::ffi::OsString;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};
use underpass::{Readiness, Side, unacknowledged};
use underpass_daemon::bound_path::abstract_name;
use underpass_daemon::{Accepted, listen};

/// How long a full queue of a Unix listener is left alone: connect(2) does not tell when it has
/// room again.
const QUEUE_FULL: Duration = Duration::from_millis(5);

/// How long until a peer is asked first, and at most, whether it has everything: no event tells.
const ASK_FIRST: Duration = Duration::from_millis(1);
const ASK_MOST: Duration = Duration::from_millis(50);

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

impl Socket {
    /// As the engine's flows take it.
    pub(crate) fn readiness(&self) -> &dyn Readiness {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }

    /// A client's socket, and who the client is.
    pub(crate) fn accepted(accepted: Accepted) -> (Self, Option<SocketAddr>) {
        match accepted {
            Accepted::Tcp(stream, peer) => (Self::Tcp(stream), Some(peer)),
            Accepted::Unix(stream) => (Self::Unix(stream), None),
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
        Ok(Self::Tcp(stream))
    }

    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        // tokio takes the name of an abstract socket as unix(7) lays it out: after a NUL.
        let name = abstract_name(path).map(|name| OsString::from_vec([b"\0", name].concat()));
        let path = name.as_ref().map_or(path, Path::new);
        loop {
            match UnixStream::connect(path).await {
                // connect(2): EAGAIN, for nonblocking UNIX domain sockets.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_FULL).await,
                connected => return Ok(Self::Unix(connected?)),
            }
        }
    }

    /// Has the kernel find out that a TCP peer is gone, after so long a silence.
    pub(crate) fn keep_alive(&self, idle: Option<Duration>) {
        if let (Self::Tcp(stream), Some(idle)) = (self, idle) {
            // Fails only for a peer that is gone already.
            listen::keep_alive(stream, idle).unwrap_or_default();
        }
    }

    /// Waits until the socket has an error, as after a reset.
    pub(crate) async fn failed(&self) -> io::Result<()> {
        let ready = match self {
            Self::Tcp(stream) => stream.ready(Interest::ERROR).await,
            Self::Unix(stream) => stream.ready(Interest::ERROR).await,
        };
        ready.map(drop)
    }

    /// Waits until a TCP peer has everything, so that a reset loses nothing of it; not once it
    /// takes nothing for `patience`. What was given to a Unix socket is with its peer.
    pub(crate) async fn acknowledged(&self, patience: Duration) {
        let Self::Tcp(stream) = self else { return };
        let (mut left, mut since, mut pause) = (usize::MAX, Instant::now(), ASK_FIRST);
        while let Ok(now @ 1..) = unacknowledged(stream) {
            if now < left {
                (left, since) = (now, Instant::now());
            }
            let is_told = timeout(pause, self.failed()).await.is_ok();
            if is_told || since.elapsed() >= patience {
                return;
            }
            pause = ASK_MOST.min(2 * pause);
        }
    }

    /// The address that a TCP socket has here.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// Takes bytes into memory, waiting for them; 0 is the end.
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            poll_fn(|cx| self.readiness().poll_ready(Side::Source, cx)).await?;
            match self.try_receive(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                answer => return answer,
            }
        }
    }

    /// Takes bytes into memory; 0 is the end.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(buffer),
            Self::Unix(stream) => stream.try_read(buffer),
        }
    }

    /// Gives a socket its first bytes without asking: it has room once it is connected, and
    /// epoll(7) would say so a turn later.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(self, bytes, SendFlags::NOSIGNAL)?)
    }

    /// Gives bytes from memory.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
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
        // connect(2): an interrupted call continues by itself.
        Err(Errno::INPROGRESS | Errno::ALREADY | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
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
