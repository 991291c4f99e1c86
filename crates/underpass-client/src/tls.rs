//! TLS as a client, by the engine's connection.
//!
//! Why its records are made in user space is kept for the report.

use std::fmt;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use underpass::Side;
use underpass::tls::{BlockingTlsStream, Handshake, Unavailable};

use crate::trust::explained;
use crate::waiting::WaitingStream;

/// A TLS connection after its handshake.
pub(crate) type Secured<'i> = BlockingTlsStream<WaitingStream<'i>>;

/// Why TLS is in user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUserSpace {
    /// The kernel cannot have it.
    Unavailable(Unavailable),
    /// More bytes than one key may encrypt; rustls changes it on the way.
    Long(u64),
    /// The number of bytes is unknown.
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
            Self::Content(len) if len > Secured::SEND_BYTES_MAX => Some(InUserSpace::Long(len)),
            Self::Request | Self::Content(_) => None,
            Self::Chunks => Some(InUserSpace::Endless),
        }
    }
}

/// Shakes hands with `host`.
pub(crate) fn connect<'i>(
    host: &str,
    mut config: Arc<ClientConfig>,
    socket: WaitingStream<'i>,
    sending: Sending,
) -> io::Result<(Secured<'i>, Option<InUserSpace>)> {
    let name = match host.parse::<IpAddr>() {
        Ok(address) => ServerName::IpAddress(address.into()),
        Err(_) => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
    };
    let why = sending.in_user_space();
    if why.is_some() {
        Arc::make_mut(&mut config).enable_secret_extraction = false;
    }
    let mut handshake = Handshake::connect(config, name)?;
    socket.must_end("the TLS handshake", socket.interrupt.connect_timeout());
    while let Some(side) = handshake.step(&socket).map_err(explained)? {
        socket.wait(match side {
            Side::Source => PollFlags::IN,
            Side::Sink => PollFlags::OUT,
        })?;
    }
    let secured = handshake.finish(socket)?;
    let why = why.or_else(|| secured.unavailable().map(InUserSpace::Unavailable));
    Ok((secured, why))
}

/// Content of a TLS connection, waiting for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Records<'t, 'i>(pub(crate) &'t Secured<'i>);

impl Records<'_, '_> {
    fn patiently(&self, mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match call() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.socket().wait(PollFlags::IN)?;
                }
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

impl AsFd for WaitingStream<'_> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
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
