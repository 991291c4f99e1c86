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
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RANGE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, StatusCode};

use crate::cached::Cached;
use crate::conditional::{self, Validators, Verdict};
use crate::error_page;
use crate::multipart;
use crate::range::{self, Selection};
use crate::representation::Representation;
use crate::sequence::Sequence;

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
    /// What became of a request for what an origin has.
    pub(crate) cached: Option<Cached>,
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
    /// Bytes in memory and parts of files, one after the other.
    Sequence(Sequence),
    /// What comes from an origin for this answer alone.
    #[cfg(feature = "remote")]
    Relayed(crate::origin::Relayed),
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
            Self::Sequence(sequence) => Some(sequence.len()),
            #[cfg(feature = "remote")]
            Self::Relayed(relayed) => relayed.left(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

impl Answer {
    /// Answers a `GET` or `HEAD` that selects `representation`, in up to `ranges_max` parts. The
    /// content is that of a `GET`; see [`Answer::without_content`].
    #[must_use]
    pub fn of(
        method: &Method,
        headers: &HeaderMap,
        representation: &Arc<Representation>,
        ranges_max: usize,
    ) -> Self {
        if !headers.keys().any(|name| DECISIVE.contains(name)) {
            return Self::whole(representation);
        }
        let current = representation.validators();
        let len = representation.len().filter(|_| representation.has_parts());
        match (Self::select(method, headers, current, len, ranges_max), len) {
            (Err(verdict), _) => Self::refused(verdict, representation.headers()),
            (Ok(Selection::Part(part)), Some(len)) => Self::part(representation, part, len),
            (Ok(Selection::Parts(parts)), Some(len)) => Self::parts(representation, &parts, len),
            (Ok(Selection::Unsatisfiable), Some(len)) => Self::unsatisfiable(len),
            (Ok(_), _) => Self::whole(representation),
        }
    }

    /// What the conditions and the range of a request select of content, of which they may want
    /// none.
    pub(crate) fn select(
        method: &Method,
        headers: &HeaderMap,
        current: &Validators,
        len: Option<u64>,
        ranges_max: usize,
    ) -> Result<Selection, Verdict> {
        match conditional::evaluate(headers, current) {
            Verdict::Proceed => {}
            verdict @ (Verdict::NotModified | Verdict::PreconditionFailed) => return Err(verdict),
        }
        // RFC 9110 §14.2: Range means nothing to a HEAD. Two Range lines are not a single range.
        let is_asked = method == Method::GET && conditional::range_applies(headers, current);
        let (Some(field), Some(len)) = (conditional::sole(headers, &RANGE), len) else {
            return Ok(Selection::Whole);
        };
        // Parts of what has no validators could be put together with those of another state.
        if !is_asked || current.etag.is_none() {
            return Ok(Selection::Whole);
        }
        Ok(range::select(field.as_bytes(), len, ranges_max))
    }

    /// The answer where the conditions want none of the content whose 200 has these fields.
    pub(crate) fn refused(verdict: Verdict, headers: &HeaderMap) -> Self {
        match verdict {
            Verdict::NotModified => Self::not_modified(headers),
            Verdict::PreconditionFailed | Verdict::Proceed => {
                Self::error(StatusCode::PRECONDITION_FAILED)
            }
        }
    }

    /// A 416 for content of this length.
    pub(crate) fn unsatisfiable(len: u64) -> Self {
        let mut answer = Self::error(StatusCode::RANGE_NOT_SATISFIABLE);
        answer.headers.insert(CONTENT_RANGE, range::unsatisfied_range(len));
        answer.headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        answer
    }

    /// An error with its text.
    #[must_use]
    pub fn error(status: StatusCode) -> Self {
        Self::error_with(status, None)
    }

    /// The same with another text.
    pub(crate) fn error_with(status: StatusCode, text: Option<&'static str>) -> Self {
        let text = text.unwrap_or_else(|| error_page::text(status));
        let media_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut answer = Self::text(status, media_type, Bytes::from_static(text.as_bytes()));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }

    /// A 405 with the methods that there are.
    #[must_use]
    pub(crate) fn method_not_allowed(allow: HeaderValue) -> Self {
        let mut answer = Self::error(StatusCode::METHOD_NOT_ALLOWED);
        answer.headers.insert(ALLOW, allow);
        answer
    }

    /// RFC 9110 §9.3.7: the methods that there are; §15.3.5: a 204 has no length.
    #[must_use]
    pub(crate) fn options(allow: HeaderValue) -> Self {
        let headers = HeaderMap::from_iter([(ALLOW, allow)]);
        Self { status: StatusCode::NO_CONTENT, headers, content: Content::Empty, cached: None }
    }

    /// A redirection to `location`, a reference in visible ASCII.
    #[must_use]
    pub(crate) fn redirect(status: StatusCode, location: HeaderValue) -> Self {
        let mut answer = Self::error(status);
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
        Self { status, headers, content: Content::Memory(content), cached: None }
    }

    /// The same answer to a `HEAD`: the fields stay, the content goes.
    #[must_use]
    pub fn without_content(mut self) -> Self {
        self.content = Content::Empty;
        self
    }

    /// All of a file, whatever was asked for.
    pub(crate) fn whole(representation: &Arc<Representation>) -> Self {
        let content = match representation.len() {
            Some(0) => Content::Empty,
            Some(len) => Content::File(Arc::clone(representation), 0..len),
            None => Content::UntilEnd(Arc::clone(representation)),
        };
        Self {
            status: StatusCode::OK,
            headers: representation.headers().clone(),
            content,
            cached: None,
        }
    }

    fn part(representation: &Arc<Representation>, part: Range<u64>, len: u64) -> Self {
        // RFC 9110 §15.3.7 asks for all fields of the 200; after If-Range they may go, but
        // players read the media type of each part.
        let mut headers = representation.headers().clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
        headers.insert(CONTENT_RANGE, range::content_range(&part, len));
        let content = Content::File(Arc::clone(representation), part);
        Self { status: StatusCode::PARTIAL_CONTENT, headers, content, cached: None }
    }

    /// RFC 9110 §15.3.7.2: the place of each part is in the part.
    fn parts(representation: &Arc<Representation>, parts: &[Range<u64>], len: u64) -> Self {
        let mut headers = representation.headers().clone();
        let sequence = multipart::of(representation, parts, len);
        // Parts that are more than the whole are of no use. Those of a coded file would be taken
        // for coded once more, since the coding of an answer is that of all its content.
        if sequence.len() >= len || headers.contains_key(CONTENT_ENCODING) {
            return Self::whole(representation);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(sequence.len()));
        headers.insert(CONTENT_TYPE, multipart::media_type());
        let content = Content::Sequence(sequence);
        Self { status: StatusCode::PARTIAL_CONTENT, headers, content, cached: None }
    }

    /// RFC 9110 §15.4.5: no fields but those a cache updates by, and no content.
    fn not_modified(of_whole: &HeaderMap) -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        for (name, value) in of_whole {
            if OF_NOT_MODIFIED.contains(name) {
                headers.append(name, value.clone());
            }
        }
        Self { status: StatusCode::NOT_MODIFIED, headers, content: Content::Empty, cached: None }
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

/// The fields of the 200 that a 304 has too.
const OF_NOT_MODIFIED: [HeaderName; 5] = [CACHE_CONTROL, CONTENT_LOCATION, ETAG, EXPIRES, VARY];

#[cfg(test)]
mod tests;
