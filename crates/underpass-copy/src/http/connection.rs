//! A connection to a server, with or without TLS.
//!
//! Without TLS the descriptor is at hand for splice and sendfile, and reading a head leaves what
//! follows it in the socket.
//!
//! Source: recv(2), `MSG_PEEK`; RFC 8446 §6.1 (an end without close_notify is a cut).

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, OnceLock};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::url::Url;
use crate::error::CopyError;
use crate::interrupt::Interrupt;
use crate::patient::Patient;
use crate::socket;

/// No server has a head that is longer.
const HEAD_BYTES_MAX: usize = 64 * 1024;

const END: &[u8] = b"\r\n\r\n";

/// An open connection.
pub(crate) enum Connection<'i> {
    Plain(Patient<'i>),
    Tls {
        stream: Box<StreamOwned<ClientConnection, Patient<'i>>>,
        /// Content that came with the head.
        ahead: Vec<u8>,
    },
}

impl<'i> Connection<'i> {
    pub(crate) fn open(url: &Url, interrupt: &'i Interrupt) -> Result<Self, CopyError> {
        let fd = socket::connect_tcp(&url.address(), interrupt)
            .map_err(|error| CopyError::open("connect to", url, error))?;
        let patient = Patient { fd, interrupt };
        if !url.is_tls {
            return Ok(Self::Plain(patient));
        }
        let tls = handshake(url.host(), patient)
            .map_err(|error| CopyError::open("make a TLS connection to", url, error))?;
        Ok(Self::Tls { stream: Box::new(tls), ahead: Vec::new() })
    }

    /// The socket, where bytes on it are the content's own.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Plain(patient) => Some(patient.fd.as_fd()),
            Self::Tls { .. } => None,
        }
    }

    /// The socket, whatever is spoken on it.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(patient) => patient.fd.as_fd(),
            Self::Tls { stream, .. } => stream.sock.fd.as_fd(),
        }
    }

    /// Reads up to the empty line that ends a head.
    pub(crate) fn read_head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        while head.len() < HEAD_BYTES_MAX {
            if self.read_some_head(&mut head)? {
                return Ok(head);
            }
        }
        let why = format!("its head has more than {HEAD_BYTES_MAX} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Whether the head is complete.
    fn read_some_head(&mut self, head: &mut Vec<u8>) -> io::Result<bool> {
        let old = head.len();
        match self {
            Self::Plain(patient) => {
                let mut block = [0; 4096];
                let n = peek(patient, &mut block)?;
                if n == 0 {
                    return Err(closed());
                }
                head.extend_from_slice(&block[..n]);
                let end = head_end(head, old);
                head.truncate(end.unwrap_or(head.len()));
                // What was looked at is taken as far as it belongs to the head.
                patient.read_exact(&mut block[..head.len() - old])?;
                Ok(end.is_some())
            }
            Self::Tls { stream, ahead } => {
                let mut block = [0; 4096];
                let n = stream.read(&mut block)?;
                if n == 0 {
                    return Err(closed());
                }
                head.extend_from_slice(&block[..n]);
                let end = head_end(head, old);
                if let Some(end) = end {
                    *ahead = head.split_off(end);
                }
                Ok(end.is_some())
            }
        }
    }
}

/// Where the head ends, if the end is not all within the `old` first bytes.
fn head_end(head: &[u8], old: usize) -> Option<usize> {
    let from = old.saturating_sub(END.len() - 1);
    let at = head[from..].windows(END.len()).position(|window| window == END)?;
    Some(from + at + END.len())
}

fn peek(patient: &Patient<'_>, block: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::net::recv(&patient.fd, &mut *block, RecvFlags::PEEK) {
            Ok((n, _)) => return Ok(n),
            Err(Errno::AGAIN) => patient.wait(PollFlags::IN)?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it closed without an answer")
}

impl Read for Connection<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(patient) => patient.read(into),
            Self::Tls { stream, ahead } if ahead.is_empty() => stream.read(into),
            Self::Tls { ahead, .. } => {
                let n = ahead.len().min(into.len());
                into[..n].copy_from_slice(&ahead[..n]);
                ahead.drain(..n);
                Ok(n)
            }
        }
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(patient) => patient.write(bytes),
            Self::Tls { stream, .. } => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(patient) => patient.flush(),
            Self::Tls { stream, .. } => stream.flush(),
        }
    }
}

fn handshake<'i>(
    host: &str,
    mut patient: Patient<'i>,
) -> io::Result<StreamOwned<ClientConnection, Patient<'i>>> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
    };
    let mut connection = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut patient)?;
    }
    Ok(StreamOwned::new(connection, patient))
}

/// The configuration of every connection: this machine's authorities, or SSL_CERT_FILE's.
fn config() -> io::Result<Arc<ClientConfig>> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(Arc::clone(config));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _unusable) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = "this machine has no certificates of authorities; name a file of them with \
                   SSL_CERT_FILE";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}
