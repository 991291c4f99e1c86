//! One connection of an origin, with TLS or without.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// Bytes to and from a client.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Secured(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
}

/// What connections become.
#[derive(Debug, Clone)]
pub(super) enum Shake {
    Plain,
    #[cfg(feature = "tls")]
    Secured(std::sync::Arc<rustls::ServerConfig>),
}

impl Shake {
    pub(super) fn scheme(&self) -> &'static str {
        match self {
            Self::Plain => "http",
            #[cfg(feature = "tls")]
            Self::Secured(_) => "https",
        }
    }

    pub(super) fn wire(&self, tcp: TcpStream) -> io::Result<Wire> {
        tcp.set_nodelay(true)?;
        match self {
            Self::Plain => Ok(Wire::Plain(tcp)),
            #[cfg(feature = "tls")]
            Self::Secured(config) => {
                let tls = rustls::ServerConnection::new(std::sync::Arc::clone(config));
                let tls = tls.map_err(io::Error::other)?;
                Ok(Wire::Secured(Box::new(rustls::StreamOwned::new(tls, tcp))))
            }
        }
    }
}

impl Wire {
    /// Ends what is sent as a server does that has no more to say.
    pub(super) fn finish(&mut self) {
        // A client that has left needs no end.
        match self {
            Self::Plain(_) => {}
            #[cfg(feature = "tls")]
            Self::Secured(tls) => {
                tls.conn.send_close_notify();
                drop(tls.flush());
            }
        }
    }

    /// When it is closed, the client gets a reset instead of an end.
    pub(super) fn will_reset(&self) -> io::Result<()> {
        let tcp = match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Secured(tls) => &tls.sock,
        };
        Ok(set_socket_linger(tcp, Some(Duration::ZERO))?)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            #[cfg(feature = "tls")]
            Self::Secured(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            #[cfg(feature = "tls")]
            Self::Secured(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            #[cfg(feature = "tls")]
            Self::Secured(tls) => tls.flush(),
        }
    }
}
