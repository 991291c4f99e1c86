//! Requests that ask for a file and nothing else, as most do.
//!
//! What is not plain is none of this module's business: hyper reads it anew, refuses what is to be
//! refused, and answers what has conditions, ranges or content. So this reader is stricter than
//! the grammar wherever that costs nothing.
//!
//! Source: RFC 9112 §2.1, §3; RFC 9110 §7.2 (Host), §7.6.1 (Connection).

use httparse::{EMPTY_HEADER, Header, Request, Status};

use crate::host::is_host;

/// Fields of a head that are read; most clients send fewer than ten.
const FIELDS_MAX: usize = 32;

/// Fields by which an answer may differ, or a connection.
const DECISIVE: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "origin",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A `GET` or `HEAD` of HTTP/1.1 in origin-form, without a field that decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PlainRequest<'b> {
    pub(crate) is_head: bool,
    /// Path and query, as they were sent.
    pub(crate) target: &'b str,
    /// The value of `Host`.
    pub(crate) host: &'b [u8],
    pub(crate) referer: Option<&'b [u8]>,
    pub(crate) user_agent: Option<&'b [u8]>,
}

impl<'b> PlainRequest<'b> {
    /// Reads `bytes`, which are one whole head and no more.
    pub(crate) fn read(bytes: &'b [u8]) -> Option<Self> {
        // Other methods, and other forms of a target, are hyper's.
        if !bytes.starts_with(b"GET /") && !bytes.starts_with(b"HEAD /") {
            return None;
        }
        let mut fields = [EMPTY_HEADER; FIELDS_MAX];
        let mut request = Request::new(&mut fields);
        if request.parse(bytes) != Ok(Status::Complete(bytes.len())) || request.version != Some(1) {
            return None;
        }
        let (method, target) = (request.method?, request.path?);
        if !target.bytes().all(is_plain) {
            return None;
        }
        let (is_head, host) = (method == "HEAD", &[][..]);
        let mut plain = Self { is_head, target, host, referer: None, user_agent: None };
        let mut host = None;
        for field in &*request.headers {
            plain.note(field, &mut host)?;
        }
        plain.host = host?;
        is_host(plain.host).then_some(plain)
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &'b str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// Nothing, if this field makes the request one that is not plain.
    fn note(&mut self, field: &Header<'b>, host: &mut Option<&'b [u8]>) -> Option<()> {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        match field.name.len() {
            4 if is("host") => return host.replace(field.value).is_none().then_some(()),
            7 if is("referer") => self.referer = self.referer.or(Some(field.value)),
            10 if is("user-agent") => self.user_agent = self.user_agent.or(Some(field.value)),
            // The only option of a connection that changes nothing in HTTP/1.1.
            10 if is("connection") => {
                return field.value.eq_ignore_ascii_case(b"keep-alive").then_some(());
            }
            _ if DECISIVE.iter().any(|name| is(name)) => return None,
            _ => {}
        }
        Some(())
    }
}

/// What may stand in a path or query unencoded (RFC 3986 §3.3), and needs no decoding.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'/' | b'-' | b'.' | b'_' | b'~' | b'?' | b'=' | b'&' | b'+' | b',' | b'@'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_request_is_read_with_what_the_log_wants_of_it() {
        let head = b"GET /a/b.txt?c=d HTTP/1.1\r\nUser-Agent: curl/8\r\nHOST: x:80\r\n\
                     Connection: Keep-Alive\r\nReferer: http://y/\r\nX-Any: thing\r\n\r\n";
        let request = PlainRequest::read(head).unwrap();
        assert_eq!((request.is_head, request.target), (false, "/a/b.txt?c=d"));
        assert_eq!((request.path(), request.host), ("/a/b.txt", &b"x:80"[..]));
        assert_eq!(request.user_agent, Some(&b"curl/8"[..]));
        assert_eq!(request.referer, Some(&b"http://y/"[..]));
        let head = b"HEAD / HTTP/1.1\r\nhost: x\r\naccept-encoding: br\r\n\r\n";
        let request = PlainRequest::read(head).unwrap();
        assert_eq!((request.is_head, request.path()), (true, "/"));
    }

    #[test]
    fn anything_else_is_left_to_those_who_know_more() {
        let line = "GET / HTTP/1.1\r\n";
        for head in [
            "",
            "GET / HTTP/1.1\r\nHost: x\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\r\nG",
            "GET / HTTP/1.0\r\nHost: x\r\n\r\n",
            "GET /%2e HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n",
            "get / HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
            &format!("{line}\r\n"),
            &format!("{line}Host: x\r\nHost: x\r\n\r\n"),
            &format!("{line}Host: x/y\r\n\r\n"),
            &format!("{line}Host: x\r\nConnection: close\r\n\r\n"),
            &format!("{line}Host: x\r\nConnection: keep-alive, upgrade\r\n\r\n"),
            &format!("{line}Host: x\r\nrange: bytes=0-\r\n\r\n"),
            &format!("{line}Host: x\r\nIf-None-Match: *\r\n\r\n"),
            &format!("{line}Host: x\r\nContent-Length: 0\r\n\r\n"),
            &format!("{line}Host: x\r\nTransfer-Encoding: chunked\r\n\r\n"),
            &format!("{line}Host: x\r\nAuthorization: Basic eDp5\r\n\r\n"),
            &format!("{line}Host: x\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX)),
        ] {
            assert_eq!(PlainRequest::read(head.as_bytes()), None, "{head:?}");
        }
    }
}
