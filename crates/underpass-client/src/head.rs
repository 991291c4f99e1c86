//! The head of a response: status, phrase, fields.
//!
//! What RFC 9112 asks of a client is taken: folded fields, lines that end in a bare LF, and space
//! after a field's name. A field that stands there twice is taken if it says the same both times.
//!
//! Source: RFC 9112 §2.2, §4, §5, §5.2, §6.1, §6.3; RFC 9110 §8.6, §14.4.

use std::fmt;
use std::time::{Duration, SystemTime};

use httparse::ParserConfig;

/// The most fields of one head.
const FIELDS_MAX: usize = 128;

const END: [&[u8]; 2] = [b"\n\r\n", b"\n\n"];

/// How the content of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Framing {
    pub(crate) const fn len(self) -> Option<u64> {
        if let Self::Length(len) = self { Some(len) } else { None }
    }
}

/// The head of a response.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub(crate) status: u16,
    pub(crate) reason: String,
    /// Whether the connection may be used again after it.
    pub(crate) is_persistent: bool,
    fields: Vec<Field>,
}

#[derive(Debug, PartialEq, Eq)]
struct Field {
    name: String,
    value: String,
    /// The value as it came, if it is not UTF-8.
    bytes: Option<Vec<u8>>,
}

/// Where a part is in a representation: the first and the last byte, and the length of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) total: Option<u64>,
}

impl Head {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if !is_http(bytes) {
            return Err(not_http(bytes));
        }
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let mut parser = ParserConfig::default();
        parser.allow_obsolete_multiline_headers_in_responses(true);
        parser.allow_spaces_after_header_name_in_responses(true);
        match parser.parse_response(&mut response, bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) => return Err("the answer's head is cut short".into()),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(format!("the head of its answer has more than {FIELDS_MAX} fields"));
            }
            Err(_) => return Err(not_http(bytes)),
        }
        let fields = response.headers.iter().map(|field| Field::new(field.name, field.value));
        let mut head = Self {
            status: response.code.unwrap_or(0),
            reason: response.reason.unwrap_or_default().to_owned(),
            is_persistent: response.version == Some(1),
            fields: fields.collect(),
        };
        let closes = head.list("connection").iter().any(|it| it.eq_ignore_ascii_case("close"));
        head.is_persistent &= !closes;
        Ok(head)
    }

    /// The phrase after the status code, as the server sent it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Names and values as they came, in order; a fold is one space.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|Field { name, value, bytes }| {
            (name.as_str(), bytes.as_deref().unwrap_or(value.as_bytes()))
        })
    }

    /// The value of the first field of a name, which has no case; what is not UTF-8 is replaced.
    #[must_use]
    pub fn field(&self, name: &'static str) -> Option<&str> {
        self.all(name).next()
    }

    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let is_it = move |field: &&Field| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(is_it).map(|field| field.value.as_str())
    }

    /// The elements of a field that is a list, wherever it is divided.
    fn list(&self, name: &'static str) -> Vec<&str> {
        self.all(name).flat_map(|value| value.split(',').map(str::trim)).collect()
    }

    /// How the content ends. Two lengths that differ, or a length and chunks, are refused: a proxy
    /// in between may have used the other one (RFC 9112 §6.3).
    pub(crate) fn framing(&self) -> Result<Framing, &'static str> {
        let (codings, lengths) = (self.list("transfer-encoding"), self.list("content-length"));
        match (codings.as_slice(), lengths.as_slice()) {
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            ([_, ..], []) => Err("it uses a transfer coding other than chunked"),
            ([_, ..], _) => Err("it gives both a length and a transfer coding"),
            ([], []) => Ok(Framing::UntilClose),
            ([], [len, others @ ..]) if is_number(len) && others.iter().all(|it| it == len) => {
                len.parse().map(Framing::Length).map_err(|_| "its Content-Length is beyond 2^64")
            }
            ([], _) => Err("its Content-Length is not one number"),
        }
    }

    /// Where the content of a 206 is, if it is one range.
    pub(crate) fn content_range(&self) -> Option<ContentRange> {
        let mut ranges = self.all("content-range").map(ContentRange::parse);
        let first = ranges.next()??;
        ranges.all(|range| range == Some(first)).then_some(first)
    }

    /// How long the server wants not to be asked: seconds, or until a date (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.field("retry-after")?;
        let until = || httpdate::parse_http_date(text).ok();
        let date = || until().map(|until| until.duration_since(now).unwrap_or_default());
        number(text).map(Duration::from_secs).or_else(date)
    }

    /// The complete length in a 416.
    pub(crate) fn complete_length(&self) -> Option<u64> {
        number(of_bytes(self.field("content-range")?)?.strip_prefix("*/")?)
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total.map_or_else(|| "*".to_owned(), |total| total.to_string());
        write!(f, "{}-{}/{total}", self.first, self.last)
    }
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = of_bytes(text)?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = if total == "*" { None } else { Some(number(total)?) };
        let is_one = first <= last && last < total.unwrap_or(u64::MAX);
        is_one.then_some(Self { first, last, total })
    }
}

/// What follows the unit, whose name has no case (RFC 9110 §14.1).
fn of_bytes(text: &str) -> Option<&str> {
    let (unit, range) = text.split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then_some(range.trim())
}

fn number(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().ok())?
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Field {
    fn new(name: &str, value: &[u8]) -> Self {
        let (name, value) = (name.to_owned(), unfolded(value));
        match String::from_utf8(value) {
            Ok(value) => Self { name, value, bytes: None },
            Err(error) => {
                let value = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Self { name, value, bytes: Some(error.into_bytes()) }
            }
        }
    }
}

/// A value on one line: each fold stands for a space (RFC 9112 §5.2).
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    lines.collect::<Vec<_>>().join(&b' ').trim_ascii().to_vec()
}

/// Where a head ends; the first `old` bytes are known not to contain its end.
pub(crate) fn head_end(head: &[u8], old: usize) -> Option<usize> {
    let from = old.saturating_sub(END[0].len() - 1);
    let ends = (from..head.len()).filter(|at| head[*at] == b'\n');
    ends.flat_map(|at| END.map(|end| head[at..].starts_with(end).then_some(at + end.len())))
        .find_map(|end| end)
}

/// Whether a head may begin like this.
pub(crate) fn is_http(start: &[u8]) -> bool {
    start.trim_ascii_start().iter().zip(b"HTTP/1.").all(|(a, b)| a == b)
}

/// What to say of a server that speaks another protocol, or none.
fn not_http(start: &[u8]) -> String {
    let start = start.trim_ascii_start();
    let line = start.split(|byte| byte.is_ascii_control()).next().unwrap_or_default();
    let line = String::from_utf8_lossy(&line[..line.len().min(60)]);
    format!("what it answered is not HTTP/1.1; it begins with '{line}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &str) -> Head {
        Head::parse(format!("HTTP/1.1 206 Part\r\n{fields}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_end_of_the_content_is_found_or_refused() {
        for (fields, framing) in [
            ("", Ok(Framing::UntilClose)),
            ("content-length: 12\r\n", Ok(Framing::Length(12))),
            ("Content-Length : 12\r\n", Ok(Framing::Length(12))),
            ("Content-Length: 12\r\nCONTENT-LENGTH: 12\r\n", Ok(Framing::Length(12))),
            ("Content-Length: 12, 12\r\n", Ok(Framing::Length(12))),
            ("Content-Length:\r\n 12\r\n", Ok(Framing::Length(12))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
        ] {
            assert_eq!(head(fields).framing(), framing, "{fields}");
        }
        for fields in [
            "Content-Length: 12\r\nContent-Length: 13\r\n",
            "Content-Length: 12, 13\r\n",
            "Content-Length: 12,\r\n",
            "Content-Length: 12\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1 2\r\n",
            "Content-Length: \r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert!(head(fields).framing().is_err(), "{fields}");
        }
    }

    #[test]
    fn ranges_are_read() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        for (fields, wanted) in [
            ("Content-Range: bytes 5-9/100\r\n", range(5, 9, Some(100))),
            ("content-range: BYTES 5-9/*\r\n", range(5, 9, None)),
            ("Content-Range: bytes 0-0/1\r\nContent-Range: Bytes 0-0/1\r\n", range(0, 0, Some(1))),
            ("Content-Range: bytes\r\n\t5-9/100\r\n", range(5, 9, Some(100))),
            ("Content-Range: bytes 0-0/1\r\nContent-Range: bytes 0-0/2\r\n", None),
            ("Content-Range: items 5-9/100\r\n", None),
            ("Content-Range: bytes 9-5/100\r\n", None),
            ("Content-Range: bytes 5-100/100\r\n", None),
            ("Content-Range: bytes 5-18446744073709551615/*\r\n", None),
            ("Content-Range: bytes +5-9/100\r\n", None),
            ("Content-Range: bytes 5-9\r\n", None),
            ("Content-Range: bytes */100\r\n", None),
            ("", None),
        ] {
            assert_eq!(head(fields).content_range(), wanted, "{fields}");
        }
        assert_eq!(head("Content-Range: Bytes */7\r\n").complete_length(), Some(7));
        assert_eq!(head("Content-Range: bytes 0-1/7\r\n").complete_length(), None);
    }

    #[test]
    fn a_folded_field_is_one_line_and_the_others_are_theirs() {
        let folded = head("X: a\r\n b\r\n\tc \r\nETag: \"x\"\r\n");
        assert_eq!((folded.field("x"), folded.field("etag")), (Some("a b c"), Some("\"x\"")));
        assert_eq!((folded.status, folded.reason.as_str()), (206, "Part"));
    }

    #[test]
    fn a_server_says_how_long_it_wants_not_to_be_asked() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let now = httpdate::parse_http_date(date).unwrap();
        let after = |text: &str, now| head(&format!("Retry-After: {text}\r\n")).retry_after(now);
        assert_eq!(after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(after(date, now - Duration::from_secs(7)), Some(Duration::from_secs(7)));
        assert_eq!(after(date, now + Duration::from_secs(7)), Some(Duration::ZERO));
        assert_eq!(after("soon", now), None);
    }

    #[test]
    fn a_head_ends_at_its_empty_line_whatever_ends_its_lines() {
        for (text, end) in [
            ("a\r\n\r\nb", Some(5)),
            ("a\n\nb", Some(3)),
            ("a\n\r\nb", Some(4)),
            ("a\r\n\nb", Some(4)),
            ("a\r\nb\r\n", None),
            ("a\r\rb", None),
        ] {
            for old in 0..end.unwrap_or(text.len()) {
                assert_eq!(head_end(text.as_bytes(), old), end, "{text:?} from {old}");
            }
        }
        assert_eq!(
            Head::parse(b"HTTP/1.0 200 OK\nETag: \"x\"\n\n").unwrap().field("etag"),
            Some("\"x\"")
        );
    }

    #[test]
    fn what_is_no_head_is_said_to_be_that() {
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        assert!(Head::parse(many.as_bytes()).unwrap_err().contains("more than 128 fields"));
        let said = "what it answered is not HTTP/1.1; it begins with 'SSH-2.0-x'";
        assert_eq!(Head::parse(b"SSH-2.0-x\r\n").unwrap_err(), said);
        assert!(
            is_http(b"HT")
                && is_http(b"\r\nHTTP/1.0")
                && is_http(b"HTTP/1.1 200")
                && !is_http(b"HTTP/2 2")
        );
    }
}
