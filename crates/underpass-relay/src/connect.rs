//! Connecting to targets, and the errors of it that are not the target's.

use std::io;

use rustix::io::Errno;
use underpass_daemon::endpoint::Endpoint;

use crate::socket::Socket;

pub(crate) async fn connect(endpoint: &Endpoint) -> io::Result<Socket> {
    match endpoint {
        Endpoint::Tcp(address) => Socket::connect_tcp(*address).await,
        Endpoint::Unix(path) => Socket::connect_unix(path).await,
    }
}

/// Whether this process, or this machine, had no room for a connection: that says nothing of the
/// other end.
pub(crate) fn is_own_limit(error: &io::Error) -> bool {
    let limits = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| limits.contains(&errno))
}
