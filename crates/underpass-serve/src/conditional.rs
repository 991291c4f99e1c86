//! Preconditions: whether a request is to be answered, given what the client says it has.
//!
//! The order of evaluation is the standard's, not the order of the fields. `If-Match` and
//! `If-Range` need the strong comparison, `If-None-Match` the weak one. A date that does not
//! parse counts as absent; in `If-Range` it counts as false.
//!
//! Source: RFC 9110 §13.1.1 to §13.1.5, §13.2.2 (order), §8.8.3 (entity-tag), §8.8.3.2
//! (comparison), §5.6.7 (dates).

use std::time::SystemTime;

use http::header::{
    HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE,
};

/// What identifies the state of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    /// The entity-tag, quotes included, with `W/` in front if it is weak. Content that changes
    /// without leaving a trace, such as that of procfs, has none.
    pub etag: Option<HeaderValue>,
    /// The modification date in whole seconds, if one may be sent: one that could still cover
    /// a second state of the file is not.
    pub last_modified: Option<SystemTime>,
}

/// The outcome of the preconditions of a `GET` or `HEAD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there had been no preconditions.
    Proceed,
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not what the client expects.
    PreconditionFailed,
}

/// Evaluates the preconditions of a `GET` or `HEAD` against the current validators.
#[must_use]
pub(crate) fn evaluate(headers: &HeaderMap, current: &Validators) -> Verdict {
    if headers.contains_key(IF_MATCH) {
        if !lists(headers, IF_MATCH, |tag| is_strongly_equal(tag, current)) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some((since, modified)) = dates(headers, IF_UNMODIFIED_SINCE, current)
        && modified > since
    {
        return Verdict::PreconditionFailed;
    }
    if headers.contains_key(IF_NONE_MATCH) {
        let current = current.etag.as_ref().map(|etag| opaque(etag.as_bytes()));
        if lists(headers, IF_NONE_MATCH, |tag| Some(opaque(tag)) == current) {
            return Verdict::NotModified;
        }
    } else if let Some((since, modified)) = dates(headers, IF_MODIFIED_SINCE, current)
        && modified <= since
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a request may change what is there, if anything is: RFC 9110 §13.2.2 for other methods.
#[must_use]
pub(crate) fn allow_change(headers: &HeaderMap, current: Option<&Validators>) -> bool {
    if headers.contains_key(IF_MATCH) {
        let is_it = |current| lists(headers, IF_MATCH, |tag| is_strongly_equal(tag, current));
        if !current.is_some_and(is_it) {
            return false;
        }
    } else if let Some(current) = current
        && let Some((since, modified)) = dates(headers, IF_UNMODIFIED_SINCE, current)
        && modified > since
    {
        return false;
    }
    let is_excluded = |current: &Validators| {
        let current = current.etag.as_ref().map(|etag| opaque(etag.as_bytes()));
        lists(headers, IF_NONE_MATCH, |tag| Some(opaque(tag)) == current)
    };
    !current.is_some_and(is_excluded)
}

/// Whether the `Range` of a `GET` is to be honoured: there is no `If-Range`, or it names the
/// current state.
#[must_use]
pub(crate) fn range_applies(headers: &HeaderMap, current: &Validators) -> bool {
    if !headers.contains_key(IF_RANGE) {
        return true;
    }
    let Some(field) = sole(headers, &IF_RANGE) else { return false };
    // RFC 9110 §13.1.5: a quote among the first three characters means a tag and not a date.
    if field.as_bytes().iter().take(3).any(|&byte| byte == b'"') {
        return is_strongly_equal(field.as_bytes(), current);
    }
    current.last_modified.is_some_and(|modified| date(field) == Some(modified))
}

/// The value of a field that occurs exactly once.
#[must_use]
pub(crate) fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// The date of a field and the date of the representation, if there are both.
fn dates(
    headers: &HeaderMap,
    name: HeaderName,
    current: &Validators,
) -> Option<(SystemTime, SystemTime)> {
    let since = date(sole(headers, &name)?)?;
    Some((since, current.last_modified?))
}

fn date(field: &HeaderValue) -> Option<SystemTime> {
    field.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok())
}

/// Whether the list is `*`, or holds a tag that `is_wanted`. What follows a malformed member is
/// not looked at.
fn lists(headers: &HeaderMap, name: HeaderName, is_wanted: impl Fn(&[u8]) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .any(|field| field.as_bytes() == b"*" || Tags { rest: field.as_bytes() }.any(&is_wanted))
}

/// RFC 9110 §8.8.3.2: equal and neither of them weak.
fn is_strongly_equal(tag: &[u8], current: &Validators) -> bool {
    current.etag.as_ref().is_some_and(|etag| tag == etag.as_bytes()) && !tag.starts_with(b"W/")
}

/// The part of an entity-tag that the weak comparison looks at.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The entity-tags of a list; a comma inside the quotes does not separate two of them.
struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b' ' | b'\t' | b',', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let start = if self.rest.starts_with(b"W/") { 2 } else { 0 };
        let inner = self.rest.get(start..)?.strip_prefix(b"\"")?;
        let len = start + 2 + inner.iter().position(|&byte| byte == b'"')?;
        let (tag, rest) = self.rest.split_at(len);
        self.rest = rest;
        // Between two members there is a comma.
        let after = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        matches!(after, None | Some(b',')).then_some(tag)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Verdict::{NotModified, PreconditionFailed, Proceed};
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn strong() -> Validators {
        Validators {
            etag: Some(HeaderValue::from_static("\"now\"")),
            last_modified: Some(UNIX_EPOCH + Duration::from_secs(784_111_777)),
        }
    }

    fn weak() -> Validators {
        Validators { etag: Some(HeaderValue::from_static("W/\"now\"")), last_modified: None }
    }

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn each_precondition_alone_gives_its_verdict() {
        for (name, value, verdict) in [
            ("if-match", "\"now\"", Proceed),
            ("if-match", "*", Proceed),
            ("if-match", "\"then\", \"now\"", Proceed),
            ("if-match", "\"a,b\" , \"now\"", Proceed),
            ("if-match", "\"then\"", PreconditionFailed),
            ("if-match", "W/\"now\"", PreconditionFailed),
            ("if-match", "\"a, \"now\", b\"", PreconditionFailed),
            ("if-match", "now", PreconditionFailed),
            ("if-match", "", PreconditionFailed),
            ("if-unmodified-since", BEFORE, PreconditionFailed),
            ("if-unmodified-since", SAME, Proceed),
            ("if-unmodified-since", AFTER, Proceed),
            ("if-unmodified-since", "yesterday", Proceed),
            ("if-none-match", "\"now\"", NotModified),
            ("if-none-match", "W/\"now\"", NotModified),
            ("if-none-match", "*", NotModified),
            ("if-none-match", "\"then\",\t\"now\"", NotModified),
            ("if-none-match", "\"then\"", Proceed),
            ("if-none-match", "\"NOW\"", Proceed),
            ("if-none-match", "w/\"now\"", Proceed),
            ("if-none-match", "\"now", Proceed),
            ("if-none-match", "\"now\"x", Proceed),
            ("if-none-match", "\"then\" \"now\"", Proceed),
            ("if-none-match", "now", Proceed),
            ("if-modified-since", BEFORE, Proceed),
            ("if-modified-since", SAME, NotModified),
            ("if-modified-since", AFTER, NotModified),
            ("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT", NotModified),
            ("if-modified-since", "Sun Nov  6 08:49:37 1994", NotModified),
            ("if-modified-since", "784111777", Proceed),
        ] {
            assert_eq!(evaluate(&headers(&[(name, value)]), &strong()), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn preconditions_are_evaluated_in_the_order_of_the_standard() {
        let (old, now) = ("\"then\"", "\"now\"");
        for (fields, verdict) in [
            // If-Match overrules If-Unmodified-Since, If-None-Match overrules If-Modified-Since.
            (vec![("if-match", now), ("if-unmodified-since", BEFORE)], Proceed),
            (vec![("if-none-match", old), ("if-modified-since", SAME)], Proceed),
            (vec![("if-none-match", now), ("if-modified-since", BEFORE)], NotModified),
            // The first pair comes before the second.
            (vec![("if-none-match", now), ("if-match", old)], PreconditionFailed),
            (vec![("if-match", now), ("if-none-match", now)], NotModified),
            (
                vec![("if-modified-since", SAME), ("if-unmodified-since", BEFORE)],
                PreconditionFailed,
            ),
            (vec![("if-match", now), ("if-modified-since", AFTER)], NotModified),
            (vec![], Proceed),
        ] {
            assert_eq!(evaluate(&headers(&fields), &strong()), verdict, "{fields:?}");
        }
    }

    #[test]
    fn lines_of_a_list_add_up_and_lines_of_a_date_do_not() {
        let tags = headers(&[("if-none-match", "\"then\""), ("if-none-match", "\"now\"")]);
        assert_eq!(evaluate(&tags, &strong()), NotModified);
        let dates = headers(&[("if-modified-since", SAME), ("if-modified-since", SAME)]);
        assert_eq!(evaluate(&dates, &strong()), Proceed);
    }

    #[test]
    fn weak_validators_revalidate_but_never_match_strongly() {
        for (name, value, verdict) in [
            ("if-none-match", "W/\"now\"", NotModified),
            ("if-none-match", "\"now\"", NotModified),
            ("if-match", "W/\"now\"", PreconditionFailed),
            ("if-match", "\"now\"", PreconditionFailed),
            ("if-modified-since", AFTER, Proceed),
            ("if-unmodified-since", BEFORE, Proceed),
        ] {
            assert_eq!(evaluate(&headers(&[(name, value)]), &weak()), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn a_range_applies_to_the_exact_state_only() {
        for (value, applies) in [
            ("\"now\"", true),
            ("\"then\"", false),
            ("W/\"now\"", false),
            ("\"then\", \"now\"", false),
            ("*", false),
            (SAME, true),
            (BEFORE, false),
            (AFTER, false),
            ("Sunday, 06-Nov-94 08:49:37 GMT", true),
            ("", false),
        ] {
            assert_eq!(
                range_applies(&headers(&[("if-range", value)]), &strong()),
                applies,
                "{value}"
            );
        }
        assert!(range_applies(&headers(&[]), &strong()));
        assert!(!range_applies(&headers(&[("if-range", "W/\"now\"")]), &weak()));
        assert!(!range_applies(&headers(&[("if-range", SAME)]), &weak()));
        let twice = headers(&[("if-range", "\"now\""), ("if-range", "\"now\"")]);
        assert!(!range_applies(&twice, &strong()));
    }

    #[test]
    fn bytes_that_are_not_text_are_compared_and_not_read() {
        let mut fields = HeaderMap::new();
        fields.insert(IF_MODIFIED_SINCE, HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        assert_eq!(evaluate(&fields, &strong()), Proceed);
        fields.insert(IF_NONE_MATCH, HeaderValue::from_bytes(b"\"\xff\", \"now\"").unwrap());
        assert_eq!(evaluate(&fields, &strong()), NotModified);
    }
}
