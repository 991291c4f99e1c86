//! `MSG_ZEROCOPY`: switching it on, and reading its completions from the error queue.
//!
//! The kernel numbers a socket's zero-copy sends from 0, one number for each call that took a
//! byte, wrapping at 2^32. A completion names a range of them whose memory it has let go; ranges
//! may come out of order. Without `SO_ZEROCOPY` send(2) ignores the flag silently and copies.
//! TCP takes the option; a Unix socket answers `EOPNOTSUPP`.
//!
//! Source: Documentation/networking/msg_zerocopy.rst; socket(7); recvmsg(2), `MSG_ERRQUEUE`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// linux/errqueue.h; the libc crate has no names for these two.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// The flag of send(2).
pub const MSG_ZEROCOPY: u32 = libc::MSG_ZEROCOPY.cast_unsigned();

/// Sends that the kernel is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// Number of the first of them.
    pub first: u32,
    /// Number of the last of them; less than `first` where the numbers wrapped.
    pub last: u32,
    /// Whether the kernel copied the bytes after all.
    pub copied: bool,
}

/// Lets the socket take `MSG_ZEROCOPY`.
///
/// # Errors
///
/// `EOPNOTSUPP` for sockets that cannot, `ENOTSUPP` (524) before a connection on some kernels.
pub fn enable(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: setsockopt(2) reads optlen bytes from optval, which is a c_int that outlives it.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const on).cast(),
            C_INT_LEN,
        )
    };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Whether the socket takes `MSG_ZEROCOPY`.
///
/// # Errors
///
/// `ENOPROTOOPT` before Linux 4.14; those of getsockopt(2).
pub fn is_enabled(socket: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut on: libc::c_int = 0;
    let mut len = C_INT_LEN;
    // SAFETY: getsockopt(2) writes at most *optlen bytes to optval and the length to optlen; both
    // point to live variables of these sizes.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw mut on).cast(),
            &raw mut len,
        )
    };
    if answer < 0 { Err(last_errno()) } else { Ok(on != 0) }
}

/// Takes one message off the error queue, without waiting; `None` if it is of another kind.
///
/// # Errors
///
/// `EAGAIN` if the queue is empty.
pub fn completion(socket: BorrowedFd<'_>) -> Result<Option<Completion>, Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    // SAFETY: recvmsg(2): a msghdr of zeros names no address, no buffers and no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: recvmsg(2) writes at most msg_controllen bytes to msg_control, which is `control`,
    // and sets fields of `message`.
    let answer = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    if answer < 0 { Err(last_errno()) } else { Ok(first_completion(&message)) }
}

const C_INT_LEN: libc::socklen_t = 4;
const _: () = assert!(size_of::<libc::c_int>() == C_INT_LEN as usize);

/// Room for one extended error and the address that follows it, for IPv6 at most.
const CONTROL_LEN: usize = 128;

/// cmsg(3): the buffer must be aligned as a cmsghdr is.
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

fn first_completion(message: &libc::msghdr) -> Option<Completion> {
    // SAFETY: cmsg(3): CMSG_FIRSTHDR looks at msg_control and msg_controllen as recvmsg(2) left
    // them, and answers null if no header fits.
    let header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: cmsg(3): a header that is not null is in the control buffer, which is aligned
    // for it and outlives this reference.
    let cmsg = unsafe { header.as_ref() }?;
    let is_error = matches!(
        (cmsg.cmsg_level, cmsg.cmsg_type),
        (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR)
    );
    // Lengths are size_t for glibc and socklen_t for musl.
    let len = size_of::<libc::cmsghdr>() + size_of::<libc::sock_extended_err>();
    if !is_error || cmsg.cmsg_len < len as _ {
        return None;
    }
    // SAFETY: cmsg(3): CMSG_DATA is the address behind the header, inside the same buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: ip(7), IP_RECVERR: the data starts with a sock_extended_err, cmsg_len says that it
    // is all there; read_unaligned asks for no alignment.
    let error: libc::sock_extended_err =
        unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
    (error.ee_errno == 0 && error.ee_origin == SO_EE_ORIGIN_ZEROCOPY).then_some(Completion {
        first: error.ee_info,
        last: error.ee_data,
        copied: error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED != 0,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::net::{SendFlags, send};

    use super::*;

    #[test]
    fn sends_are_numbered_from_zero_and_loopback_admits_to_copying() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _peer = listener.accept().unwrap();
        assert_eq!(is_enabled(socket.as_fd()), Ok(false));
        enable(socket.as_fd()).unwrap();
        assert_eq!(is_enabled(socket.as_fd()), Ok(true));
        assert_eq!(completion(socket.as_fd()), Err(Errno::AGAIN));
        let flags = SendFlags::from_bits_retain(MSG_ZEROCOPY);
        let memory = vec![7; 10_000];
        let mut seen = 0;
        for number in 0..3 {
            assert!(send(&socket, &memory, flags).unwrap() > 0);
            while seen <= number {
                poll(&mut [PollFd::new(&socket, PollFlags::empty())], None).unwrap();
                let done = completion(socket.as_fd()).unwrap().unwrap();
                assert_eq!((done.first, done.copied), (seen, true));
                seen = done.last + 1;
            }
        }
    }

    #[test]
    fn a_unix_socket_cannot() {
        let (socket, _peer) = UnixStream::pair().unwrap();
        assert_eq!(enable(socket.as_fd()), Err(Errno::OPNOTSUPP));
    }
}
