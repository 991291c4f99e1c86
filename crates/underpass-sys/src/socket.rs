//! What the kernel tells of a socket's queues.
//!
//! Source: tcp(7), `SIOCOUTQ`; net/ipv4/tcp.c, `tcp_ioctl`.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

/// Bytes in a TCP socket's send queue that the peer has not acknowledged; the end of the stream
/// counts as one. What the kernel's TLS keeps before that queue is not among them.
///
/// # Errors
///
/// `EINVAL` for a socket that listens.
pub fn unacknowledged(socket: impl AsFd) -> Result<usize, Errno> {
    let mut bytes: libc::c_int = 0;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: tcp(7): SIOCOUTQ, which is TIOCOUTQ, takes a pointer to an int and writes to it.
    let answer = unsafe { libc::ioctl(number, libc::TIOCOUTQ, &raw mut bytes) };
    if answer < 0 { Err(crate::last_errno()) } else { Ok(usize::try_from(bytes).unwrap_or(0)) }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_a_peer_has_no_room_for_is_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged(&sender), Ok(0));
        sender.set_nonblocking(true).unwrap();
        while sender.write(&[0; 65_536]).is_ok() {}
        assert!(unacknowledged(&sender).unwrap() > 0);
        while unacknowledged(&sender).unwrap() > 0 {
            assert!(peer.read(&mut [0; 65_536]).unwrap() > 0);
        }
        assert_eq!(unacknowledged(&listener), Err(Errno::INVAL));
    }
}
