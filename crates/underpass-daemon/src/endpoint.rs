//! Where to listen and where to connect: hosts with ports, and Unix sockets.
//!
//! A name is looked up when it is used, and each time anew: its addresses change.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::host_port::{HostPort, HostPortError};

/// One end that can be listened on or connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A TCP port of a host that has to be looked up: a name, `*`, or an address with a zone.
    Name(HostPort),
    /// The path of a Unix stream socket, or `@` and the name of an abstract one.
    Unix(PathBuf),
}

/// Why a text is not an endpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is neither an address nor a path.
    #[error(
        "give HOST:PORT, PORT, tcp://HOST:PORT, unix:PATH or unix:@NAME, such as [::1]:80 or \
         unix:/run/a"
    )]
    Form,
    /// Its port is not one, or its zone is missing.
    #[error(transparent)]
    Host(HostPortError),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// A port alone is that port of 127.0.0.1.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        match path {
            Some("" | "@") => return Err(EndpointError::Form),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        match text.parse() {
            Ok(host) => Ok(host_port(host)),
            Err(HostPortError::Form(_)) => Err(EndpointError::Form),
            Err(error @ (HostPortError::Port(_) | HostPortError::Zone(_))) => {
                Err(EndpointError::Host(error))
            }
        }
    }
}

fn host_port(host: HostPort) -> Endpoint {
    host.address().map_or(Endpoint::Name(host), Endpoint::Tcp)
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Name(host) => write!(f, "{host}"),
            Self::Unix(path) => {
                // A path's own two slashes would be taken for those of `unix://`.
                let path = path.display().to_string();
                let slashes = if path.starts_with("//") { "//" } else { "" };
                write!(f, "unix:{slashes}{path}")
            }
        }
    }
}

impl Endpoint {
    /// The address, if it is one of TCP.
    #[must_use]
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Name(_) | Self::Unix(_) => None,
        }
    }

    /// Its TCP addresses now, in the order to try them; none of a path.
    ///
    /// # Errors
    ///
    /// Those of [`HostPort::look_up`].
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp(address) => Ok(vec![*address]),
            Self::Name(host) => host.look_up(),
            Self::Unix(_) => Ok(Vec::new()),
        }
    }

    /// Whether a connection to this endpoint reaches a server that listens at `other`, as far as
    /// the addresses tell. A name has none here, see [`Endpoint::addresses`].
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

    /// As [`Endpoint::leads_to`], to one of several.
    #[must_use]
    pub fn leads_to_one_of(&self, others: &[Self]) -> bool {
        others.iter().any(|other| self.leads_to(other))
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
            ("unix:////run/a", Endpoint::Unix("//run/a".into())),
            ("unix:@a", Endpoint::Unix("@a".into())),
            ("127.0.0.1:http", tcp("127.0.0.1:80")),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap(), endpoint, "{text}");
            assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint, "{text}");
        }
        for name in ["a.test:80", "*:80", "[fe80::1%eth0]:80"] {
            let endpoint: Endpoint = name.parse().unwrap();
            assert!(matches!(endpoint, Endpoint::Name(_)), "{name}");
            assert_eq!(endpoint.to_string(), name);
        }
        for text in [
            "",
            "65536",
            "127.0.0.1",
            "unix:",
            "unix:@",
            "unix://",
            "/run/a",
            "::1:80",
            "[::1:80",
            "tpc://127.0.0.1:80",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("give HOST:PORT"), "{text}: {error}");
        }
    }
}
