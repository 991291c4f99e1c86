//! Kernel TLS: the upper layer protocol `tls` on a TCP socket, its keys, and typed records.
//!
//! With keys for a direction the kernel makes records of what is sent, and content of the records
//! that come: read(2), splice(2) and sendfile(2) see content alone. A record of another type stops
//! them (read with `EIO`, splice with `EINVAL`) until recvmsg(2) with room for its type takes it.
//!
//! splice(2) to a pipe that has less room than a record has pages loses the rest of the page that
//! did not fit, and says nothing: `tls_sw_splice_read` continues after what it was asked for and
//! not after what it moved. Give it an empty pipe of [`PIPE_BYTES_MIN`].
//!
//! Source: Documentation/networking/tls.rst; linux/tls.h; net/tls/tls_sw.c.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::last_errno;

/// An empty pipe of this many bytes has room for a record, wherever its pages are.
pub const PIPE_BYTES_MIN: usize = 64 * 1024;

/// The most content a record has (RFC 8446 §5.1).
pub const RECORD_BYTES_MAX: usize = 16 * 1024;

/// The type of a record that carries content (RFC 8446 §5.1).
pub const CONTENT: u8 = 23;

/// Which way records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those this end sends.
    Send,
    /// Those it receives.
    Receive,
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// The keys of one direction.
///
/// Of AES-GCM under TLS 1.2 the last eight bytes of `iv` are the explicit nonce of the first
/// record that the kernel sends; each that follows has the next number. None of them may have
/// been used with this key.
#[derive(Clone, Copy)]
pub enum Keys {
    /// AES-128-GCM.
    Aes128Gcm {
        /// The key.
        key: [u8; 16],
        /// The nonce's fixed part.
        iv: [u8; 12],
    },
    /// AES-256-GCM.
    Aes256Gcm {
        /// The key.
        key: [u8; 32],
        /// The nonce's fixed part.
        iv: [u8; 12],
    },
    /// ChaCha20-Poly1305; since Linux 5.11.
    Chacha20Poly1305 {
        /// The key.
        key: [u8; 32],
        /// The nonce's fixed part.
        iv: [u8; 12],
    },
}

/// Names the cipher and keeps the key to itself.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Aes128Gcm { .. } => "Aes128Gcm",
            Self::Aes256Gcm { .. } => "Aes256Gcm",
            Self::Chacha20Poly1305 { .. } => "Chacha20Poly1305",
        })
    }
}

/// Puts kernel TLS on a connected TCP socket, which works on as before until it has keys.
///
/// # Errors
///
/// `ENOENT` if the kernel has no TLS, nor a module `tls` that it may load; `ENOTCONN` if the socket
/// is not connected; `EEXIST` if it has another upper layer protocol; `ENOPROTOOPT` or `EOPNOTSUPP`
/// for sockets that are not TCP.
pub fn attach(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

/// Gives the kernel the keys of one direction, and the number of the next record.
///
/// # Errors
///
/// `EINVAL` if the kernel does not know cipher or version, `ENOENT` if the cipher's module is
/// missing; `EBUSY` if the direction has keys (a new one for them comes with Linux 6.14).
pub fn set_keys(
    socket: BorrowedFd<'_>,
    direction: Direction,
    version: Version,
    keys: &Keys,
    sequence: u64,
) -> Result<(), Errno> {
    let name = match direction {
        Direction::Send => libc::TLS_TX,
        Direction::Receive => libc::TLS_RX,
    };
    let (block, len) = crypto_info(version, keys, sequence);
    set(socket, libc::SOL_TLS, name, &block[..len])
}

/// The longest of the structs, for a key of 32 bytes.
const CRYPTO_INFO_MAX: usize = 56;

/// `struct tls12_crypto_info_*`: version and cipher, then bytes in the order of the header.
fn crypto_info(version: Version, keys: &Keys, sequence: u64) -> ([u8; CRYPTO_INFO_MAX], usize) {
    let version = match version {
        Version::Tls12 => libc::TLS_1_2_VERSION,
        Version::Tls13 => libc::TLS_1_3_VERSION,
    };
    let (cipher, key, iv, salt_len) = match keys {
        Keys::Aes128Gcm { key, iv } => (libc::TLS_CIPHER_AES_GCM_128, &key[..], iv, 4),
        Keys::Aes256Gcm { key, iv } => (libc::TLS_CIPHER_AES_GCM_256, &key[..], iv, 4),
        Keys::Chacha20Poly1305 { key, iv } => (libc::TLS_CIPHER_CHACHA20_POLY1305, &key[..], iv, 0),
    };
    let (salt, iv) = iv.split_at(salt_len);
    let (mut block, mut at) = ([0; CRYPTO_INFO_MAX], 0);
    let parts: [&[u8]; 6] =
        [&version.to_ne_bytes(), &cipher.to_ne_bytes(), iv, key, salt, &sequence.to_be_bytes()];
    for part in parts {
        block[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    (block, at)
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &[u8],
) -> Result<(), Errno> {
    let len = libc::socklen_t::try_from(value.len()).map_err(|_| Errno::INVAL)?;
    let value = value.as_ptr().cast();
    // SAFETY: setsockopt(2) reads optlen bytes from optval; the value is so long and outlives it.
    let answer = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) };
    if answer < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Takes content of the next record that has some, or with `PEEK` looks at it, with the record's
/// type; waits as the socket does, or with `DONTWAIT` not at all. The type is `None` where the
/// kernel told none, as at the end of the stream.
///
/// What `into` has no room for stays for the next call. Records of content that follow each other
/// may come together; those of two types never do.
///
/// # Errors
///
/// `EAGAIN` if there is none; `EBADMSG` for a record that is not the peer's, `EMSGSIZE` and
/// `EINVAL` for one that breaks the format; those of recvmsg(2).
pub fn receive(
    socket: BorrowedFd<'_>,
    into: &mut [u8],
    flags: RecvFlags,
) -> Result<(usize, Option<u8>), Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut slice = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let mut message = message(&mut control, &mut slice);
    let flags = flags.bits().cast_signed();
    // SAFETY: recvmsg(2) writes at most iov_len bytes to iov_base, which is `into`, and at most
    // msg_controllen to msg_control, which is `control`, and sets fields of `message`.
    let answer = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    match usize::try_from(answer) {
        Ok(n) => Ok((n, record_type(&message))),
        Err(_) => Err(last_errno()),
    }
}

/// Sends one record of this type, without waiting.
///
/// # Errors
///
/// `EAGAIN` if the socket is full, and then nothing was sent; those of sendmsg(2).
pub fn send_record(socket: BorrowedFd<'_>, kind: u8, content: &[u8]) -> Result<usize, Errno> {
    let mut control = Control([0; CONTROL_LEN]);
    // sendmsg(2) only reads what an iovec points to.
    let base = content.as_ptr().cast_mut().cast();
    let mut slice = libc::iovec { iov_base: base, iov_len: content.len() };
    let message = message(&mut control, &mut slice);
    let header = first_header(&message);
    // SAFETY: cmsg(3): the buffer is aligned for a cmsghdr and has room for one and its data, so
    // the first header is not null and lies within it.
    let cmsg = unsafe { header.as_mut() }.ok_or(Errno::INVAL)?;
    cmsg.cmsg_level = libc::SOL_TLS;
    cmsg.cmsg_type = libc::TLS_SET_RECORD_TYPE;
    cmsg.cmsg_len = CMSG_LEN as _;
    // SAFETY: cmsg(3): CMSG_DATA is the address behind the header, inside the same buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: cmsg(3): there is room for CMSG_LEN(1) bytes, of which this is the last.
    unsafe { data.write(kind) };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: sendmsg(2) reads iov_len bytes of `content` and msg_controllen of `control`.
    let answer = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    usize::try_from(answer).map_err(|_| last_errno())
}

/// A control message of one byte: `CMSG_LEN(1)` and `CMSG_SPACE(1)`. Lengths are `size_t` for glibc
/// and `socklen_t` for musl.
const CMSG_LEN: usize = size_of::<libc::cmsghdr>() + 1;
const CONTROL_LEN: usize = size_of::<libc::cmsghdr>() + size_of::<usize>();

/// cmsg(3): the buffer must be aligned as a cmsghdr is.
#[repr(align(8))]
struct Control([u8; CONTROL_LEN]);

fn message(control: &mut Control, slice: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: recvmsg(2): a msghdr of zeros names no address, no buffers and no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slice;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    message
}

fn first_header(message: &libc::msghdr) -> *mut libc::cmsghdr {
    // SAFETY: cmsg(3): CMSG_FIRSTHDR looks at msg_control and msg_controllen, and answers null if
    // no header fits.
    unsafe { libc::CMSG_FIRSTHDR(message) }
}

fn record_type(message: &libc::msghdr) -> Option<u8> {
    let header = first_header(message);
    // SAFETY: cmsg(3): a header that is not null is in the control buffer, which is aligned for
    // it and outlives this reference.
    let cmsg = unsafe { header.as_ref() }?;
    let is_type = (cmsg.cmsg_level, cmsg.cmsg_type) == (libc::SOL_TLS, libc::TLS_GET_RECORD_TYPE);
    if !is_type || cmsg.cmsg_len < CMSG_LEN as _ {
        return None;
    }
    // SAFETY: cmsg(3): CMSG_DATA is the address behind the header, inside the same buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: Documentation/networking/tls.rst: the data is one byte, and cmsg_len says that it is
    // there.
    Some(unsafe { data.read() })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use underpass_testkit::require;
    use underpass_testkit::skip::Capability::KernelTls;

    use super::*;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (socket, listener.accept().unwrap().0)
    }

    #[test]
    fn keys_lie_as_the_header_has_them() {
        // struct tls12_crypto_info_aes_gcm_128: 0x0304 and 51, iv, key, salt, rec_seq.
        let (key, iv) = ([7; 16], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let (block, len) = crypto_info(Version::Tls13, &Keys::Aes128Gcm { key, iv }, 0x0102);
        let parts: [&[u8]; 5] = [
            &[4, 3, 51, 0, 5, 6, 7, 8, 9, 10, 11, 12],
            &[7; 16],
            &[1, 2, 3, 4],
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[],
        ];
        assert_eq!(block[..len], parts.concat());
        let key = [7; 32];
        let (_, len) = crypto_info(Version::Tls12, &Keys::Aes256Gcm { key, iv }, 0);
        assert_eq!(len, size_of::<libc::tls12_crypto_info_aes_gcm_256>());
        let (block, len) = crypto_info(Version::Tls12, &Keys::Chacha20Poly1305 { key, iv }, 9);
        assert_eq!(len, size_of::<libc::tls12_crypto_info_chacha20_poly1305>());
        assert_eq!(block[..16], [3, 3, 54, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    }

    #[test]
    fn a_key_is_not_printed() {
        let keys = Keys::Aes128Gcm { key: [77; 16], iv: [77; 12] };
        assert_eq!(format!("{keys:?}"), "Aes128Gcm");
    }

    #[test]
    fn other_sockets_refuse_and_one_without_keys_goes_on() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(attach(udp.as_fd()), Err(Errno::NOPROTOOPT));
        let (unix, _peer) = UnixStream::pair().unwrap();
        assert_eq!(attach(unix.as_fd()), Err(Errno::OPNOTSUPP));
        let (mut socket, peer) = connected();
        // ENOENT where the kernel has no TLS.
        let attached = attach(socket.as_fd());
        assert!(matches!(attached, Ok(()) | Err(Errno::NOENT)), "{attached:?}");
        socket.write_all(b"plain").unwrap();
        let mut block = [0; 9];
        let seen = receive(peer.as_fd(), &mut block, RecvFlags::empty());
        assert_eq!((seen, &block[..5]), (Ok((5, None)), &b"plain"[..]));
    }

    #[test]
    fn records_come_with_their_types_and_stop_other_calls() {
        require!(KernelTls);
        let (mut socket, peer) = connected();
        for end in [&socket, &peer] {
            attach(end.as_fd()).unwrap();
        }
        let keys = Keys::Aes128Gcm { key: [7; 16], iv: [9; 12] };
        set_keys(socket.as_fd(), Direction::Send, Version::Tls13, &keys, 5).unwrap();
        set_keys(peer.as_fd(), Direction::Receive, Version::Tls13, &keys, 5).unwrap();
        let again = set_keys(socket.as_fd(), Direction::Send, Version::Tls13, &keys, 5);
        assert_eq!(again, Err(Errno::BUSY));
        assert_eq!(send_record(socket.as_fd(), 22, b"\x04\0\0\0"), Ok(4));
        socket.write_all(b"content").unwrap();
        let mut block = [0; 100];
        assert_eq!(rustix::io::read(&peer, &mut block), Err(Errno::IO));
        for flags in [RecvFlags::PEEK, RecvFlags::empty()] {
            assert_eq!(receive(peer.as_fd(), &mut block, flags), Ok((4, Some(22))));
            assert_eq!(block[..5], [4, 0, 0, 0, 0]);
        }
        let seen = receive(peer.as_fd(), &mut block, RecvFlags::empty());
        assert_eq!((seen, &block[..7]), (Ok((7, Some(CONTENT))), &b"content"[..]));
        let empty = receive(peer.as_fd(), &mut block, RecvFlags::DONTWAIT);
        assert_eq!(empty, Err(Errno::AGAIN));
        drop(socket);
        let end = receive(peer.as_fd(), &mut block, RecvFlags::empty());
        assert_eq!(end, Ok((0, None)));
    }
}
