//! Whether the kernel knows a cipher, tried on two sockets of ours and once a process.
//!
//! Only keys tell (the cipher's module may be missing), and a socket takes keys once: on the
//! connection itself the answer would come too late.
//!
//! Source: net/tls/tls_main.c, `do_tls_setsockopt_conf`.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use underpass_sys::tls::{self, Direction, Keys, Version};

use super::handover::Unavailable;

/// A cipher of kernel TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

type Answer = Result<(), Unavailable>;

static ANSWERS: Mutex<Vec<((Version, Cipher), Answer)>> = Mutex::new(Vec::new());

/// Whether the kernel can make and read the records of connections as most are today: TLS 1.3 with
/// AES-256-GCM, which rustls puts first. Asked once a process.
///
/// # Errors
///
/// Why it cannot.
pub fn is_available() -> Result<(), Unavailable> {
    once(Version::Tls13, Cipher::Aes256Gcm)
}

/// The kernel's answer to this version and cipher.
pub(super) fn once(version: Version, cipher: Cipher) -> Answer {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let asked = (version, cipher);
    if let Some((_, answer)) = answers.iter().find(|(known, _)| *known == asked) {
        return *answer;
    }
    let answer = ask(version, cipher);
    // Without a socket for the question (EMFILE) there is no answer.
    if !matches!(answer, Err(Unavailable::Socket(_))) {
        answers.push((asked, answer));
    }
    answer
}

fn ask(version: Version, cipher: Cipher) -> Answer {
    let no_socket = |error: io::Error| {
        let errno = error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
        Unavailable::Socket(errno)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(no_socket)?;
    let address = listener.local_addr().map_err(no_socket)?;
    let socket = TcpStream::connect(address).map_err(no_socket)?;
    let socket = socket.as_fd();
    match tls::attach(socket) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(Unavailable::NoModule),
        Err(errno) => return Err(Unavailable::Socket(errno)),
    }
    // Nothing is ever encrypted with them.
    let keys = match cipher {
        Cipher::Aes128Gcm => Keys::Aes128Gcm { key: [0; 16], iv: [0; 12] },
        Cipher::Aes256Gcm => Keys::Aes256Gcm { key: [0; 32], iv: [0; 12] },
        Cipher::Chacha20Poly1305 => Keys::Chacha20Poly1305 { key: [0; 32], iv: [0; 12] },
    };
    for direction in [Direction::Send, Direction::Receive] {
        tls::set_keys(socket, direction, version, &keys, 0).map_err(|errno| {
            let cipher = match cipher {
                Cipher::Aes128Gcm => "AES-128-GCM",
                Cipher::Aes256Gcm => "AES-256-GCM",
                Cipher::Chacha20Poly1305 => "ChaCha20-Poly1305",
            };
            let version = match version {
                Version::Tls12 => "TLS 1.2",
                Version::Tls13 => "TLS 1.3",
            };
            Unavailable::Cipher { cipher, version, errno }
        })?;
    }
    Ok(())
}
