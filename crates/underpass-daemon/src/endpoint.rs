//! Where to listen and where to connect: TCP addresses and paths of Unix sockets.
//!
//! A name is looked up when it is read and stays what it was then.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// One end that can be listened on or connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

/// Why a text is not an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is neither an address nor a path.
    #[error(
        "give ADDRESS:PORT, PORT, tcp://HOST:PORT or unix:PATH, such as [::1]:80 or unix:/run/a"
    )]
    Form,
    /// It names a host that is not found.
    #[error("the host is not found; give ADDRESS:PORT, or a name that resolves")]
    Host(#[source] io::Error),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// A port alone is that port of 127.0.0.1.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        match path {
            Some("") => return Err(EndpointError::Form),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        // In IPv6 without brackets, any of the numbers could be the port.
        if text.rsplit_once(':').is_none_or(|(host, _)| host.contains([':', '/', '[', ']'])) {
            return Err(EndpointError::Form);
        }
        match text.to_socket_addrs() {
            Ok(mut found) => found.next().map(Self::Tcp).ok_or(EndpointError::Form),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(EndpointError::Form),
            Err(error) => Err(EndpointError::Host(error)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// The address, if it is TCP.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }

    /// Whether a connection to this endpoint reaches a server that listens at `other`, as far as
    /// the addresses tell.
    #[must_use]
    pub fn leads_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(to), Self::Tcp(at)) => {
                // A socket of all IPv6 addresses takes those of IPv4, too (ipv6(7)).
                let is_all = at.ip().is_unspecified() && (at.is_ipv6() || to.is_ipv4());
                let is_here = to.ip().is_loopback() || to.ip().is_unspecified();
                to == at || to.port() == at.port() && is_all && is_here
            }
            _ => self == other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_ports_and_paths() {
        let tcp = |text: &str| Endpoint::Tcp(text.parse().unwrap());
        for (text, endpoint) in [
            ("8080", tcp("127.0.0.1:8080")),
            ("0.0.0.0:80", tcp("0.0.0.0:80")),
            ("tcp://[::1]:80", tcp("[::1]:80")),
            ("tcp://9000", tcp("127.0.0.1:9000")),
            ("unix:/run/a", Endpoint::Unix("/run/a".into())),
            ("unix:///run/a", Endpoint::Unix("/run/a".into())),
            ("unix:a", Endpoint::Unix("a".into())),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap(), endpoint, "{text}");
        }
        for text in [
            "",
            "65536",
            "127.0.0.1",
            "unix:",
            "unix://",
            "1.2.3.4:65536",
            "/run/a",
            "::1:80",
            "[::1:80",
            "tpc://127.0.0.1:80",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("ADDRESS:PORT"), "{text}: {error}");
        }
    }
}
