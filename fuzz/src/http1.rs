//! Requests and responses on a connection, read strictly: by httparse, and by lengths and chunks
//! as RFC 9112 §6.3 has them.

use std::io::Read;

/// The most fields of a head.
const FIELDS_MAX: usize = 256;

/// A request with its place in a conversation.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// Whether nothing after it may be taken for a request: its end is not certain, or it is the
    /// last by its own word.
    pub is_last: bool,
}

/// A final response.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// In lower case, without the date.
    pub fields: Vec<(String, String)>,
    pub content: Vec<u8>,
}

impl Response {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Names in lower case, and values.
fn fields(parsed: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let field = |field: &httparse::Header<'_>| {
        let value = String::from_utf8_lossy(field.value).trim().to_owned();
        (field.name.to_ascii_lowercase(), value)
    };
    parsed.iter().map(field).collect()
}

fn all<'f>(fields: &'f [(String, String)], name: &str) -> Vec<&'f str> {
    fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// The requests that a strict reader finds.
pub fn requests(mut wire: &[u8]) -> Vec<Request> {
    let mut requests = Vec::new();
    loop {
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut parsed);
        let Ok(httparse::Status::Complete(len)) = request.parse(wire) else { return requests };
        let fields = fields(request.headers);
        let says = |word: &str| {
            let options = all(&fields, "connection");
            let mut options = options.iter().flat_map(|it| it.split(','));
            options.any(|option| option.trim().eq_ignore_ascii_case(word))
        };
        let is_old = request.version != Some(1);
        let is_kept = !is_old || says("keep-alive") && all(&fields, "transfer-encoding").is_empty();
        let says_close = says("close");
        let end = content_end(&fields, &wire[len..]).filter(|_| is_kept);
        requests.push(Request {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            is_last: end.is_none() || says_close,
        });
        match end {
            Some(end) if !says_close => wire = &wire[len + end..],
            Some(_) | None => return requests,
        }
    }
}

/// How many bytes a request's content has; `None` if that is not certain, or it is cut.
fn content_end(fields: &[(String, String)], rest: &[u8]) -> Option<usize> {
    match (all(fields, "transfer-encoding").as_slice(), all(fields, "content-length").as_slice()) {
        ([], []) => Some(0),
        // The same number twice is that length (RFC 9110 §8.6).
        ([], [len, others @ ..]) => {
            let len = number(len)?;
            let is_one = others.iter().all(|it| number(it) == Some(len));
            (is_one && len <= rest.len()).then_some(len)
        }
        // RFC 9110 §5.3: several fields are one list.
        (codings @ [_, ..], []) if is_chunked(&codings.join(",")) => chunks_end(rest),
        _ => None,
    }
}

fn number(digits: &str) -> Option<usize> {
    digits.parse().ok().filter(|_| digits.bytes().all(|it| it.is_ascii_digit()))
}

/// Whether a list of codings has this one alone; RFC 9110 §5.6.1.2: empty elements are ignored.
fn is_chunked(codings: &str) -> bool {
    let mut codings = codings.split(',').map(str::trim).filter(|coding| !coding.is_empty());
    let is_first = codings.next().is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    is_first && codings.next().is_none()
}

/// How long chunks are in the strictest reading.
fn chunks_end(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = line(&wire[at..])?;
        at += line.len() + 2;
        let size = line.split(|&byte| byte == b';').next().unwrap_or(line);
        let size = std::str::from_utf8(size).ok()?;
        let size = usize::from_str_radix(size, 16).ok().filter(|_| !size.starts_with('+'))?;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?;
        wire.get(at..)?.strip_prefix(b"\r\n")?;
        at += 2;
    }
    loop {
        let len = line(&wire[at..])?.len();
        at += len + 2;
        if len == 0 {
            return Some(at);
        }
    }
}

fn line(wire: &[u8]) -> Option<&[u8]> {
    wire.windows(2).position(|two| two == b"\r\n").map(|at| &wire[..at])
}

/// The final responses to these requests, as far as they are whole.
///
/// # Panics
///
/// If something comes that is not a response.
pub fn responses(mut wire: &[u8], requests: &[Request]) -> Vec<Response> {
    let mut responses = Vec::new();
    while !wire.is_empty() {
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut parsed);
        let text = String::from_utf8_lossy(&wire[..wire.len().min(200)]);
        let parsed = response.parse(wire).unwrap_or_else(|error| panic!("{error}: {text:?}"));
        let httparse::Status::Complete(len) = parsed else { panic!("a head is cut: {text:?}") };
        wire = &wire[len..];
        let status = response.code.expect("a complete head has one");
        if status < 200 {
            continue;
        }
        let mut fields = fields(response.headers);
        let is_head = requests.get(responses.len()).is_some_and(|it| it.method == "HEAD");
        let end = if is_head { None } else { response_end(status, &fields, wire) };
        let (content, rest) = wire.split_at(end.unwrap_or(0));
        // The text for a head that could not be read comes whatever its method was, as the last.
        let is_unread =
            is_head && matches!(status, 400 | 414 | 431) && all(&fields, "connection") == ["close"];
        wire = if is_unread { &[] } else { rest };
        fields.retain(|(name, _)| name != "date");
        let content = content.to_vec();
        responses.push(Response { status, fields, content });
    }
    responses
}

fn response_end(status: u16, fields: &[(String, String)], rest: &[u8]) -> Option<usize> {
    if matches!(status, 204 | 304) {
        return None;
    }
    if all(fields, "transfer-encoding") == ["chunked"] {
        assert_eq!(all(fields, "content-length"), [""; 0]);
        return Some(chunks_end(rest).expect("a response is cut"));
    }
    let lengths = all(fields, "content-length");
    assert!(lengths.len() <= 1, "{lengths:?}");
    let Some(len) = lengths.first() else { return Some(rest.len()) };
    let len: usize = len.parse().expect("a length");
    assert!(len <= rest.len(), "a response is cut: {len} > {}", rest.len());
    Some(len)
}

/// All that a reader has.
pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).expect("it closes in time");
    all
}
