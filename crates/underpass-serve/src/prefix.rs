//! A site beneath a path, as where a proxy passes on only what begins with `/files`.
//!
//! Everything about the site knows paths without the prefix: patterns, redirects, pages, and names
//! of files. It is taken off requests, and put before what answers refer to.

use std::str::FromStr;

use http::header::{HeaderValue, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};

use crate::answer::Answer;
use crate::plain_request::PlainRequest;
use crate::target::{Target, encode};

/// A path that requests begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefix {
    /// Decoded, without slashes at its ends.
    path: Vec<u8>,
    /// As a reference has it.
    reference: String,
}

/// What is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give a path such as /files, without a query")]
pub struct PathPrefixError;

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        let target = Target::parse(text).map_err(|_| PathPrefixError)?;
        let path = target.as_bytes();
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if path.is_empty() || text.contains(['?', '#']) {
            return Err(PathPrefixError);
        }
        Ok(Self { path: path.into(), reference: format!("/{}", encode(path)) })
    }
}

impl PathPrefix {
    /// A request as the site sees it, or the answer to one for something else.
    pub(crate) fn strip(&self, head: &Parts) -> Result<Parts, Box<Answer>> {
        // What has no path, or a malformed one, is told so like anything else.
        let Ok(target) = Target::parse(head.uri.path()) else { return Ok(head.clone()) };
        let not_found = || Box::new(Answer::error(StatusCode::NOT_FOUND));
        let rest = target.as_bytes().strip_prefix(&*self.path).ok_or_else(not_found)?;
        let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        if rest.is_empty() {
            let location = HeaderValue::try_from(format!("{}/{query}", self.reference));
            let redirect = |to| Box::new(Answer::redirect(StatusCode::PERMANENT_REDIRECT, to));
            return Err(location.map_or_else(|_| not_found(), redirect));
        }
        let rest = rest.strip_prefix(b"/").ok_or_else(not_found)?;
        let stripped = PathAndQuery::try_from(format!("/{}{query}", encode(rest)));
        let mut parts = head.uri.clone().into_parts();
        parts.path_and_query = Some(stripped.map_err(|_| not_found())?);
        let uri = Uri::from_parts(parts).map_err(|_| not_found())?;
        let mut head = head.clone();
        head.uri = uri;
        Ok(head)
    }

    /// The same of a plain request. Nothing for one that is answered otherwise.
    pub(crate) fn strip_plain<'b>(&self, request: &PlainRequest<'b>) -> Option<PlainRequest<'b>> {
        let target = request.target.strip_prefix(&*self.reference)?;
        target.starts_with('/').then_some(PlainRequest { target, ..*request })
    }

    /// Has an answer refer to what the site refers to.
    pub(crate) fn put_before(&self, mut answer: Answer) -> Answer {
        let location = answer.headers.get(LOCATION).map(HeaderValue::as_bytes);
        if let Some(location) = location.filter(|it| it.starts_with(b"/"))
            && let Ok(location) =
                HeaderValue::from_bytes(&[self.reference.as_bytes(), location].concat())
        {
            answer.headers.insert(LOCATION, location);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn strip(prefix: &str, uri: &str) -> String {
        let head = Request::get(uri).body(()).unwrap().into_parts().0;
        match prefix.parse::<PathPrefix>().unwrap().strip(&head) {
            Ok(head) => head.uri.to_string(),
            Err(answer) => match answer.headers.get(LOCATION) {
                Some(location) => format!("{} {}", answer.status, location.to_str().unwrap()),
                None => answer.status.to_string(),
            },
        }
    }

    #[test]
    fn the_prefix_is_taken_off_whatever_way_it_is_written() {
        for (uri, want) in [
            ("/a/b/c?d=/a/b", "/c?d=/a/b"),
            ("/a/b/", "/"),
            ("/a/b/c%20d/", "/c%20d/"),
            ("/a/%62/c", "/c"),
            ("/x/../a/b/c", "/c"),
            ("/a//b/c", "/c"),
            ("/a/b//c", "/c"),
            ("http://x/a/b/c?d", "http://x/c?d"),
            ("/a/b", "308 Permanent Redirect /a/b/"),
            ("/a/b?c", "308 Permanent Redirect /a/b/?c"),
            ("/a/bc", "404 Not Found"),
            ("/a/b/../c", "404 Not Found"),
            ("/", "404 Not Found"),
            ("/b/c", "404 Not Found"),
            ("/a/b/%00", "/a/b/%00"),
            ("*", "*"),
        ] {
            for prefix in ["/a/b", "/a/b/", "/a/%62"] {
                assert_eq!(strip(prefix, uri), want, "{uri}");
            }
        }
        assert_eq!(strip("/\u{e9}", "/%C3%A9"), "308 Permanent Redirect /%C3%A9/");
    }

    #[test]
    fn a_plain_request_is_stripped_alike() {
        let of = |target| {
            let (host, is_head) = (&b"x"[..], false);
            let request = PlainRequest { is_head, target, host, referer: None, user_agent: None };
            let stripped = "/a".parse::<PathPrefix>().unwrap().strip_plain(&request);
            stripped.map(|request| request.target)
        };
        assert_eq!(of("/a/b?c"), Some("/b?c"));
        assert_eq!(of("/a/"), Some("/"));
        for target in ["/a", "/a?b", "/ab", "/", "/b/a/"] {
            assert_eq!(of(target), None, "{target}");
        }
    }

    #[test]
    fn what_answers_refer_to_is_beneath_it_too() {
        let prefix: PathPrefix = "/a".parse().unwrap();
        for (location, want) in [("/b/?c", "/a/b/?c"), ("https://x/b", "https://x/b")] {
            let answer =
                Answer::redirect(StatusCode::FOUND, HeaderValue::from_str(location).unwrap());
            assert_eq!(prefix.put_before(answer).headers[LOCATION], want);
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused() {
        for text in ["", "/", "a", "//", "/a?b", "/%", "/a/..", "/a#b"] {
            assert_eq!(text.parse::<PathPrefix>(), Err(PathPrefixError), "{text}");
        }
    }
}
