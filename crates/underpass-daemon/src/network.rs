//! Networks, by which peers are told apart.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Bits of an IPv6 address before the IPv4 address that it stands for.
const MAPPED_BITS: u8 = 96;

/// Where connections come from: addresses, or a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ip(IpNet),
    Unix,
}

/// Why a text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It is neither addresses nor the word.
    #[error("give a network such as 10.0.0.0/8 or 2001:db8::/32, an address, or 'unix'")]
    Form,
    /// The address has bits that are not of its network.
    #[error("the address has more bits than the network; give {network}, or the address alone")]
    Host {
        /// The network that it is in.
        network: Network,
    },
}

impl Network {
    /// Whether a peer is in it; `None` is the client of a Unix socket.
    #[must_use]
    pub fn has(&self, peer: Option<IpAddr>) -> bool {
        match (self.0, peer) {
            (Kind::Unix, None) => true,
            // A socket of both families shows IPv4 as IPv6.
            (Kind::Ip(network), Some(ip)) => network.contains(&ip.to_canonical()),
            (Kind::Unix, Some(_)) | (Kind::Ip(_), None) => false,
        }
    }
}

impl Network {
    /// Bits that all its addresses have in common: of two networks that have an address, the one
    /// with more is the nearer.
    #[must_use]
    pub fn bits(&self) -> u8 {
        match self.0 {
            Kind::Ip(network) => network.prefix_len(),
            Kind::Unix => 0,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    /// A network in CIDR notation, an address alone, or `unix`.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if matches!(text, "unix" | "unix:") {
            return Ok(Self(Kind::Unix));
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(Kind::Ip(ip.to_canonical().into())));
        }
        let network: IpNet = text.parse().map_err(|_| NetworkError::Form)?;
        if network.addr() != network.network() {
            return Err(NetworkError::Host { network: Self(Kind::Ip(network.trunc())) });
        }
        Ok(Self(Kind::Ip(canonical(network))))
    }
}

/// A network of mapped addresses as the one of IPv4 that it stands for.
fn canonical(network: IpNet) -> IpNet {
    let bits = network.prefix_len().checked_sub(MAPPED_BITS);
    match (network.addr().to_canonical(), bits) {
        (IpAddr::V4(ip), Some(bits)) => Ipv4Net::new(ip, bits).map_or(network, IpNet::V4),
        _ => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Ip(network) => write!(f, "{network}"),
            Kind::Unix => f.write_str("unix"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_is_refused_and_one_that_is_too_precise_is_named() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "localhost", "10.0.0.1:80", "/8"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Form), "{text}");
        }
        for (text, network) in [("10.1.2.3/8", "10.0.0.0/8"), ("2001:db8::1/32", "2001:db8::/32")] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.to_string().contains(&format!("give {network}, ")), "{error}");
            assert_eq!(network.parse::<Network>().unwrap().to_string(), network);
        }
    }
}
