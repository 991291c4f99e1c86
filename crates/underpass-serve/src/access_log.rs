//! The access log: one line an answer, in the combined format.
//!
//! Whatever a client sends is escaped: no control byte, quote or byte that is not ASCII reaches
//! the log as it is, so a line cannot be forged and a terminal not be driven.
//!
//! Source: Apache HTTP Server, mod_log_config ("combined", "Security Considerations").

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{REFERER, USER_AGENT};
use http::request::Parts;
use http::{HeaderValue, StatusCode, Version};
use underpass_daemon::log::Lines;
pub use underpass_daemon::log::Sink;

use crate::date;

/// A worker's end of the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Lines,
    /// The second that was formatted last, and its text: the same for thousands of lines.
    second: (u64, String),
}

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The client's address; a Unix socket has none.
    pub(crate) client: Option<IpAddr>,
    /// When the request came.
    pub(crate) time: SystemTime,
    pub(crate) request: Requested<'a>,
    /// What was answered.
    pub(crate) status: StatusCode,
    /// Bytes of content that were sent, without the head.
    pub(crate) content_bytes: u64,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requested<'a> {
    /// A request.
    Head(&'a Parts),
    /// The first line of what is not one.
    Line(&'a [u8]),
}

impl AccessLog {
    pub(crate) const fn new(lines: Lines) -> Self {
        Self { lines, second: (u64::MAX, String::new()) }
    }

    /// Whether lines go anywhere; if not, [`AccessLog::record`] does nothing.
    pub(crate) const fn is_on(&self) -> bool {
        self.lines.is_on()
    }

    /// Appends a line. Never waits.
    pub(crate) fn record(&mut self, line: &Line<'_>) {
        let Self { lines, second } = self;
        let secs = line.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if second.0 != secs {
            let date = i64::try_from(secs).ok().and_then(date::log_date);
            *second = (secs, date.unwrap_or_else(|| "-".into()));
        }
        lines.add(|batch| format(batch, &second.1, line));
    }

    /// Hands on what there is. Never waits: lines are dropped if the sink is too slow.
    pub(crate) fn flush(&mut self) {
        self.lines.flush();
    }
}

fn format(lines: &mut Vec<u8>, second: &str, line: &Line<'_>) {
    match line.client {
        Some(client) => append(lines, format_args!("{client}")),
        None => lines.push(b'-'),
    }
    append(lines, format_args!(" - - [{second}] \""));
    match line.request {
        Requested::Head(head) => request_line(lines, head),
        Requested::Line(text) => escape(lines, text),
    }
    append(lines, format_args!("\" {} {} \"", line.status.as_str(), line.content_bytes));
    let field_of = |name| match line.request {
        Requested::Head(head) => head.headers.get(name),
        Requested::Line(_) => None,
    };
    field(lines, field_of(REFERER));
    lines.extend_from_slice(b"\" \"");
    field(lines, field_of(USER_AGENT));
    lines.push(b'"');
}

fn request_line(lines: &mut Vec<u8>, request: &Parts) {
    escape(lines, request.method.as_str().as_bytes());
    lines.push(b' ');
    target(lines, request);
    lines.extend_from_slice(match request.version {
        Version::HTTP_10 => b" HTTP/1.0",
        Version::HTTP_2 => b" HTTP/2.0",
        _ => b" HTTP/1.1",
    });
}

/// The target as it was sent, apart from a fragment.
fn target(lines: &mut Vec<u8>, request: &Parts) {
    match request.uri.path_and_query() {
        Some(path) if request.uri.authority().is_none() => escape(lines, path.as_str().as_bytes()),
        _ => escape(lines, request.uri.to_string().as_bytes()),
    }
}

fn field(lines: &mut Vec<u8>, value: Option<&HeaderValue>) {
    match value {
        Some(value) if !value.is_empty() => escape(lines, value.as_bytes()),
        _ => lines.push(b'-'),
    }
}

fn append(lines: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    lines.write_fmt(text).expect("writing to memory does not fail");
}

/// Control bytes, quotes, backslashes and what is not ASCII become `\xHH`.
fn escape(lines: &mut Vec<u8>, text: &[u8]) {
    for &byte in text {
        if matches!(byte, b'"' | b'\\') || !(b' '..=b'~').contains(&byte) {
            append(lines, format_args!("\\x{byte:02X}"));
        } else {
            lines.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use underpass_daemon::log::OpenLog;

    use super::*;

    fn request(target: &str, fields: &[(&str, &[u8])]) -> Parts {
        let mut request = Request::get(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn line(request: &Parts) -> Line<'_> {
        Line {
            client: Some("192.0.2.7".parse().unwrap()),
            time: UNIX_EPOCH + Duration::from_secs(784_111_777),
            request: Requested::Head(request),
            status: StatusCode::OK,
            content_bytes: 4096,
        }
    }

    fn logged(lines: &[Line<'_>]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = OpenLog::open(&Sink::File(path.clone())).unwrap();
        let log = log.start(|error| panic!("{error}")).unwrap();
        let mut access_log = AccessLog::new(log.lines());
        lines.iter().for_each(|line| access_log.record(line));
        drop(access_log);
        assert_eq!(log.close(), 0);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_is_in_the_combined_format() {
        let curl = request("/a/b?c=d", &[("user-agent", b"curl/8"), ("referer", b"http://x/")]);
        let bare = request("http://host/%20", &[("user-agent", b"")]);
        let unix = Line { client: None, status: StatusCode::NOT_FOUND, ..line(&bare) };
        assert_eq!(
            logged(&[line(&curl), unix]),
            "192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] \"GET /a/b?c=d HTTP/1.1\" 200 4096 \
             \"http://x/\" \"curl/8\"\n\
             - - - [06/Nov/1994:08:49:37 +0000] \"GET http://host/%20 HTTP/1.1\" 404 4096 \
             \"-\" \"-\"\n",
        );
    }

    #[test]
    fn nothing_a_client_sends_ends_a_line_or_a_quote() {
        let hostile =
            request("/\"\\", &[("user-agent", b"a\"b\\c\td\xff"), ("referer", b"\xc2\x9b")]);
        let text = logged(&[line(&hostile)]);
        assert!(text.contains("\"GET /\\x22\\x5C HTTP/1.1\""), "{text}");
        assert!(text.ends_with("\"\\xC2\\x9B\" \"a\\x22b\\x5Cc\\x09d\\xFF\"\n"), "{text}");
    }

    #[test]
    fn each_second_has_its_own_text() {
        let request = request("/", &[]);
        let later = Line { time: UNIX_EPOCH + Duration::from_secs(784_111_778), ..line(&request) };
        let text = logged(&[line(&request), later]);
        let seconds: Vec<_> = text.lines().map(|line| &line[33..35]).collect();
        assert_eq!(seconds, ["37", "38"]);
    }
}
