//! Proxies as the environment names them.
//!
//! `HTTP_PROXY` in capitals is not read: where a CGI program starts this one, a request's Proxy
//! field becomes that variable.
//!
//! Source: curl(1), ENVIRONMENT; RFC 9110 §9.3.6 (CONNECT); RFC 9112 §3.2.2 (absolute form).

use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::ClientError;
use crate::url::Url;

/// What the variables say.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Named>,
    https: Option<Named>,
    /// Hosts that are asked directly.
    none: String,
}

/// A variable and its value.
#[derive(Debug, Clone)]
struct Named(&'static str, String);

impl Proxies {
    /// Reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, all but the first in capitals
    /// too.
    #[must_use]
    pub fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = variable(name).filter(|value| !value.is_empty());
                value.map(|value| Named(name, value))
            })
        };
        Self {
            http: first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            https: first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            none: first(&["no_proxy", "NO_PROXY"]).map(|Named(_, hosts)| hosts).unwrap_or_default(),
        }
    }

    /// The proxy for a URL.
    pub(crate) fn of(&self, url: &Url) -> Result<Option<Url>, ClientError> {
        let named = if url.is_tls { &self.https } else { &self.http };
        let Some(Named(variable, text)) = named.as_ref().filter(|_| !self.is_exempt(url)) else {
            return Ok(None);
        };
        let (scheme, _) = text.split_once("://").unwrap_or(("http", text));
        let wrong = |what: String| ClientError::Protocol { end: url.to_string(), what };
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(wrong(format!(
                "{variable} names a proxy of {scheme}://, and only one of http:// can be used; \
                 to go without it, put the host into no_proxy"
            )));
        }
        let text = if text.contains("://") { text.clone() } else { format!("http://{text}") };
        Url::parse(&text)
            .map(Some)
            .map_err(|why| wrong(format!("the proxy that {variable} names is not a URL: {why}")))
    }

    fn is_exempt(&self, url: &Url) -> bool {
        let entries = self.none.split([',', ' ']).filter(|entry| !entry.is_empty());
        let host = url.host.trim_end_matches('.').to_ascii_lowercase();
        entries.map(str::to_ascii_lowercase).any(|entry| is_of(&entry, &host, url.port))
    }
}

/// Whether an entry of `no_proxy` is for a host: its name or that of a domain above it, an address,
/// a network, or `*`.
fn is_of(entry: &str, host: &str, port: u16) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        let entry = entry.trim_matches(['[', ']']);
        let is_network = || entry.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
        if entry.parse() == Ok(address) || is_network() {
            return true;
        }
    }
    let (name, is_port) = match entry.rsplit_once(':') {
        Some((name, of)) if !name.contains(':') || name.ends_with(']') => {
            (name.trim_matches(['[', ']']), of.parse() == Ok(port))
        }
        Some(_) | None => (entry, true),
    };
    let name = name.trim_start_matches('*').trim_matches('.');
    let is_below = || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    is_port && (entry == "*" || !name.is_empty() && (host == name || is_below()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(set: &'static [(&str, &str)]) -> Proxies {
        Proxies::of_environment(|name| {
            set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn of(set: &'static [(&str, &str)], url: &str) -> Result<Option<String>, String> {
        let proxy = proxies(set).of(&Url::parse(url).unwrap());
        proxy.map(|proxy| proxy.map(|url| url.address())).map_err(|error| error.to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_some_hosts_have_none() {
        let set = &[("http_proxy", "p:81"), ("HTTPS_PROXY", "http://q"), ("all_proxy", "http://r")];
        assert_eq!(of(set, "http://a/"), Ok(Some("p:81".into())));
        assert_eq!(of(set, "https://a/"), Ok(Some("q:80".into())));
        assert_eq!(of(&[("ALL_PROXY", "r:8")], "https://a/"), Ok(Some("r:8".into())));
        assert_eq!(of(&[("HTTP_PROXY", "p"), ("http_proxy", "")], "http://a/"), Ok(None));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_and_not_passed_over() {
        let error = of(&[("all_proxy", "socks5h://u:secret@r")], "http://a/").unwrap_err();
        assert!(error.contains("all_proxy names a proxy of socks5h://"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(of(&[("https_proxy", "https://r")], "https://a/").is_err());
        let error = of(&[("http_proxy", "http://u:secret@r:x")], "http://a/").unwrap_err();
        assert!(error.contains("http_proxy names is not a URL") && !error.contains("secret"));
        let set = &[("all_proxy", "socks5://r"), ("no_proxy", "a")];
        assert_eq!(of(set, "http://a/"), Ok(None));
    }

    #[test]
    fn no_proxy_has_names_domains_addresses_networks_and_ports() {
        for (entry, host, is_it) in [
            ("*", "a.b", true),
            ("a.b", "a.b", true),
            (".a.b", "x.a.b", true),
            (".a.b", "a.b", true),
            ("*.a.b", "x.a.b", true),
            ("a.b", "xa.b", false),
            ("a.b", "a.b.c", false),
            ("a.b:80", "a.b", true),
            ("a.b:81", "a.b", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1:80", "127.0.0.1", true),
            ("127.0.0.0/8", "127.1.2.3", true),
            ("127.0.0.0/8", "128.1.2.3", false),
            ("::1", "::1", true),
            ("[::1]", "0:0::1", true),
            ("[::1]:80", "::1", true),
            ("[::1]:81", "::1", false),
            ("fe80::/10", "fe80::1", true),
            (".", "a.b", false),
        ] {
            assert_eq!(is_of(entry, host, 80), is_it, "{entry} {host}");
        }
        let set = &[("http_proxy", "p"), ("no_proxy", "x, A.B ,c")];
        assert_eq!(of(set, "http://w.a.B./"), Ok(None));
    }
}
