//! TLS as a client: rustls shakes hands, and the kernel goes on where it can.
//!
//! The reason why it cannot is kept for the report; nothing fails for want of it.
//!
//! Source: RFC 8446 §6.1; Documentation/networking/tls.rst.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, OnceLock};

use rustix::event::PollFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use underpass::{ByRecord, Handover, TlsStream, Unavailable};

use crate::patient::Patient;

/// A TLS connection after its handshake.
pub(crate) enum Secured<'i> {
    /// The kernel makes and reads the records.
    Kernel(Box<TlsStream<Patient<'i>>>),
    /// rustls does, and why.
    UserSpace(Box<StreamOwned<ClientConnection, Patient<'i>>>, InUserSpace),
}

/// Why TLS is in user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InUserSpace {
    Unavailable(Unavailable),
    /// More bytes than one key may encrypt; rustls changes it on the way.
    Long(u64),
    /// Nobody knows how many.
    Endless,
}

impl fmt::Display for InUserSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TLS in user space: ")?;
        match self {
            Self::Unavailable(why) => why.fmt(f),
            Self::Long(len) => write!(f, "{len} bytes are more than one key may encrypt"),
            Self::Endless => f.write_str("content of unknown length is framed there"),
        }
    }
}

/// What is going to be sent over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sending {
    /// A request and no content.
    Request,
    /// Content of this length.
    Content(u64),
    /// Content that ends somewhere.
    Chunks,
}

impl Sending {
    fn in_user_space(self) -> Option<InUserSpace> {
        match self {
            Self::Content(len) if len > TlsStream::<Patient<'_>>::SEND_BYTES_MAX => {
                Some(InUserSpace::Long(len))
            }
            Self::Request | Self::Content(_) => None,
            Self::Chunks => Some(InUserSpace::Endless),
        }
    }
}

/// Shakes hands with `host`.
pub(crate) fn connect<'i>(
    host: &str,
    patient: Patient<'i>,
    sending: Sending,
) -> io::Result<Secured<'i>> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
    };
    let mut connection = ClientConnection::new(config()?, name).map_err(io::Error::other)?;
    patient.must_end("the TLS handshake", patient.interrupt.connect_timeout());
    let mut socket = ByRecord::new(patient);
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    let why = match sending.in_user_space() {
        Some(why) => why,
        None => match Handover::prepare(&mut connection, &socket) {
            Ok(handover) => {
                let secrets = connection.dangerous_extract_secrets().map_err(io::Error::other)?;
                return Ok(Secured::Kernel(Box::new(handover.finish(secrets, socket)?)));
            }
            Err(why) => InUserSpace::Unavailable(why),
        },
    };
    let stream = StreamOwned::new(connection, socket.into_inner());
    Ok(Secured::UserSpace(Box::new(stream), why))
}

impl<'i> Secured<'i> {
    /// The socket below.
    pub(crate) fn socket(&self) -> &Patient<'i> {
        match self {
            Self::Kernel(stream) => stream.socket(),
            Self::UserSpace(stream, _) => &stream.sock,
        }
    }

    /// Tells the server that nothing more comes; it may have gone.
    pub(crate) fn close_notify(&mut self) {
        let told = match self {
            Self::Kernel(stream) => stream.close_notify(),
            Self::UserSpace(stream, _) => {
                stream.conn.send_close_notify();
                stream.flush()
            }
        };
        // Its answer has come: nothing depends on whether it hears this.
        drop(told);
    }
}

/// Content of a connection whose records the kernel reads, waiting for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Records<'t, 'i>(pub(crate) &'t TlsStream<Patient<'i>>);

impl Records<'_, '_> {
    /// Looks at what comes next.
    pub(crate) fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.patiently(|| self.0.peek(into))
    }

    fn patiently(&self, mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.socket().wait(PollFlags::IN)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }
}

impl Read for Records<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.patiently(|| self.0.receive(into))
    }
}

impl AsFd for Patient<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
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
    // For the kernel.
    config.enable_secret_extraction = true;
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_key_may_not_encrypt_stays_where_keys_are_changed() {
        let (max, over) = (1 << 37, (1 << 37) + 1);
        for (sending, wanted) in [
            (Sending::Request, None),
            (Sending::Content(max), None),
            (Sending::Content(over), Some(InUserSpace::Long(over))),
            (Sending::Chunks, Some(InUserSpace::Endless)),
        ] {
            assert_eq!(sending.in_user_space(), wanted, "{sending:?}");
        }
        let why = InUserSpace::Long(over).to_string();
        let wanted = "TLS in user space: 137438953473 bytes are more than one key may encrypt";
        assert_eq!(why, wanted);
    }
}
