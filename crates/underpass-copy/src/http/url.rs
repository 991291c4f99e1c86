//! URLs for GET and PUT: scheme, authority, path.
//!
//! The path is sent to the server as it was written: encoding it again would change its meaning.
//!
//! Source: RFC 3986 §3, §5.2 (references); RFC 9110 §4.2; RFC 9112 §3.2.1 (origin form).

use std::fmt;
use std::net::SocketAddrV6;

/// An `http` or `https` URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `https`.
    pub(crate) is_tls: bool,
    /// `host` or `host:port`, as it was written: the Host field.
    pub(crate) authority: String,
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
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err("its scheme is neither http nor https"),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if authority.contains('@') {
            return Err("it names a user, which is not supported");
        }
        let is_visible = |text: &str| text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if !is_visible(authority) || !is_visible(&target) {
            return Err("spaces and letters beyond ASCII must be written %XX");
        }
        let this = Self { is_tls, authority: authority.to_owned(), target };
        if this.host().is_empty() {
            return Err("it has no host");
        }
        let address = this.address();
        if this.authority.contains(['[', ']']) || this.host().contains(':') {
            let is_whole = address.parse::<SocketAddrV6>().is_ok();
            if !is_whole || !this.authority.starts_with('[') || !this.authority.contains(']') {
                return Err(
                    "its address is not an IPv6 address in brackets with a port up to 65535",
                );
            }
        }
        match this.port_text().map(str::parse::<u16>) {
            Some(Err(_)) => Err("its port is not a number up to 65535"),
            None | Some(Ok(_)) => Ok(this),
        }
    }

    /// The host, without the brackets of an IPv6 address.
    pub(crate) fn host(&self) -> &str {
        let end = self
            .port_text()
            .map_or(self.authority.len(), |port| self.authority.len() - port.len() - 1);
        self.authority[..end].trim_start_matches('[').trim_end_matches(']')
    }

    /// `host:port`, to look up.
    pub(crate) fn address(&self) -> String {
        let port = self.port_text().unwrap_or(if self.is_tls { "443" } else { "80" });
        let host = self.host();
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    fn port_text(&self) -> Option<&str> {
        let (host, port) = self.authority.rsplit_once(':')?;
        let is_inside_brackets = host.starts_with('[') && !host.ends_with(']');
        (!is_inside_brackets).then_some(port)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// The URL that a `Location` field in this URL's answer means.
    ///
    /// # Errors
    ///
    /// Those of [`Self::parse`].
    pub(crate) fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.contains("://") {
            return Self::parse(location);
        }
        let scheme = if self.is_tls { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let target = if location.starts_with('/') {
            location.to_owned()
        } else {
            let path = self.path();
            let directory = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{directory}{location}")
        };
        Self::parse(&format!("{scheme}://{}{target}", self.authority))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.target)
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
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host(), url.address().as_str()), (host, address), "{text}");
            assert_eq!(url.target, target, "{text}");
        }
        for text in
            ["http://", "http:///x", "http://a:b/", "http://u@a/", "http://a/ b", "gopher://a"]
        {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_location_is_taken_relative_to_where_it_came_from() {
        let url = Url::parse("http://a:81/x/y?q=/").unwrap();
        for (location, joined) in [
            ("https://b/c", "https://b/c"),
            ("//b/c", "http://b/c"),
            ("/c", "http://a:81/c"),
            ("c", "http://a:81/x/c"),
        ] {
            assert_eq!(url.join(location).unwrap().to_string(), joined);
        }
    }
}
