//! Listening and accepting. A signal ends each wait.
//!
//! Every socket made here is non-blocking from the start.
//!
//! Source: unix(7); tcp(7).

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags};
use underpass_client::connect::KEEP_ALIVE;
use underpass_client::{Interrupt, Woken, interrupted};
use underpass_daemon::bound_path::{self, BoundPath};
use underpass_daemon::host_port::HostPort;
use underpass_daemon::listen;

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix { socket: UnixListener, _path: Option<BoundPath> },
}

impl Listener {
    pub(crate) fn tcp(host: &HostPort) -> io::Result<Self> {
        let listener = TcpListener::bind(host.look_up()?.as_slice())?;
        listener.set_nonblocking(true)?;
        // tcp(7): what accept(2) gives has the options of the listening socket.
        listen::keep_alive(&listener, KEEP_ALIVE)?;
        Ok(Self::Tcp(listener))
    }

    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        bound_path::listen(path).map(|(socket, _path)| Self::Unix { socket, _path })
    }

    /// The address or path that peers connect to.
    pub(crate) fn name(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("tcp://{}", listener.local_addr()?)),
            Self::Unix { socket, .. } => {
                let path = bound_path::name_of(&socket.local_addr()?);
                Ok(format!("unix://{}", path.display()))
            }
        }
    }

    /// The next peer's connection.
    pub(crate) fn accept(&self, interrupt: &Interrupt) -> io::Result<OwnedFd> {
        let fd = match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix { socket, .. } => socket.as_fd(),
        };
        loop {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(fd, flags) {
                Err(Errno::AGAIN) => {}
                // accept(2): the peer left before it was accepted.
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                answer => return Ok(answer?),
            }
            if interrupt.wait(&[(fd, PollFlags::IN)], None)? == Woken::Signal {
                return Err(interrupted());
            }
        }
    }
}

/// The name of the peer: its address, or the process number of a Unix socket's peer.
pub(crate) fn peer_name(socket: &OwnedFd) -> String {
    let address = rustix::net::getpeername(socket).ok().flatten();
    if let Some(address) = address.and_then(|any| SocketAddr::try_from(any).ok()) {
        return address.to_string();
    }
    match rustix::net::sockopt::socket_peercred(socket) {
        Ok(peer) => format!("pid {}", peer.pid.as_raw_nonzero()),
        Err(_) => "a peer that has gone".to_owned(),
    }
}

/// Tells the peer that nothing more follows.
///
/// # Errors
///
/// `ECONNRESET`, `EPIPE`: it has not read all that its socket took.
pub(crate) fn end(socket: &OwnedFd) -> Result<(), Errno> {
    rustix::net::sockopt::socket_error(socket)??;
    match rustix::net::shutdown(socket, Shutdown::Write) {
        // The peer has already closed; everything before was accepted.
        Err(Errno::NOTCONN) => {}
        answer => answer?,
    }
    // Unread bytes of the peer turn the close into a reset (RFC 9293 §3.10.4), and the peer would
    // lose ours.
    let mut unread = [0; 4096];
    while matches!(rustix::io::read(socket, &mut unread), Ok(n) if n > 0) {}
    Ok(())
}
