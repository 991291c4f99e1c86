//! The handshake, which rustls makes, in steps that do not wait.
//!
//! It reads record by record, so that what follows the handshake is still the socket's when the
//! kernel gets the keys.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, ProtocolVersion, ServerConfig,
    ServerConnection,
};

use super::blocking::BlockingTlsStream;
use super::by_record::ByRecord;
use super::handover::{Handover, Unavailable};
use super::records::Records;
use super::user_space::{UserSpace, Wire};
use crate::ledger::Side;

/// Bytes of the peer that a handshake may take: certificates have a few KiB.
const HANDSHAKE_BYTES_MAX: usize = 256 * 1024;

/// What the two ends agreed on.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Negotiated {
    /// The protocol's version.
    pub version: Option<ProtocolVersion>,
    /// The cipher suite.
    pub cipher_suite: Option<CipherSuite>,
    /// The application's protocol (ALPN), if both ends named one.
    pub alpn: Option<Vec<u8>>,
    /// The peer's certificates, its own first; `None` for a client that was not asked.
    pub peer_certificates: Option<Vec<CertificateDer<'static>>>,
    /// The name that a client asked a server for (SNI).
    pub server_name: Option<String>,
}

/// A handshake in steps, for a loop that waits in its own way.
///
/// [`TlsStream::connect`](super::TlsStream::connect) and
/// [`BlockingTlsStream::connect`] wait by themselves. How long a handshake may take is the
/// caller's to say. It reads 256 KiB of the peer's at most.
///
/// ```no_run
/// # use std::os::fd::AsFd;
/// # use underpass::{Side, tls::{BlockingTlsStream, Handshake}};
/// # fn shake(
/// #     mut handshake: Handshake,
/// #     socket: std::net::TcpStream,
/// #     wait: impl Fn(Side),
/// # ) -> std::io::Result<BlockingTlsStream<std::net::TcpStream>> {
/// while let Some(side) = handshake.step(&socket)? {
///     wait(side);
/// }
/// handshake.finish(socket)
/// # }
/// ```
#[derive(Debug)]
pub struct Handshake {
    connection: Connection,
    by_record: ByRecord,
    read: usize,
    /// Whether rustls may give its keys away.
    may_extract: bool,
}

impl Handshake {
    /// A client's, with the server of this name.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if rustls cannot use the configuration.
    pub fn connect(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Self> {
        let may_extract = config.enable_secret_extraction;
        let connection = ClientConnection::new(config, name).map_err(invalid)?;
        Ok(Self::new(connection.into(), may_extract))
    }

    /// A server's.
    ///
    /// The kernel gets the connection only if `enable_secret_extraction` is set in `config`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if rustls cannot use the configuration, or if it accepts early data (0-RTT),
    /// which is not read.
    pub fn accept(config: Arc<ServerConfig>) -> io::Result<Self> {
        if config.max_early_data_size > 0 {
            return Err(invalid("early data (0-RTT) is not supported"));
        }
        let may_extract = config.enable_secret_extraction;
        let connection = ServerConnection::new(config).map_err(invalid)?;
        Ok(Self::new(connection.into(), may_extract))
    }

    fn new(connection: Connection, may_extract: bool) -> Self {
        Self { connection, by_record: ByRecord::default(), read: 0, may_extract }
    }

    /// Sends and reads what it can without waiting. Returns the side to wait for before the next
    /// step, `Source` for the socket to be readable; `None` once the handshake is over.
    ///
    /// # Errors
    ///
    /// `InvalidData` with a [`rustls::Error`] inside, of which the peer has been told;
    /// `UnexpectedEof` if the peer closes the connection; those of recv(2) and send(2).
    pub fn step(&mut self, socket: &impl AsFd) -> io::Result<Option<Side>> {
        let socket = socket.as_fd();
        loop {
            while self.connection.wants_write() {
                match self.connection.write_tls(&mut Wire(socket)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Ok(Some(Side::Sink));
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    written => {
                        written?;
                    }
                }
            }
            if !self.connection.is_handshaking() {
                return Ok(None);
            }
            match self.read(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Some(Side::Source));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let mut wire = OneRecord { socket, by_record: &mut self.by_record };
        let n = self.connection.read_tls(&mut wire)?;
        if n == 0 {
            let why = "the peer closed the connection in the TLS handshake";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.read += n;
        if self.read > HANDSHAKE_BYTES_MAX {
            let why = format!("the peer's TLS handshake has more than {HANDSHAKE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if let Err(error) = self.connection.process_new_packets() {
            // The alert that says why, if there is room for it.
            drop(self.connection.write_tls(&mut Wire(socket)));
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(())
    }

    /// Gives the connection to the kernel, or leaves it to rustls where the kernel cannot have it.
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2) once the keys have left rustls, which are not expected.
    pub fn finish<S: AsFd>(self, socket: S) -> io::Result<BlockingTlsStream<S>> {
        let secured = self.conclude(socket.as_fd())?;
        Ok(BlockingTlsStream::new(socket, secured))
    }

    pub(super) fn conclude(mut self, socket: BorrowedFd<'_>) -> io::Result<Secured> {
        let negotiated = self.negotiated();
        let is_between = self.by_record.is_between_records();
        let asked = match (&mut self.connection, self.may_extract) {
            (_, false) => Err(Unavailable::NotPermitted),
            (Connection::Client(client), true) => Handover::prepare(client, socket, is_between),
            (Connection::Server(server), true) => Handover::prepare(server, socket, is_between),
        };
        let (records, unavailable) = match asked {
            Ok(handover) => {
                let secrets = self.connection.dangerous_extract_secrets();
                let kernel = handover.finish(secrets.map_err(io::Error::other)?, socket)?;
                (Records::Kernel(kernel), None)
            }
            Err(why) => (Records::UserSpace(UserSpace::new(self.connection)), Some(why)),
        };
        Ok(Secured { records, negotiated, unavailable })
    }

    fn negotiated(&self) -> Negotiated {
        let (connection, server_name) = match &self.connection {
            Connection::Client(_) => (&self.connection, None),
            Connection::Server(server) => (&self.connection, server.server_name()),
        };
        Negotiated {
            version: connection.protocol_version(),
            cipher_suite: connection.negotiated_cipher_suite().map(|suite| suite.suite()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            peer_certificates: connection
                .peer_certificates()
                .map(|chain| chain.iter().map(|one| one.clone().into_owned()).collect()),
            server_name: server_name.map(str::to_owned),
        }
    }
}

/// A connection after its handshake, without its socket.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) records: Records,
    pub(super) negotiated: Negotiated,
    /// Why the records are not the kernel's.
    pub(super) unavailable: Option<Unavailable>,
}

struct OneRecord<'s> {
    socket: BorrowedFd<'s>,
    by_record: &'s mut ByRecord,
}

impl io::Read for OneRecord<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.by_record.read(into, |into| Wire(self.socket).read(into))
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
