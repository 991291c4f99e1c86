//! Listening sockets that share a TCP address, one for each thread.
//!
//! The kernel spreads connections over them. With `SO_REUSEPORT` alone a second server of the
//! same user would bind next to the first without a word and take half of its connections, so the
//! address is first asked for without it.
//!
//! Source: socket(7), `SO_REUSEPORT`; listen(2); tcp(7), `TCP_NODELAY`, `TCP_KEEPIDLE`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};

/// The most that the kernel takes (tcp(7); net/ipv4/tcp.c, `MAX_TCP_KEEPIDLE`).
const KEEP_IDLE_MAX: Duration = Duration::from_secs(32767);

/// How often the kernel asks a silent peer (`net.ipv4.tcp_keepalive_probes`). To set it for each
/// socket, too, would cost each connection one more call.
const KEEP_PROBES: u32 = 9;

/// Connections the kernel completes before they are accepted.
pub const BACKLOG: i32 = 4096;

/// Listens on `wanted`, with `count` sockets that do not block; port 0 takes any free one.
///
/// What they accept has `TCP_NODELAY`: on Linux an accepted socket has the TCP options of the
/// listening one, and to set it there costs nothing for each connection.
///
/// # Errors
///
/// Those of bind(2) and listen(2); `EADDRINUSE` also where a socket with `SO_REUSEPORT` listens.
pub fn listen(wanted: SocketAddr, count: NonZeroUsize) -> io::Result<Vec<TcpListener>> {
    if wanted.port() != 0 {
        drop(TcpListener::bind(wanted)?);
    }
    let first = bind(wanted)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    while listeners.len() < count.get() {
        listeners.push(bind(address)?);
    }
    Ok(listeners)
}

/// Has the kernel ask a TCP peer whether it is there, once nothing has come from it for `idle`. A
/// peer that does not answer for as long again, and 9 s at least, is gone, and the socket fails
/// with `ETIMEDOUT`.
///
/// # Errors
///
/// Those of setsockopt(2).
pub fn keep_alive(socket: impl AsFd, idle: Duration) -> io::Result<()> {
    let within = |time: Duration| time.clamp(Duration::from_secs(1), KEEP_IDLE_MAX);
    sockopt::set_tcp_keepidle(&socket, within(idle))?;
    sockopt::set_tcp_keepintvl(&socket, within(idle / KEEP_PROBES))?;
    Ok(sockopt::set_socket_keepalive(socket, true)?)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");

    #[test]
    fn sockets_share_a_free_port_that_no_second_server_gets() {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), TWO).unwrap();
        let address = listeners[0].local_addr().unwrap();
        assert_eq!((listeners.len(), listeners[1].local_addr().unwrap()), (2, address));
        assert_eq!(listen(address, TWO).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn what_is_accepted_sends_small_messages_at_once() {
        let listeners = listen("127.0.0.1:0".parse().unwrap(), NonZeroUsize::MIN).unwrap();
        let client = TcpStream::connect(listeners[0].local_addr().unwrap()).unwrap();
        // connect(2) returns when the handshake is over, so it is there.
        let (accepted, _) = listeners[0].accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        drop(client);
    }
}
