//! How servers are asked: with which fields, as whom, by which proxy, and trusting whom.
//!
//! What is meant for one server is told to no other: after a redirect to another origin neither the
//! user's fields nor credentials are sent.
//!
//! Source: RFC 9110 §7.6.1, §9.3.6, §15.4; RFC 9112 §3.2; RFC 7617.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;

use crate::answer::read_head;
use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::error::ClientError;
use crate::head::Head;
use crate::interrupt::Interrupt;
use crate::netrc::Netrc;
use crate::pool::Keeping;
use crate::proxy::Proxies;
use crate::tls::Sending;
use crate::trust::Trust;
use crate::url::Url;

const AGENT: &str = concat!("underpass/", env!("CARGO_PKG_VERSION"));

/// Fields that frame or choose the content, which are copy's own.
const OWN_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "if-range",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// How servers are asked. The fields are set before the first request: certificates are read once.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// More fields of each request, or others than the usual ones.
    pub fields: Vec<Field>,
    /// Users and passwords.
    pub netrc: Netrc,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Proxies to ask instead.
    pub proxies: Proxies,
    /// How often a server that fails is asked again in a row.
    pub retries: u32,
    config: OnceLock<Arc<ClientConfig>>,
    pub(crate) keeping: Keeping,
}

/// A field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    value: String,
}

/// A word that is not such a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// No name, no colon, or control characters.
    #[error("give 'Name: value', in one line")]
    Form,
    /// A field that a copy sets.
    #[error("copy sets {0} itself")]
    Own(String),
}

impl FromStr for Field {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, FieldError> {
        let (name, value) = text.split_once(':').ok_or(FieldError::Form)?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) || value.contains(char::is_control) {
            return Err(FieldError::Form);
        }
        if OWN_FIELDS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(FieldError::Own(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), value: value.trim().to_owned() })
    }
}

impl Field {
    fn is_named(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl Client {
    /// The same, but connections are kept for 30 s after an answer whose content was taken to its
    /// end and ended by its length: 8 of an origin, 64 in all. Only GET and HEAD are sent over
    /// them; where the server closed one before the first byte of an answer, they are sent again
    /// once. A clone keeps its own.
    #[must_use]
    pub fn keeping_connections(self) -> Self {
        Self { keeping: Keeping::new(), ..self }
    }

    /// Reads the certificates of those it trusts, as the first request over TLS would: for a
    /// program that can read no files later.
    ///
    /// # Errors
    ///
    /// Those of reading them; `NotFound` if this machine has none.
    pub fn read_certificates(&self) -> io::Result<()> {
        self.config().map(drop)
    }

    /// A connection to a server, or to the proxy for it.
    pub(crate) fn connect<'i>(
        &self,
        url: &Url,
        sending: Sending,
        interrupt: &'i Interrupt,
    ) -> Result<Connection<'i>, ClientError> {
        let proxy = self.proxies.of(url)?;
        let to =
            proxy.as_ref().map_or(("connect to", url), |proxy| ("connect to the proxy", proxy));
        let mut connection = Connection::open(to, interrupt)?;
        if !url.is_tls {
            return Ok(connection);
        }
        if let Some(proxy) = proxy {
            tunnel(&mut connection, url, &proxy)?;
        }
        let config = self.config();
        config
            .and_then(|config| connection.secure(&url.host, config, sending))
            .map_err(|error| ClientError::open("make a TLS connection to", url, error))
    }

    fn config(&self) -> io::Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = self.trust.config()?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    /// The head of a request; `first` is the URL that the user gave, and `fields` are for its
    /// server.
    pub(crate) fn request(
        &self,
        (method, url): (&str, &Url),
        first: &Url,
        fields: &[Field],
        more: &str,
    ) -> Result<String, ClientError> {
        let proxy = self.proxies.of(url)?.filter(|_| !url.is_tls);
        let is_named = url.is_same_origin(first);
        let is_replaced = |known: &&Field| fields.iter().any(|field| field.is_named(&known.name));
        let own = self.fields.iter().filter(|known| !is_replaced(known)).chain(fields);
        let own: Vec<&Field> = own.filter(|_| is_named).collect();
        let known = url.credentials.as_ref().or_else(|| self.netrc.of(&url.host, is_named));
        let usual = [
            ("Host", Some(url.authority())),
            ("User-Agent", Some(AGENT.to_owned())),
            ("Accept", Some("*/*".to_owned())),
            ("Accept-Encoding", Some("identity".to_owned())),
            ("Authorization", known.map(Credentials::basic)),
            ("Proxy-Authorization", proxy.as_ref().and_then(authorization)),
        ];
        let target = match &proxy {
            Some(_) => format!("http://{}{}", url.authority(), url.target),
            None => url.target.clone(),
        };
        let mut request = format!("{method} {target} HTTP/1.1\r\n");
        for (name, value) in usual {
            let is_own = own.iter().any(|field| field.is_named(name));
            if let Some(value) = value.filter(|_| !is_own) {
                request += &format!("{name}: {value}\r\n");
            }
        }
        for Field { name, value } in own {
            request += &format!("{name}: {value}\r\n");
        }
        let close = if self.keeping.is_on() { "" } else { "Connection: close\r\n" };
        Ok(request + close + more + "\r\n")
    }
}

fn authorization(proxy: &Url) -> Option<String> {
    proxy.credentials.as_ref().map(Credentials::basic)
}

/// Asks a proxy for a connection to the server.
fn tunnel(connection: &mut Connection<'_>, url: &Url, proxy: &Url) -> Result<(), ClientError> {
    let server = url.address();
    let known = authorization(proxy);
    let known = known.map(|known| format!("Proxy-Authorization: {known}\r\n")).unwrap_or_default();
    let request = format!(
        "CONNECT {server} HTTP/1.1\r\nHost: {server}\r\nUser-Agent: {AGENT}\r\n{known}\r\n"
    );
    connection
        .write_all(request.as_bytes())
        .map_err(|error| ClientError::open("ask the proxy", proxy, error))?;
    let Head { status, reason, .. } = read_head(connection, proxy)?;
    if (200..300).contains(&status) {
        return Ok(());
    }
    let what = format!("the proxy {proxy} answered {status} {reason} to CONNECT {server}");
    Err(ClientError::Protocol { end: url.to_string(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        let fields = ["X-Token: a", "user-agent:me"].map(|field| field.parse().unwrap());
        Client { fields: fields.into(), ..Client::default() }
    }

    fn request(client: &Client, url: &str, first: &str) -> String {
        let (url, first) = (Url::parse(url).unwrap(), Url::parse(first).unwrap());
        client.request(("GET", &url), &first, &[], "Range: bytes=0-\r\n").unwrap()
    }

    #[test]
    fn a_field_of_the_user_replaces_the_usual_one_and_stays_with_its_server() {
        assert_eq!(
            request(&client(), "http://u:p@a:81/b?c", "http://a:81/"),
            "GET /b?c HTTP/1.1\r\nHost: a:81\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
             Authorization: Basic dTpw\r\nX-Token: a\r\nuser-agent: me\r\nConnection: close\r\n\
             Range: bytes=0-\r\n\r\n"
        );
        for other in ["http://b/", "https://a:81/", "http://a/"] {
            let request = request(&client(), other, "http://a:81/");
            assert!(!request.contains("X-Token") && request.contains("underpass/"), "{request}");
        }
    }

    #[test]
    fn a_proxy_gets_the_whole_url_and_its_own_credentials() {
        let proxies = Proxies::of_environment(|name| {
            (name == "all_proxy").then(|| "http://v:w@p".to_owned())
        });
        let client = Client { proxies, ..Client::default() };
        let plain = request(&client, "http://u:p@a/b", "http://a/");
        assert!(plain.starts_with("GET http://a/b HTTP/1.1\r\nHost: a\r\n"), "{plain}");
        assert!(plain.contains("\r\nProxy-Authorization: Basic djp3\r\n"), "{plain}");
        let secured = request(&client, "https://a/b", "https://a/");
        assert!(secured.starts_with("GET /b "), "{secured}");
        assert!(!secured.contains("Proxy-Authorization"), "{secured}");
    }

    #[test]
    fn fields_that_frame_a_message_are_not_the_users() {
        for text in ["", "a", ": b", "a b: c", "a: b\r\nc: d", "a\u{0}: b", "ä: b"] {
            assert_eq!(text.parse::<Field>(), Err(FieldError::Form), "{text}");
        }
        for text in ["Range: bytes=0-", "content-length: 1", "TE: x"] {
            assert!(matches!(text.parse::<Field>(), Err(FieldError::Own(_))), "{text}");
        }
    }
}
