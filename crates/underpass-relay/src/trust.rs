//! Whose PROXY headers are believed: anyone who connects can send one, true or not.
//!
//! What decides is where a connection comes from and never its bytes. One from elsewhere is taken
//! as it is, as HAProxy's `expect-proxy` does behind an ACL: a stranger's header is the start of
//! his stream, and goes to the target with the rest of it.
//!
//! Source: HAProxy, doc/proxy-protocol.txt §2 ("MUST not try to guess", "only trusted proxies");
//! its configuration manual, `tcp-request connection expect-proxy`; nginx, `set_real_ip_from`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// Bits of an IPv6 address before the IPv4 address that it stands for.
const MAPPED_BITS: u8 = 96;

/// Who has to begin with a PROXY header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AcceptProxy {
    /// No one: every byte is the client's.
    #[default]
    FromNoOne,
    /// Everyone, who may thus claim to be anyone.
    FromEveryone,
    /// Who connects from one of these; others are taken for the clients that they are.
    From(Vec<Network>),
}

/// What a connection has to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A header.
    Header,
    /// Its own bytes.
    Plain,
    /// Its own bytes, although others have to send a header.
    Stranger,
}

impl AcceptProxy {
    /// What is expected of a peer; `None` is the client of a Unix socket.
    pub(crate) fn opening(&self, peer: Option<SocketAddr>) -> Opening {
        match self {
            Self::FromNoOne => Opening::Plain,
            Self::FromEveryone => Opening::Header,
            Self::From(networks) => {
                let peer = peer.map(|address| address.ip());
                let is_trusted = networks.iter().any(|network| network.contains(peer));
                if is_trusted { Opening::Header } else { Opening::Stranger }
            }
        }
    }
}

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
    fn contains(&self, peer: Option<IpAddr>) -> bool {
        match (self.0, peer) {
            (Kind::Unix, None) => true,
            // A socket of both families shows IPv4 as IPv6.
            (Kind::Ip(network), Some(ip)) => network.contains(&ip.to_canonical()),
            (Kind::Unix, Some(_)) | (Kind::Ip(_), None) => false,
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

    fn opening(networks: &[&str], peer: Option<&str>) -> Opening {
        let networks = networks.iter().map(|text| text.parse().unwrap()).collect();
        let peer = peer.map(|ip| SocketAddr::new(ip.parse().unwrap(), 1));
        AcceptProxy::From(networks).opening(peer)
    }

    #[test]
    fn who_connects_from_a_network_has_to_send_a_header_and_others_have_not() {
        for (networks, peer, is_trusted) in [
            (&["10.0.0.0/8"][..], Some("10.255.0.1"), true),
            (&["10.0.0.0/8"], Some("11.0.0.0"), false),
            (&["10.0.0.0/8", "192.0.2.7"], Some("192.0.2.7"), true),
            (&["10.0.0.0/8", "192.0.2.7"], Some("192.0.2.8"), false),
            (&["0.0.0.0/0"], Some("203.0.113.9"), true),
            (&["0.0.0.0/0"], Some("2001:db8::1"), false),
            (&["2001:db8::/33"], Some("2001:db8:7fff::1"), true),
            (&["2001:db8::/33"], Some("2001:db8:8000::1"), false),
            (&["10.0.0.0/8"], Some("::ffff:10.1.2.3"), true),
            (&["::ffff:10.0.0.0/104"], Some("::ffff:10.1.2.3"), true),
            (&["::ffff:10.0.0.0/104"], Some("10.1.2.3"), true),
            (&["::ffff:10.0.0.0/104"], Some("11.1.2.3"), false),
            (&["::ffff:10.1.2.3"], Some("10.1.2.3"), true),
            (&["unix"], None, true),
            (&["unix"], Some("127.0.0.1"), false),
            (&["0.0.0.0/0", "::/0"], None, false),
        ] {
            let want = if is_trusted { Opening::Header } else { Opening::Stranger };
            assert_eq!(opening(networks, peer), want, "{networks:?} {peer:?}");
        }
    }

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
