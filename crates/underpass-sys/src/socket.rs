//! What the kernel tells of a socket's queues.
//!
//! Source: tcp(7), `SIOCOUTQ`; net/ipv4/tcp.c, `tcp_ioctl`; net/core/sock.c, `sk_get_meminfo`.

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

/// Memory that a socket may still use for what it is to send: buffers count as they are, and may
/// be twice as large as what is in them.
///
/// # Errors
///
/// Those of getsockopt(2), none of which is expected of an open socket.
pub fn send_room(socket: impl AsFd) -> Result<usize, Errno> {
    let mut info = [0_u32; libc::SK_MEMINFO_DROPS as usize + 1];
    let mut len = libc::socklen_t::try_from(size_of_val(&info)).map_err(|_| Errno::INVAL)?;
    let number = socket.as_fd().as_raw_fd();
    // SAFETY: getsockopt(2): at most `len` bytes are written, as many as `info` has, and their
    // number to `len`.
    let answer = unsafe {
        libc::getsockopt(
            number,
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if answer < 0 {
        return Err(crate::last_errno());
    }
    let [_, _, allocated, most, _, queued, ..] = info;
    // Those of Unix have no queue, only what they allocated.
    let used = if queued > 0 { queued } else { allocated };
    Ok(usize::try_from(most.saturating_sub(used)).unwrap_or(0))
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

    #[test]
    fn a_full_socket_has_no_room_and_an_empty_one_has() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        let unix = std::os::unix::net::UnixStream::pair().unwrap();
        tcp.set_nonblocking(true).unwrap();
        unix.0.set_nonblocking(true).unwrap();
        let before = [send_room(&tcp).unwrap(), send_room(&unix.0).unwrap()];
        assert!(before.iter().all(|&room| room >= 16_384), "{before:?}");
        while (&tcp).write(&[0; 1000]).is_ok() {}
        while (&unix.0).write(&[0; 1000]).is_ok() {}
        let after = [send_room(&tcp).unwrap(), send_room(&unix.0).unwrap()];
        assert!(after.iter().all(|&room| room < 4096), "{after:?}");
    }
}
