//! What an origin is asked.
//!
//! Source: RFC 9110 §13.1.5 (If-Range), §14.2 (Range).

use std::sync::Arc;

use http::Method as HttpMethod;
use http::header::{HeaderMap, IF_RANGE, RANGE};
use http::request::Parts;
use underpass_client::Range;
use underpass_remote::{Entry, Head, Key};

use super::heads;
use super::under_way::Mark;
use crate::conditional::sole;

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) key: Key,
    pub(super) path: String,
    pub(super) is_head: bool,
    pub(super) range: Range,
    pub(super) entry: Option<Arc<Entry>>,
    /// Whether it is of no use any more.
    pub(super) mark: Mark,
}

impl Question {
    /// For what is not here, as far as this request wants it.
    pub(super) fn first(key: &Key, path: &str, request: &Parts) -> Self {
        let is_head = request.method == HttpMethod::HEAD;
        Self { is_head, range: range(&request.headers), ..Self::whole(key, path) }
    }

    /// Whether what is here is still so.
    pub(super) fn again(key: &Key, path: &str, entry: &Arc<Entry>) -> Self {
        Self { entry: Some(Arc::clone(entry)), ..Self::whole(key, path) }
    }

    /// For all of it.
    pub(super) fn whole(key: &Key, path: &str) -> Self {
        let (key, path) = (key.clone(), path.to_owned());
        Self { key, path, is_head: false, range: Range::Whole, entry: None, mark: Mark::default() }
    }
}

/// The one range that a request is for; all of it for several, or under a condition.
pub(super) fn range(headers: &HeaderMap) -> Range {
    let field = sole(headers, &RANGE).and_then(|field| field.to_str().ok());
    let text = field.filter(|_| !headers.contains_key(IF_RANGE));
    let range = text.and_then(|text| text.trim().strip_prefix("bytes="));
    let range = range.and_then(|range| range.trim().parse().ok());
    // The last no bytes of something are not satisfiable.
    range.filter(|range| *range != Range::Suffix(0)).unwrap_or_default()
}

/// Whether this head is one that a request may be answered with. What the origin says to a HEAD
/// need not be all that it says to a GET: that it is for one client, say.
pub(super) fn suits(head: &Head, request: &Parts) -> bool {
    let is_past_end = |range| matches!(range, Range::From { first, .. } if first >= head.len);
    request.method == HttpMethod::HEAD
        || !heads::is_of_head(head)
        || is_past_end(range(&request.headers))
}
