//! Answers: status, fields and content, decided from a request and the file it selects.
//!
//! Pure: nothing here opens or reads. Preconditions come before the range, and both only where
//! the answer would have been a 200. `Date` and the framing are the connection's.
//!
//! Source: RFC 9110 §9.3.1 (GET), §9.3.2 (HEAD), §13.2.1, §13.2.2, §14.2, §15.3.7 (206),
//! §15.4.5 (304), §15.5.6 (405), §15.5.17 (416).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, LOCATION, RANGE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};

use crate::conditional::{self, Verdict};
use crate::error_page;
use crate::range::{self, Selection};
use crate::representation::Representation;

/// A response, up to the bytes of its content.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// Every field but `Date` and those of the connection; `Content-Length` is among them
    /// wherever the status allows one.
    pub headers: HeaderMap,
    /// What follows the fields.
    pub content: Content,
}

/// The content of an [`Answer`].
#[derive(Debug)]
pub enum Content {
    /// Nothing: the answer to a `HEAD`, a 304, or a file without bytes.
    Empty,
    /// These bytes of a file: at least one, and within its length when it was looked at.
    File(Arc<Representation>, Range<u64>),
    /// All of a file that is read until it ends.
    UntilEnd(Arc<Representation>),
    /// Bytes in memory.
    Memory(Bytes),
}

impl Content {
    /// Its length in bytes; `None` if only reading to the end tells.
    #[must_use]
    pub fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::File(_, range) => Some(range.end - range.start),
            Self::UntilEnd(_) => None,
            Self::Memory(bytes) => Some(bytes.len() as u64),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl Answer {
    /// Answers a `GET` or `HEAD` that selects `representation`. The content is that of a `GET`;
    /// see [`Answer::without_content`].
    #[must_use]
    pub fn of(method: &Method, headers: &HeaderMap, representation: &Arc<Representation>) -> Self {
        if !headers.keys().any(|name| DECISIVE.contains(name)) {
            return Self::whole(representation);
        }
        let current = representation.validators();
        match conditional::evaluate(headers, current) {
            Verdict::NotModified => return Self::not_modified(representation),
            Verdict::PreconditionFailed => return Self::error(StatusCode::PRECONDITION_FAILED),
            Verdict::Proceed => {}
        }
        // RFC 9110 §14.2: Range means nothing to a HEAD. Two Range lines are not a single range.
        let is_asked = method == Method::GET && conditional::range_applies(headers, current);
        let (Some(field), Some(len)) = (conditional::sole(headers, &RANGE), representation.len())
        else {
            return Self::whole(representation);
        };
        // Parts of what has no validators could be put together with those of another state.
        if !is_asked || current.etag.is_none() {
            return Self::whole(representation);
        }
        match range::select(field.as_bytes(), len) {
            Selection::Whole => Self::whole(representation),
            Selection::Part(part) => Self::part(representation, part, len),
            Selection::Unsatisfiable => {
                let mut answer = Self::error(StatusCode::RANGE_NOT_SATISFIABLE);
                let none_of = range::unsatisfied_range(len);
                answer.headers.insert(CONTENT_RANGE, none_of);
                answer.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
                answer
            }
        }
    }

    /// An error with its text.
    #[must_use]
    pub fn error(status: StatusCode) -> Self {
        let text = error_page::text(status);
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut answer = Self::text(status, media_type, Bytes::from_static(text.as_bytes()));
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                answer.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        answer
    }

    /// A redirection to `location`, a reference in visible ASCII.
    #[must_use]
    pub(crate) fn redirect(location: HeaderValue) -> Self {
        let mut answer = Self::error(StatusCode::PERMANENT_REDIRECT);
        answer.headers.insert(LOCATION, location);
        answer
    }

    /// Bytes in memory under a media type.
    #[must_use]
    pub(crate) fn text(status: StatusCode, media_type: HeaderValue, content: Bytes) -> Self {
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(CONTENT_TYPE, media_type);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Self { status, headers, content: Content::Memory(content) }
    }

    /// The same answer to a `HEAD`: the fields stay, the content goes.
    #[must_use]
    pub fn without_content(mut self) -> Self {
        self.content = Content::Empty;
        self
    }

    fn whole(representation: &Arc<Representation>) -> Self {
        let content = match representation.len() {
            Some(0) => Content::Empty,
            Some(len) => Content::File(Arc::clone(representation), 0..len),
            None => Content::UntilEnd(Arc::clone(representation)),
        };
        Self { status: StatusCode::OK, headers: representation.headers().clone(), content }
    }

    fn part(representation: &Arc<Representation>, part: Range<u64>, len: u64) -> Self {
        // RFC 9110 §15.3.7 asks for all fields of the 200; after If-Range they may go, but
        // players read the media type of each part.
        let mut headers = representation.headers().clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        headers.insert(CONTENT_RANGE, range::content_range(&part, len));
        let content = Content::File(Arc::clone(representation), part);
        Self { status: StatusCode::PARTIAL_CONTENT, headers, content }
    }

    /// RFC 9110 §15.4.5: no fields but those a cache updates by, and no content.
    fn not_modified(representation: &Representation) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        headers.extend(representation.validators().etag.clone().map(|etag| (ETAG, etag)));
        Self { status: StatusCode::NOT_MODIFIED, headers, content: Content::Empty }
    }
}

/// The fields that can make an answer differ from the plain 200; most requests have none, and
/// one pass over the names is cheaper than six look-ups.
const DECISIVE: [HeaderName; 5] = [
    RANGE,
    http::header::IF_MATCH,
    http::header::IF_NONE_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_UNMODIFIED_SINCE,
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use underpass::Stability;
    use underpass_testkit::disk::disk_dir;

    use super::*;

    /// A settled representation of the ten bytes `0123456789`.
    fn digits() -> Arc<Representation> {
        of_content(b"0123456789")
    }

    fn of_content(content: &[u8]) -> Arc<Representation> {
        let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
        file.write_all_at(content, 0).unwrap();
        let later = SystemTime::now() + Duration::from_secs(2);
        let name = Path::new("digits.txt");
        Arc::new(Representation::at(later, file.into(), name, Stability::None).unwrap())
    }

    fn ask(method: &Method, fields: &[(HeaderName, &str)], of: &Arc<Representation>) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::try_from(*value).unwrap());
        }
        Answer::of(method, &headers, of)
    }

    /// Status, `Content-Length`, `Content-Range` and which bytes.
    fn gist(answer: &Answer) -> (u16, &str, &str, Option<Range<u64>>) {
        let field = |name| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let part = match &answer.content {
            Content::File(_, range) => Some(range.clone()),
            Content::Empty | Content::UntilEnd(_) | Content::Memory(_) => None,
        };
        (answer.status.as_u16(), field(CONTENT_LENGTH), field(CONTENT_RANGE), part)
    }

    #[test]
    fn a_get_without_conditions_is_all_of_the_file() {
        let file = digits();
        let answer = ask(&Method::GET, &[], &file);
        assert_eq!(gist(&answer), (200, "10", "", Some(0..10)));
        assert_eq!(&answer.headers, file.headers());
    }

    #[test]
    fn an_empty_file_is_a_200_of_nothing() {
        for fields in [&[][..], &[(RANGE, "bytes=0-")], &[(RANGE, "bytes=5-9")]] {
            let answer = ask(&Method::GET, fields, &of_content(b""));
            assert_eq!(gist(&answer), (200, "0", "", None), "{fields:?}");
        }
    }

    #[test]
    fn a_range_is_a_206_with_all_fields_of_the_200() {
        let file = digits();
        let answer = ask(&Method::GET, &[(RANGE, "bytes=2-4")], &file);
        assert_eq!(gist(&answer), (206, "3", "bytes 2-4/10", Some(2..5)));
        for name in file.headers().keys().filter(|name| *name != CONTENT_LENGTH) {
            assert_eq!(answer.headers.get(name), file.headers().get(name), "{name}");
        }
        assert_eq!(answer.headers.len(), file.headers().len() + 1);
    }

    #[test]
    fn ranges_that_are_not_honoured_give_the_whole() {
        let file = digits();
        let etag = file.headers()[ETAG].to_str().unwrap();
        for (method, fields) in [
            (Method::HEAD, vec![(RANGE, "bytes=2-4")]),
            (Method::HEAD, vec![(RANGE, "bytes=10-")]),
            (Method::GET, vec![(RANGE, "bytes=2-4,6-7")]),
            (Method::GET, vec![(RANGE, "bytes=2-4"), (RANGE, "bytes=6-7")]),
            (Method::GET, vec![(RANGE, "bytes=2-4"), (http::header::IF_RANGE, "\"other\"")]),
            (Method::GET, vec![(RANGE, "bytes=99-"), (http::header::IF_RANGE, "\"other\"")]),
            (Method::GET, vec![(http::header::IF_RANGE, etag)]),
        ] {
            let answer = ask(&method, &fields, &file);
            assert_eq!(gist(&answer), (200, "10", "", Some(0..10)), "{method} {fields:?}");
        }
        let answer =
            ask(&Method::GET, &[(RANGE, "bytes=-1"), (http::header::IF_RANGE, etag)], &file);
        assert_eq!(gist(&answer), (206, "1", "bytes 9-9/10", Some(9..10)));
    }

    #[test]
    fn an_unsatisfiable_range_tells_the_length() {
        let answer = ask(&Method::GET, &[(RANGE, "bytes=10-")], &digits());
        assert_eq!(answer.status, 416);
        assert_eq!(answer.headers[CONTENT_RANGE], "bytes */10");
        assert!(!answer.headers.contains_key(ETAG) && !answer.content.is_empty());
    }

    #[test]
    fn a_304_comes_before_the_range_and_carries_the_tag_alone() {
        let file = digits();
        let etag = file.headers()[ETAG].clone();
        let fields = [(http::header::IF_NONE_MATCH, etag.to_str().unwrap()), (RANGE, "bytes=99-")];
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(&method, &fields, &file);
            assert_eq!(gist(&answer), (304, "", "", None));
            assert_eq!((answer.headers.len(), &answer.headers[ETAG]), (1, &etag));
        }
    }

    #[test]
    fn what_has_no_validators_is_sent_whole_or_not_at_all() {
        let name = Path::new("/proc/sys/fs/pipe-max-size");
        let file = std::fs::File::open(name).unwrap();
        let file = Arc::new(Representation::read(file, name, Stability::Guard).unwrap());
        let len = std::fs::read(name).unwrap().len();
        for fields in [
            &[(RANGE, "bytes=0-1")][..],
            &[(RANGE, "bytes=99-")],
            &[(RANGE, "bytes=0-1"), (http::header::IF_RANGE, "\"\"")],
            &[(http::header::IF_NONE_MATCH, "\"\", W/\"\"")],
        ] {
            let answer = ask(&Method::GET, fields, &file);
            assert_eq!((answer.status.as_u16(), answer.content.len()), (200, Some(len as u64)));
        }
        let answer = ask(&Method::GET, &[(http::header::IF_NONE_MATCH, "*")], &file);
        assert_eq!((answer.status.as_u16(), answer.headers.len()), (304, 0));
        let answer = ask(&Method::GET, &[(http::header::IF_MATCH, "\"\"")], &file);
        assert_eq!(answer.status, 412);
    }

    #[test]
    fn a_412_comes_before_a_416() {
        let fields = [(http::header::IF_MATCH, "\"other\""), (RANGE, "bytes=99-")];
        assert_eq!(ask(&Method::GET, &fields, &digits()).status, 412);
    }

    #[test]
    fn each_date_condition_is_looked_at() {
        let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
        let far = "Fri, 31 Dec 9999 23:59:59 GMT";
        for (name, date, status) in [
            (http::header::IF_MODIFIED_SINCE, far, 304),
            (http::header::IF_MODIFIED_SINCE, long_ago, 200),
            (http::header::IF_UNMODIFIED_SINCE, long_ago, 412),
            (http::header::IF_UNMODIFIED_SINCE, far, 200),
        ] {
            assert_eq!(ask(&Method::GET, &[(name, date)], &digits()).status, status);
        }
    }

    #[test]
    fn errors_have_a_length_a_type_and_what_their_status_asks_for() {
        for (status, name, value) in [
            (StatusCode::METHOD_NOT_ALLOWED, ALLOW, "GET, HEAD"),
            (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
            (StatusCode::NOT_FOUND, CONTENT_LENGTH, "42"),
            (StatusCode::NOT_FOUND, CONTENT_TYPE, "text/plain; charset=utf-8"),
        ] {
            assert_eq!(Answer::error(status).headers[name], value);
        }
    }

    #[test]
    fn a_head_keeps_the_fields_and_loses_the_content() {
        let answer = Answer::error(StatusCode::NOT_FOUND).without_content();
        assert_eq!(gist(&answer), (404, "42", "", None));
        assert!(answer.content.is_empty());
    }
}
