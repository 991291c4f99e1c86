//! The access log: one line an answer, in the combined format or in JSON.
//!
//! Whatever a client sends is escaped: no control character or quote reaches the log as it is, so
//! a line cannot be forged and a terminal not be driven.

mod combined;
mod json;

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::HeaderName;
use http::request::Parts;
use http::{StatusCode, Uri, Version};
use underpass_daemon::log::Lines;
pub use underpass_daemon::log::Sink;

use crate::account::Account;
use crate::cached::Cached;
use crate::date;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Apache's combined format.
    #[default]
    Combined,
    /// One JSON object a line, with how the bytes left.
    Json,
}

/// A worker's end of the log.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: Lines,
    format: Format,
    /// The second that was formatted last, and its text: the same for thousands of lines.
    second: (u64, String),
}

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    /// The client's address; a Unix socket has none.
    pub(crate) client: Option<IpAddr>,
    /// The name whose password came with the request, if it was asked for.
    pub(crate) user: Option<&'a str>,
    /// When the request came.
    pub(crate) time: SystemTime,
    pub(crate) request: Requested<'a>,
    /// What was answered.
    pub(crate) status: StatusCode,
    /// Bytes of content that were sent, without the head.
    pub(crate) content_bytes: u64,
    /// How all of it left.
    pub(crate) account: Account,
    /// Why the client did not get all of it.
    pub(crate) cut: Option<Cut>,
    /// What became of a request for what an origin has.
    pub(crate) cached: Option<Cached>,
    /// From the request to the last byte.
    pub(crate) took: Duration,
}

/// Why a response was cut short by this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The file changed, or could not be read.
    File,
    /// The client took too little of it.
    Client,
    /// The rest did not come from where it is kept.
    Origin,
}

impl Cut {
    pub(crate) const ALL: [Self; 3] = [Self::File, Self::Client, Self::Origin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Client => "client",
            Self::Origin => "origin",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Requested<'a> {
    /// A request.
    Head(&'a Parts),
    /// The first line of what is not one.
    Line(&'a [u8]),
}

impl<'a> Requested<'a> {
    fn field(&self, name: &HeaderName) -> Option<&'a [u8]> {
        let Self::Head(head) = *self else { return None };
        head.headers.get(name).map(|value| value.as_bytes())
    }
}

impl AccessLog {
    pub(crate) const fn new(lines: Lines) -> Self {
        Self { lines, format: Format::Combined, second: (u64::MAX, String::new()) }
    }

    pub(crate) fn in_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Whether lines go anywhere; if not, [`AccessLog::record`] does nothing.
    pub(crate) const fn is_on(&self) -> bool {
        self.lines.is_on()
    }

    /// Appends a line. Never waits.
    pub(crate) fn record(&mut self, line: &Line<'_>) {
        let Self { lines, format, second } = self;
        let spell = match format {
            Format::Combined => date::log_date,
            Format::Json => date::rfc3339,
        };
        let secs = line.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if second.0 != secs {
            let date = i64::try_from(secs).ok().and_then(spell);
            *second = (secs, date.unwrap_or_else(|| "-".into()));
        }
        lines.add(|batch| match format {
            Format::Combined => combined::format(batch, &second.1, line),
            Format::Json => json::format(batch, &second.1, line),
        });
    }

    /// Hands on what there is. Never waits: lines are dropped if the sink is too slow.
    pub(crate) fn flush(&mut self) {
        self.lines.flush();
    }
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The target as it was sent, apart from a fragment.
fn target(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query() {
        Some(path) if uri.authority().is_none() => path.as_str().into(),
        _ => uri.to_string().into(),
    }
}

fn append(lines: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    lines.write_fmt(text).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use underpass::Errno;
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
            user: None,
            time: UNIX_EPOCH + Duration::from_secs(784_111_777),
            request: Requested::Head(request),
            status: StatusCode::OK,
            content_bytes: 4096,
            account: Account {
                bytes: [160, 4096, 0, 0],
                cold_waits: 2,
                cold_time: Duration::from_micros(1_234_567),
                fallbacks: 1,
                errno: Some(Errno::INVAL),
            },
            cut: None,
            cached: None,
            took: Duration::from_micros(42),
        }
    }

    fn logged(lines: &[Line<'_>]) -> String {
        logged_in(Format::Combined, lines)
    }

    fn logged_in(format: Format, lines: &[Line<'_>]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        let log = OpenLog::open(&Sink::File(path.clone())).unwrap();
        let log = log.start(|error| panic!("{error}")).unwrap();
        let mut access_log = AccessLog::new(log.lines()).in_format(format);
        lines.iter().for_each(|line| access_log.record(line));
        drop(access_log);
        assert_eq!(log.close(), 0);
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_line_is_in_the_combined_format() {
        let curl = request("/a/b?c=d", &[("user-agent", b"curl/8"), ("referer", b"http://x/")]);
        let bare = request("http://host/%20", &[("user-agent", b"")]);
        let unix =
            Line { client: None, user: Some(""), status: StatusCode::NOT_FOUND, ..line(&bare) };
        assert_eq!(
            logged(&[Line { user: Some("Jos\u{e9} \"x\""), ..line(&curl) }, unix]),
            "192.0.2.7 - Jos\\xC3\\xA9\\x20\\x22x\\x22 [06/Nov/1994:08:49:37 +0000] \
             \"GET /a/b?c=d HTTP/1.1\" 200 4096 \
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

    #[test]
    fn a_line_of_json_has_all_keys_and_how_the_bytes_left() {
        let curl = request("/a?b", &[("host", b"x:80"), ("user-agent", b"curl/8")]);
        let clear = Line {
            client: None,
            request: Requested::Line(b"\x16\x03\xff"),
            status: StatusCode::BAD_REQUEST,
            account: Account::of_memory(7, None),
            cut: Some(Cut::File),
            cached: Some(Cached {
                result: "miss",
                origin: Some(Duration::from_micros(2_500)),
                waited: Some(Duration::from_millis(3)),
            }),
            ..line(&curl)
        };
        assert_eq!(
            logged_in(Format::Json, &[Line { user: Some("a \"b"), ..line(&curl) }, clear]),
            "{\"time\":\"1994-11-06T08:49:37.000Z\",\"client\":\"192.0.2.7\",\
             \"user\":\"a \\\"b\",\"method\":\"GET\",\"target\":\"/a?b\",\
             \"protocol\":\"HTTP/1.1\",\"host\":\"x:80\",\"referer\":null,\
             \"user_agent\":\"curl/8\",\"status\":200,\"bytes\":4096,\"sent\":{\"copy\":160,\
             \"sendfile\":4096,\"ktls\":0,\"rustls\":0},\"cold_waits\":2,\"cold_ms\":1234.567,\
             \"fallbacks\":1,\"errno\":\"EINVAL\",\"cut\":null,\"cache\":null,\
             \"origin_ms\":null,\"waited_ms\":null,\"ms\":0.042}\n\
             {\"time\":\"1994-11-06T08:49:37.000Z\",\"client\":null,\"user\":null,\"method\":null,\
             \"target\":\"\\u0016\\u0003\u{fffd}\",\"protocol\":null,\"host\":null,\
             \"referer\":null,\"user_agent\":null,\"status\":400,\"bytes\":4096,\
             \"sent\":{\"copy\":7,\"sendfile\":0,\"ktls\":0,\
             \"rustls\":0},\"cold_waits\":0,\"cold_ms\":0.000,\
             \"fallbacks\":0,\"errno\":null,\"cut\":\"file\",\"cache\":\"miss\",\
             \"origin_ms\":2.500,\"waited_ms\":3.000,\"ms\":0.042}\n",
        );
    }

    #[test]
    fn nothing_a_client_sends_ends_an_object_or_a_string() {
        let hostile =
            request("/\"\\", &[("user-agent", b"a\"b\\c\td\xff"), ("referer", b"\xc2\x9b")]);
        let text = logged_in(Format::Json, &[line(&hostile)]);
        assert!(text.contains(r#""target":"/\"\\","#), "{text}");
        assert!(
            text.contains("\"referer\":\"\\u009b\",\"user_agent\":\"a\\\"b\\\\c\\u0009d\u{fffd}\""),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }
}
