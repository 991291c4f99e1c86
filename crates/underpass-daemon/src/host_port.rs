//! `HOST:PORT` as people write it.
//!
//! A host is a name, an address (IPv6 in brackets, with a zone if it needs one), or `*` for every
//! address of this machine. A port is a number or the name of a service.
//!
//! Source: RFC 3986 §3.2.2; RFC 4007 §11 (zones); services(5); RFC 6724 (the order of addresses).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};

/// A port of a host, which is looked up when it is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    host: String,
    port: u16,
}

/// Why a text is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostPortError {
    /// There is no host, or no port, or they cannot be told apart.
    #[error("'{0}' is not host:port, such as localhost:9000 or [::1]:9000")]
    Form(String),
    /// The port is not one.
    #[error("'{0}' has no port of 0 to 65535 at its end, and no service that /etc/services names")]
    Port(String),
    /// A link-local address, which means another machine on each interface.
    #[error("'{0}' is link-local and needs its interface, such as [fe80::1%eth0]:9000")]
    Zone(String),
}

/// A host without an address; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the host was not found ({0}); check its name, or give its address")]
struct Unknown(io::Error);

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) =
            split(text).filter(|(host, _)| is_host(host)).ok_or_else(|| form_of(text))?;
        let port = port_of(port).ok_or_else(|| HostPortError::Port(text.to_owned()))?;
        // ipv6(7): bind(2) and connect(2) answer EINVAL without sin6_scope_id.
        if host.parse().is_ok_and(|address: Ipv6Addr| address.is_unicast_link_local()) {
            return Err(HostPortError::Zone(text.to_owned()));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

fn form_of(text: &str) -> HostPortError {
    HostPortError::Form(text.to_owned())
}

/// The host without brackets, and the port.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':').filter(|(_, port)| !port.is_empty())?;
    match host.strip_prefix('[') {
        Some(host) => host.strip_suffix(']').filter(|host| is_v6(host)).map(|host| (host, port)),
        // In IPv6 without brackets, any of the numbers could be the port.
        None => Some((host, port)).filter(|(host, _)| !host.contains(':')),
    }
}

/// Whether it is an IPv6 address, with or without a zone.
fn is_v6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "-"));
    address.parse::<Ipv6Addr>().is_ok() && !zone.is_empty()
}

fn is_host(host: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/[]@".contains(c);
    !host.is_empty() && !host.contains(is_odd)
}

fn port_of(text: &str) -> Option<u16> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let mut found = getaddrinfo(None, Some(text), Some(hints)).ok()?;
    found.next()?.ok().map(|info| info.sockaddr.port())
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl HostPort {
    /// The host, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The address, if nothing has to be looked up.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.host.parse().ok().map(|ip: IpAddr| SocketAddr::new(ip, self.port))
    }

    /// Whether the host is `*`, which can be listened on and not connected to.
    #[must_use]
    pub fn is_every(&self) -> bool {
        self.host == "*"
    }

    /// Its addresses now, at least one, in the order to try them. May wait for a name server.
    ///
    /// # Errors
    ///
    /// That the host has no address, with what getaddrinfo(3) says.
    pub fn look_up(&self) -> io::Result<Vec<SocketAddr>> {
        if self.is_every() {
            let every: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
            return Ok(every.map(|ip| SocketAddr::new(ip, self.port)).to_vec());
        }
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        found.map(Iterator::collect).map_err(|error| io::Error::other(Unknown(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_port_are_told_apart() {
        for (text, host, port) in [
            ("localhost:9000", "localhost", 9000),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:80", "::1", 80),
            ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
            ("*:80", "*", 80),
            ("localhost:https", "localhost", 443),
        ] {
            let found: HostPort = text.parse().unwrap();
            assert_eq!((found.host.as_str(), found.port), (host, port), "{text}");
            assert_eq!(found, found.to_string().parse().unwrap());
        }
        for text in [
            "", ":", "a", "a:", ":9", "::1:9", "[::1", "[::1]", "[::1:9", "[zz]:9", "[::1%]:9",
            "a/b:9", "a b:9",
        ] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Form(text.into())), "{text}");
        }
        let without_zone = "[fe80::1]:9";
        assert_eq!(
            without_zone.parse::<HostPort>(),
            Err(HostPortError::Zone(without_zone.to_owned()))
        );
        for text in ["a:65536", "a:-1", "a:no-such-service", "a:99999999999"] {
            assert_eq!(text.parse::<HostPort>(), Err(HostPortError::Port(text.into())), "{text}");
        }
    }

    #[test]
    fn a_zone_is_the_number_of_its_interface() {
        let found: HostPort = "[fe80::1%lo]:80".parse().unwrap();
        assert_eq!(found.address(), None);
        let [SocketAddr::V6(address)] = found.look_up().unwrap()[..] else { panic!("one address") };
        // The loopback interface is the first of each network namespace.
        assert_eq!((address.scope_id(), address.port()), (1, 80));
        let unknown: HostPort = "[fe80::1%nothing0]:80".parse().unwrap();
        assert!(unknown.look_up().unwrap_err().to_string().contains("the host was not found"));
    }
}
