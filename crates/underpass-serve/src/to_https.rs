//! Listeners in the clear next to those of TLS: they send their clients to https.
//!
//! The one thing that they serve is what a certificate authority asks for over HTTP: the files by
//! which webroot clients, such as certbot, prove whose a host is. These are for everyone, whatever
//! else the site asks of a client.
//!
//! Source: RFC 9110 §9.3.6 (CONNECT), §9.3.7 (OPTIONS), §15.4.9 (308); RFC 8555 §8.3 (http-01);
//! RFC 6797 §7.2 (no HSTS in the clear).

use http::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use http::{Method, StatusCode, Uri};
use underpass_daemon::endpoint::Endpoint;

use crate::answer::Answer;
use crate::host::split;
use crate::lookup::FilePath;
use crate::refusal::check_message;
use crate::server::BindError;
use crate::stations::Asked;

/// Where the files are that a certificate authority asks for.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// The methods of what is served here.
const ALLOW: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// The port of https that is not said.
const HTTPS: u16 = 443;

/// Which listeners are in the clear.
#[derive(Debug, Clone, Default)]
pub struct ToHttps {
    /// Where they listen: the last of the endpoints that the server was bound to. Of sockets that
    /// were passed, those with the same ports or paths.
    pub listen: Vec<Endpoint>,
    /// The port that clients are sent to. Without one it is that of the first TLS listener, or 443
    /// if one has that.
    pub port: Option<u16>,
}

/// The same of a server that is bound.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClearListeners {
    numbers: Vec<usize>,
    port: u16,
}

impl ClearListeners {
    /// `passed` says whether a service manager has chosen the endpoints.
    pub(crate) fn of(
        wanted: &ToHttps,
        endpoints: &[Endpoint],
        passed: bool,
    ) -> Result<Self, BindError> {
        let numbers = if passed {
            let at = |it: &Endpoint| endpoints.iter().position(|other| is_for(it, other));
            let at = |it: &Endpoint| at(it).ok_or_else(|| BindError::NotPassed(it.clone()));
            wanted.listen.iter().map(at).collect::<Result<_, _>>()?
        } else {
            (endpoints.len() - wanted.listen.len()..endpoints.len()).collect::<Vec<_>>()
        };
        let is_secured = |(number, _): &(usize, &Endpoint)| !numbers.contains(number);
        let secured: Vec<_> = endpoints.iter().enumerate().filter(is_secured).collect();
        if let Some((_, unix)) = secured.iter().find(|(_, it)| matches!(it, Endpoint::Unix(_))) {
            return Err(BindError::TlsOver((*unix).clone()));
        }
        if secured.is_empty() {
            return Err(BindError::OnlyClear);
        }
        let mut ports = secured.iter().filter_map(|(_, it)| Some(it.tcp()?.port()));
        let first = ports.next().unwrap_or(HTTPS);
        let port = if ports.any(|port| port == HTTPS) { HTTPS } else { first };
        Ok(Self { numbers, port: wanted.port.unwrap_or(port) })
    }

    /// The port to which those are sent who come through this listener, if it is in the clear.
    pub(crate) fn port_of(&self, listener: usize) -> Option<u16> {
        self.numbers.contains(&listener).then_some(self.port)
    }
}

/// Whether a socket that was passed is the one that was meant.
fn is_for(wanted: &Endpoint, passed: &Endpoint) -> bool {
    match (wanted, passed) {
        (Endpoint::Tcp(wanted), Endpoint::Tcp(passed)) => wanted.port() == passed.port(),
        (Endpoint::Name(wanted), Endpoint::Tcp(passed)) => wanted.port() == passed.port(),
        _ => wanted == passed,
    }
}

/// What a certificate authority asks for: a token of base64url in the one directory for that.
pub(crate) fn challenge(asked: &Asked<'_>) -> Option<FilePath> {
    let path = asked.head.uri.path();
    let token = path.strip_prefix(CHALLENGES).filter(|token| !token.is_empty())?;
    let is_read = matches!(asked.head.method, Method::GET | Method::HEAD);
    let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_right = is_read && token.bytes().all(is_of_token) && check_message(asked.head).is_ok();
    if is_right { path.parse().ok() } else { None }
}

/// What the file says, as it leaves in the clear.
pub(crate) fn in_the_clear(mut answer: Answer) -> Answer {
    answer.headers.remove(STRICT_TRANSPORT_SECURITY);
    answer
}

/// The answer to everything else. `port` is that of https.
pub(crate) fn answer(asked: &Asked<'_>, port: u16) -> Answer {
    let (method, uri) = (&asked.head.method, &asked.head.uri);
    let answer = match check_message(asked.head) {
        Err(refusal) => Answer::error(refusal.status()),
        Ok(()) if *method == Method::CONNECT => Answer::method_not_allowed(ALLOW),
        Ok(()) if *method == Method::OPTIONS && uri.path() == "*" => Answer::options(ALLOW),
        Ok(()) => match asked.host().and_then(|host| location(host, uri, port)) {
            Some(location) => Answer::redirect(StatusCode::PERMANENT_REDIRECT, location),
            // HTTP/1.0 may name no host; where its client thinks to be is not known.
            None => Answer::error(StatusCode::BAD_REQUEST),
        },
    };
    if *method == Method::HEAD { answer.without_content() } else { answer }
}

/// The same host, path and query over https. The host has been checked, and the path comes after
/// it, so that none can be read as another host.
fn location(host: &[u8], uri: &Uri, port: u16) -> Option<HeaderValue> {
    let target = uri.path_and_query()?.as_str();
    let (host, _) = split(host)?;
    let is_sendable = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic());
    let host = std::str::from_utf8(host).ok()?;
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let location = HeaderValue::try_from(format!("https://{host}{port}{target}"));
    location.ok().filter(|_| is_sendable)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(line: &str, host: Option<&str>) -> (u16, Option<String>) {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(target);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        if host.is_none() {
            head.version = http::Version::HTTP_10;
        }
        let asked = Asked { head: &head, client: None, server_name: None, https_port: Some(8443) };
        let answer = answer(&asked, 8443);
        assert!(method != "HEAD" || answer.content.is_empty(), "{line}");
        let location = answer.headers.get("location").map(|it| it.to_str().unwrap().to_owned());
        (answer.status.as_u16(), location)
    }

    #[test]
    fn a_client_is_sent_to_the_same_host_and_path() {
        for (line, host, location) in [
            ("GET /", "x", "https://x:8443/"),
            ("HEAD /a%20b/?c=d&e", "x", "https://x:8443/a%20b/?c=d&e"),
            ("POST /a?", "x.", "https://x.:8443/a?"),
            ("OPTIONS /a", "x", "https://x:8443/a"),
            ("GET /a", "X:80", "https://X:8443/a"),
            ("GET /a", "[::1]:8080", "https://[::1]:8443/a"),
            ("GET http://y:81/a?b", "x", "https://y:8443/a?b"),
            ("GET http://y", "x", "https://y:8443/"),
            ("GET //evil.example/..", "x", "https://x:8443//evil.example/.."),
            ("GET /%0d%0aa:b", "x", "https://x:8443/%0d%0aa:b"),
            ("GET /@evil.example", "x", "https://x:8443/@evil.example"),
        ] {
            assert_eq!(asked(line, Some(host)), (308, Some(location.into())), "{line}");
        }
        assert_eq!(asked("GET http://y/a", None), (308, Some("https://y:8443/a".into())));
    }

    #[test]
    fn what_cannot_be_sent_there_is_refused() {
        for (line, host, status) in [
            ("GET /", None, 400),
            ("GET /", Some("x/y"), 400),
            ("GET /", Some("u@x"), 400),
            ("GET /", Some(""), 400),
            ("GET http://u@x/", Some("x"), 400),
            ("GET *", Some("x"), 400),
            ("CONNECT x:80", Some("x:80"), 405),
            ("OPTIONS *", Some("x"), 204),
        ] {
            assert_eq!(asked(line, host), (status, None), "{line} {host:?}");
        }
    }

    #[test]
    fn https_has_its_own_port_unless_that_is_said() {
        let uri = "/a".parse().unwrap();
        assert_eq!(location(b"x:80", &uri, HTTPS).unwrap(), "https://x/a");
        let endpoints: Vec<Endpoint> =
            ["1", "443", "unix:/s", "80"].map(|it| it.parse().unwrap()).into();
        let of = |last: usize, port, passed| {
            let listen = endpoints[endpoints.len() - last..].to_vec();
            ClearListeners::of(&ToHttps { listen, port }, &endpoints, passed)
        };
        for passed in [false, true] {
            let clear = of(2, None, passed).unwrap();
            assert_eq!([0, 1, 2, 3].map(|it| clear.port_of(it).unwrap_or(0)), [0, 0, 443, 443]);
            assert_eq!(of(3, None, passed).unwrap().port_of(3), Some(1));
            assert_eq!(of(2, Some(8443), passed).unwrap().port_of(2), Some(8443));
            assert!(matches!(of(1, None, passed), Err(BindError::TlsOver(_))));
            assert!(matches!(of(4, None, passed), Err(BindError::OnlyClear)));
        }
        let wanted = ToHttps { listen: vec!["0.0.0.0:81".parse().unwrap()], port: None };
        let missing = ClearListeners::of(&wanted, &endpoints[..2], true);
        assert!(matches!(missing, Err(BindError::NotPassed(it)) if it == wanted.listen[0]));
    }

    #[test]
    fn a_challenge_is_one_token_that_is_read() {
        for (method, path, is_one) in [
            ("GET", "aZ0-_", true),
            ("HEAD", "a", true),
            ("POST", "a", false),
            ("PUT", "a", false),
            ("GET", "", false),
            ("GET", "a/b", false),
            ("GET", "..", false),
            ("GET", "%61", false),
            ("GET", "a.html", false),
        ] {
            let uri = format!("{CHALLENGES}{path}");
            let request = Request::builder().method(method).uri(uri).header("host", "x");
            let head = request.body(()).unwrap().into_parts().0;
            let asked = Asked { head: &head, client: None, server_name: None, https_port: None };
            assert_eq!(challenge(&asked).is_some(), is_one, "{method} {path}");
        }
    }
}
