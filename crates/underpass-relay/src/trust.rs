//! Whose PROXY headers are believed: anyone who connects can send one, true or not.
//!
//! What decides is where a connection comes from and never its bytes. One from elsewhere is taken
//! as it is, as HAProxy's `expect-proxy` does behind an ACL: a stranger's header is the start of
//! his stream, and goes to the target with the rest of it.
//!
//! Source: HAProxy, doc/proxy-protocol.txt §2 ("MUST not try to guess", "only trusted proxies");
//! its configuration manual, `tcp-request connection expect-proxy`; nginx, `set_real_ip_from`.

use std::net::SocketAddr;

use underpass_daemon::Network;

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
    /// Who connects for others.
    pub(crate) fn proxies(&self) -> Vec<Network> {
        match self {
            Self::FromNoOne => Vec::new(),
            Self::FromEveryone => ["0.0.0.0/0", "::/0", "unix"]
                .iter()
                .map(|network| network.parse().expect("each is a network"))
                .collect(),
            Self::From(networks) => networks.clone(),
        }
    }

    /// What is expected of a peer; `None` is the client of a Unix socket.
    pub(crate) fn opening(&self, peer: Option<SocketAddr>) -> Opening {
        match self {
            Self::FromNoOne => Opening::Plain,
            Self::FromEveryone => Opening::Header,
            Self::From(networks) => {
                let peer = peer.map(|address| address.ip());
                let is_trusted = networks.iter().any(|network| network.has(peer));
                if is_trusted { Opening::Header } else { Opening::Stranger }
            }
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
}
