//! Who a request comes from, where proxies stand in between.
//!
//! They say it in a PROXY header, before a connection's first byte, or in a field of each request.
//! Either is believed of networks that are given, and of no one else. A field is read from its end,
//! where the nearest proxy has written: whom a proxy names is the client, unless that is a proxy
//! too. What stands further left anyone may have sent.
//!
//! Source: RFC 7239 §4, §5.2, §6, §8.1 (Forwarded); nginx, `real_ip_recursive`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};
use underpass_daemon::Network;

/// Whose word is taken for who a client is.
#[derive(Debug, Clone)]
pub struct Proxies {
    /// Whose connections begin with a PROXY header.
    pub headers_from: Vec<Network>,
    /// In whose requests the field is believed.
    pub fields_from: Vec<Network>,
    /// `Forwarded`, or one that has addresses, with commas.
    pub field: HeaderName,
}

impl Default for Proxies {
    /// No one's.
    fn default() -> Self {
        let field = HeaderName::from_static("x-forwarded-for");
        Self { headers_from: Vec::new(), fields_from: Vec::new(), field }
    }
}

impl Proxies {
    /// Whether a peer has to begin with a PROXY header; `None` is the client of a Unix socket.
    pub(crate) fn begins_with_header(&self, peer: Option<IpAddr>) -> bool {
        self.headers_from.iter().any(|network| network.has(peer))
    }

    /// Whether the requests of a peer may be those of others.
    pub(crate) fn speaks_for_others(&self, peer: Option<IpAddr>) -> bool {
        self.fields_from.iter().any(|network| network.has(peer))
    }

    /// Who sent a request with these fields that came from `peer`.
    pub(crate) fn client(&self, peer: Option<IpAddr>, fields: &HeaderMap) -> Option<IpAddr> {
        let mut client = peer;
        if self.fields_from.is_empty() {
            return client;
        }
        let values = fields.get_all(&self.field).iter().rev();
        let texts = values.flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b','));
        let mut members = texts.map(<[u8]>::trim_ascii).filter(|text| !text.is_empty());
        while self.speaks_for_others(client)
            && let Some(named) = members.next().and_then(|text| self.named(text))
        {
            client = Some(named);
        }
        client
    }

    /// The address in a member of the field.
    fn named(&self, member: &[u8]) -> Option<IpAddr> {
        let text = str::from_utf8(member).ok()?;
        if self.field != FORWARDED {
            return node(text);
        }
        let mut pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
        node(value.trim().trim_matches('"'))
    }
}

/// An address, perhaps with a port; nothing for a name that hides it.
fn node(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::from)
    };
    let address: Option<IpAddr> = bare().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn client(field: &str, peer: Option<&str>, values: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8::/32", "unix"];
        let proxies = Proxies {
            fields_from: networks.map(|network| network.parse().unwrap()).into(),
            field: field.parse().unwrap(),
            ..Proxies::default()
        };
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(&proxies.field, HeaderValue::from_str(value).unwrap());
        }
        let client = proxies.client(peer.map(|peer| peer.parse().unwrap()), &fields);
        client.map_or_else(|| "-".into(), |client| client.to_string())
    }

    #[test]
    fn the_last_who_is_no_proxy_is_the_client() {
        let near = Some("10.0.0.1");
        for (peer, values, want) in [
            (near, &["192.0.2.1"][..], "192.0.2.1"),
            (near, &["198.51.100.9, 192.0.2.1"], "192.0.2.1"),
            (near, &["192.0.2.1, 10.0.0.2 ,2001:db8::7"], "192.0.2.1"),
            (near, &["198.51.100.9,192.0.2.1", "10.0.0.2"], "192.0.2.1"),
            (near, &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (near, &[], "10.0.0.1"),
            (near, &["", " , 192.0.2.1,,"], "192.0.2.1"),
            (near, &["192.0.2.1:4711"], "192.0.2.1"),
            (near, &["[2001:db9::1]:80"], "2001:db9::1"),
            (near, &["::ffff:192.0.2.1"], "192.0.2.1"),
            (near, &["192.0.2.1, unknown, 10.0.0.2"], "10.0.0.2"),
            (near, &["192.0.2.1, for=192.0.2.2"], "10.0.0.1"),
            (Some("192.0.2.9"), &["192.0.2.1"], "192.0.2.9"),
            (Some("::ffff:10.0.0.1"), &["192.0.2.1"], "192.0.2.1"),
            (None, &["192.0.2.1"], "192.0.2.1"),
            (None, &[], "-"),
        ] {
            assert_eq!(client("X-Forwarded-For", peer, values), want, "{values:?}");
        }
    }

    #[test]
    fn forwarded_names_it_after_for() {
        for (value, want) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("For=\"192.0.2.1:80\" ; proto=https;by=10.0.0.1", "192.0.2.1"),
            ("proto=https;for=\"[2001:db9::1]\", for=10.0.0.9", "2001:db9::1"),
            ("for=198.51.100.9;x=\", for=192.0.2.1", "192.0.2.1"),
            ("for=192.0.2.1, for=_hidden", "10.0.0.1"),
            ("for=192.0.2.1, by=10.0.0.1", "10.0.0.1"),
            ("192.0.2.1", "10.0.0.1"),
        ] {
            assert_eq!(client("Forwarded", Some("10.0.0.1"), &[value]), want, "{value}");
        }
    }

    #[test]
    fn no_ones_word_is_taken_unless_that_is_asked_for() {
        let fields = HeaderMap::from_iter([(
            HeaderName::from_static("x-forwarded-for"),
            HeaderValue::from_static("192.0.2.1"),
        )]);
        for peer in [Some(IpAddr::from([127, 0, 0, 1])), None] {
            let proxies = Proxies::default();
            assert!(!proxies.begins_with_header(peer) && !proxies.speaks_for_others(peer));
            assert_eq!(proxies.client(peer, &fields), peer);
        }
    }
}
