//! Connecting, which a signal ends, or a timeout.
//!
//! Every socket made here is non-blocking from the start.
//!
//! Source: connect(2), `EINPROGRESS`; unix(7); tcp(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType};
use underpass_daemon::bound_path;
use underpass_daemon::host_port::HostPort;
use underpass_daemon::listen;

use crate::interrupt::Interrupt;

/// How long until a busy Unix socket is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How long a peer may be silent before the kernel asks whether it is there. One that is not ends
/// the connection after twice that time.
pub const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Connects to the first of a name's addresses that answers; `address` is `host:port`.
///
/// # Errors
///
/// `NotFound` for a name without addresses, `TimedOut` after the connect timeout, the last
/// address's error; any after a signal.
pub fn tcp(address: &str, interrupt: &Interrupt) -> io::Result<OwnedFd> {
    let host: HostPort = address.parse().map_err(io::Error::other)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in host.look_up()? {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        match connect(family, &SocketAddrAny::from(address), interrupt) {
            Ok(fd) => {
                listen::keep_alive(&fd, KEEP_ALIVE)?;
                return Ok(fd);
            }
            Err(error) if interrupt.signal().is_some() => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to a Unix stream socket.
///
/// # Errors
///
/// `TimedOut` after the connect timeout, those of connect(2); any after a signal.
pub fn unix(path: &Path, interrupt: &Interrupt) -> io::Result<OwnedFd> {
    let address = match bound_path::abstract_name(path) {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(path)?,
    };
    connect(AddressFamily::UNIX, &SocketAddrAny::from(address), interrupt)
}

fn connect(
    family: AddressFamily,
    address: &SocketAddrAny,
    interrupt: &Interrupt,
) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let begun = Instant::now();
    loop {
        match rustix::net::connect(&fd, address) {
            Ok(()) => return Ok(fd),
            Err(Errno::INPROGRESS) => break,
            // unix(7) listeners with a full backlog answer EAGAIN, and no event tells when.
            Err(Errno::AGAIN) => interrupt.wait_to_retry(RETRY_PAUSE, begun)?,
            Err(errno) => return Err(errno.into()),
        }
    }
    interrupt.wait_to_connect(fd.as_fd())?;
    match rustix::net::sockopt::socket_error(&fd)? {
        Ok(()) => Ok(fd),
        Err(errno) => Err(errno.into()),
    }
}
