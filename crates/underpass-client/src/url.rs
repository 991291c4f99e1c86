//! URLs for GET and PUT: scheme, authority, path.
//!
//! The path is sent to the server as it was written: encoding it again would change its meaning.
//! What must not stand in a URL at all (spaces, letters beyond ASCII) is encoded, as browsers do,
//! since servers write such paths into their redirects.
//!
//! Source: RFC 3986 §3, §5.2 (references); RFC 6874 (zones); RFC 9110 §4.2, §7.2; RFC 9112 §3.2.1.

use std::fmt;
use std::net::Ipv6Addr;

use fluent_uri::component::Authority;
use fluent_uri::{Uri, UriRef};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::credentials::Credentials;

/// What RFC 3986 has in no part of a URL after the authority; all else stays as it is.
const NOT_IN_URLS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub(crate) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    /// The interface of a link-local address, after a `%`.
    zone: Option<String>,
    pub(crate) port: u16,
    /// The user and password that stood in it; never printed.
    pub(crate) credentials: Option<Credentials>,
    /// With the query, without the fragment; starts with `/`.
    pub(crate) target: String,
}

impl Url {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// What is wrong with it, for a message that names the URL.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (text, zone) = split_zone(text);
        let text = encoded(&text);
        let url = Uri::parse(text.as_str()).map_err(|_| reason(&text))?;
        let is_tls = match url.scheme().as_str().to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("its scheme is neither http nor https"),
        };
        let authority = url.authority().ok_or("it has no host")?;
        let port = match authority.port_to_u16() {
            Ok(port) => port.unwrap_or_else(|| default_port(is_tls)),
            Err(_) => return Err("its port is not a number up to 65535"),
        };
        let path = if url.path().is_empty() { "/" } else { url.path().as_str() };
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self {
            is_tls,
            host: host(authority)?,
            zone,
            port,
            credentials: authority.userinfo().map(Credentials::of_url),
            target: format!("{path}{query}"),
        })
    }

    /// Its Host field, which has neither a zone nor the scheme's own port.
    pub(crate) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        let host = format!("{open}{}{close}", self.host);
        if self.port == default_port(self.is_tls) { host } else { format!("{host}:{}", self.port) }
    }

    /// `host:port`, to look up.
    pub(crate) fn address(&self) -> String {
        let Self { host, zone, port, .. } = self;
        let zone = zone.as_ref().map(|zone| format!("%{zone}")).unwrap_or_default();
        if host.contains(':') { format!("[{host}{zone}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// Whether both are of one server: what is meant for one may be told to the other.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        let origin = |url: &Self| (url.is_tls, url.host.to_ascii_lowercase(), url.port);
        origin(self) == origin(other)
    }

    /// The same without a user and a password.
    pub(crate) fn without_credentials(&self) -> Self {
        Self { credentials: None, ..self.clone() }
    }

    /// The URL that a `Location` field in this URL's answer means.
    ///
    /// # Errors
    ///
    /// Those of [`Self::parse`].
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        let base = Self { zone: None, ..self.clone() }.to_string();
        let base = Uri::parse(base.as_str()).map_err(|_| reason(&base))?;
        let location = encoded(location);
        let reference = UriRef::parse(location.as_str()).map_err(|_| reason(&location))?;
        let joined = reference.resolve_against(&base).map_err(|_| "it cannot be resolved")?;
        let joined = Self::parse(joined.as_str())?;
        let zone = self.zone.clone().filter(|_| joined.host == self.host);
        let known = self.credentials.clone().filter(|_| joined.is_same_origin(self));
        let credentials = joined.credentials.clone().or(known);
        Ok(Self { zone, credentials, ..joined })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let authority = match &self.zone {
            Some(zone) => self.authority().replace(']', &format!("%25{zone}]")),
            None => self.authority(),
        };
        write!(f, "{scheme}://{authority}{}", self.target)
    }
}

const fn default_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

/// Where the authority is; empty at the start of a reference without one.
fn authority_of(text: &str) -> std::ops::Range<usize> {
    let is_scheme =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b':');
    let Some(slashes) = text.find("//").filter(|at| is_scheme(&text[..*at])) else { return 0..0 };
    let from = slashes + 2;
    from..text[from..].find(['/', '?', '#']).map_or(text.len(), |len| from + len)
}

/// Takes the zone out of an address in brackets: RFC 3986 has none.
fn split_zone(text: &str) -> (String, Option<String>) {
    let authority = authority_of(text);
    let address = text[authority.clone()].find('[').zip(text[authority.clone()].find(']'));
    let Some((open, close)) = address.filter(|(open, close)| open < close) else {
        return (text.to_owned(), None);
    };
    let (open, close) = (authority.start + open, authority.start + close);
    let Some((address, zone)) = text[open..close].split_once('%') else {
        return (text.to_owned(), None);
    };
    let zone = zone.strip_prefix("25").unwrap_or(zone);
    // RFC 6874 §2: unreserved characters. Others would be read in another way by others.
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if zone.is_empty() || !zone.bytes().all(is_unreserved) {
        return (text.to_owned(), None);
    }
    (format!("{}{address}{}", &text[..open], &text[close..]), Some(zone.to_owned()))
}

fn encoded(text: &str) -> String {
    let (authority, rest) = text.split_at(authority_of(text).end);
    format!("{authority}{}", utf8_percent_encode(rest, NOT_IN_URLS))
}

fn host(authority: Authority<'_>) -> Result<String, &'static str> {
    let host = authority.host();
    if let Some(address) = host.strip_prefix('[') {
        let address = address.trim_end_matches(']');
        let is_v6 = address.parse::<Ipv6Addr>().is_ok();
        return if is_v6 { Ok(address.to_owned()) } else { Err(NOT_V6) };
    }
    match host {
        "" => Err("it has no host"),
        _ if host.contains('%') => Err(NOT_ASCII),
        _ => Ok(host.to_owned()),
    }
}

const NOT_V6: &str = "its address is not an IPv6 address in brackets with a port up to 65535";

const NOT_ASCII: &str = "its host has other letters than those of ASCII; write it as xn--…";

/// Why a text is not a URL, as far as that can be told.
fn reason(text: &str) -> &'static str {
    let authority = &text[authority_of(text)];
    let host = authority.rsplit('@').next().unwrap_or(authority);
    if host.contains(['[', ']']) || host.matches(':').count() > 1 {
        NOT_V6
    } else if !host.is_ascii() {
        NOT_ASCII
    } else if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
        "its port is not a number up to 65535"
    } else if text.contains('%') {
        "each '%' must be followed by two hexadecimal digits; a '%' itself is written %25"
    } else {
        "it is not http://host/path or https://host/path"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_into_its_parts() {
        for (text, host, address, target) in [
            ("http://a", "a", "a:80", "/"),
            ("https://a.b:8443/x/y?z#f", "a.b", "a.b:8443", "/x/y?z"),
            ("http://[::1]:81/%20", "::1", "[::1]:81", "/%20"),
            ("https://[::1]/", "::1", "[::1]:443", "/"),
            ("http://a?q", "a", "a:80", "/?q"),
            ("HTTP://A/B", "A", "A:80", "/B"),
            ("Https://a:/b", "a", "a:443", "/b"),
            ("http://[::1]:/", "::1", "[::1]:80", "/"),
            ("http://[fe80::1%25eth0]/x", "fe80::1", "[fe80::1%eth0]:80", "/x"),
            ("http://[fe80::1%eth0]:81/", "fe80::1", "[fe80::1%eth0]:81", "/"),
            ("http://u:p%40@a:81/", "a", "a:81", "/"),
            ("http://a/b c/ä[1]?{2}", "a", "a:80", "/b%20c/%C3%A4%5B1%5D?%7B2%7D"),
            ("http://a/..//b/./c", "a", "a:80", "/..//b/./c"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.address().as_str()), (host, address), "{text}");
            assert_eq!(url.target, target, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_url_is_refused_with_the_reason() {
        for (text, why) in [
            ("http://", "no host"),
            ("http:///x", "no host"),
            ("http://a:b/", "port is not a number"),
            ("http://a:65536/", "port is not a number"),
            ("http://::1/", "not an IPv6 address in brackets"),
            ("http://[::1/", "not an IPv6 address in brackets"),
            ("http://[fe80::1%25a@b]/", "not an IPv6 address in brackets"),
            ("http://[fe80::1%25]/", "not an IPv6 address in brackets"),
            ("http://[v1.a]/", "not an IPv6 address in brackets"),
            ("http://ä/", "xn--"),
            ("http://%C3%A4/", "xn--"),
            ("http://a/100%", "two hexadecimal digits"),
            ("http://a b/", "it is not http://host/path"),
            ("gopher://a", "neither http nor https"),
        ] {
            assert!(Url::parse(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn a_password_is_kept_and_not_printed() {
        let url = Url::parse("http://user:p%40ss@[fe80::1%25eth0]:81/x").unwrap();
        assert_eq!(url.to_string(), "http://[fe80::1%25eth0]:81/x");
        assert_eq!(url.authority(), "[fe80::1]:81");
        assert!(!format!("{url:?}").contains("p@ss"));
        // RFC 7617 §2: base64 of user:p@ss.
        assert_eq!(url.credentials.unwrap().basic(), "Basic dXNlcjpwQHNz");
    }

    #[test]
    fn a_location_is_taken_relative_to_where_it_came_from() {
        // The first are those of RFC 3986 §5.4.
        let url = Url::parse("http://a:81/b/c/d;p?q").unwrap();
        for (location, joined) in [
            ("g", "http://a:81/b/c/g"),
            ("./g/", "http://a:81/b/c/g/"),
            ("/g", "http://a:81/g"),
            ("//g", "http://g/"),
            ("?y", "http://a:81/b/c/d;p?y"),
            ("g?y#s", "http://a:81/b/c/g?y"),
            ("../g", "http://a:81/b/g"),
            ("../../../g", "http://a:81/g"),
            ("g;x=1/../y", "http://a:81/b/c/y"),
            ("g?y/../x", "http://a:81/b/c/g?y/../x"),
            ("https://b/c", "https://b/c"),
            ("HTTPS://b:443", "https://b/"),
            ("/next?u=http://x/", "http://a:81/next?u=http://x/"),
            ("/ü x", "http://a:81/%C3%BC%20x"),
        ] {
            assert_eq!(url.join(location).unwrap().to_string(), joined, "{location}");
        }
        let linked = Url::parse("http://[fe80::1%25eth0]/a").unwrap();
        assert_eq!(linked.join("/b").unwrap().address(), "[fe80::1%eth0]:80");
        assert_eq!(linked.join("http://[fe80::2]/b").unwrap().address(), "[fe80::2]:80");
        let known = Url::parse("http://u:p@a/b").unwrap();
        assert_eq!(known.join("http://A:80/c").unwrap().credentials, known.credentials);
        for other in ["//b/c", "https://a/c", "http://a:81/c"] {
            assert_eq!(known.join(other).unwrap().credentials, None, "{other}");
        }
        assert!(url.join("ftp://a/b").is_err() && url.join("//::1/").is_err());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        let one = url("http://u:p@a/x");
        assert!(one.is_same_origin(&url("HTTP://A:80/y")));
        for other in ["https://a/x", "http://a:81/x", "http://b/x"] {
            assert!(!one.is_same_origin(&url(other)), "{other}");
        }
    }
}
