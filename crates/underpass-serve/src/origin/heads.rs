//! Heads of an origin's answers: what is kept of them, and what a 304 makes of one.
//!
//! Source: RFC 9110 §7.6.1 (fields of a connection), §15.4.5; RFC 9111 §3.2 (updating).

use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use underpass_client::Response;
use underpass_remote::Head;

/// Those of one connection, those that say how the content came, and names that a bucket gives to
/// one exchange.
const OF_CONNECTION: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "alt-svc",
    "x-amz-id-2",
    "x-amz-request-id",
];

/// What a 304 does not replace: the content is as it was.
const OF_CONTENT: [&str; 4] =
    ["content-encoding", "content-length", "content-range", "content-type"];

/// What a head says that only a HEAD was answered with: no GET's fields are known.
const METHOD: &str = ":method";

/// The head of an answer, as it is kept, of an object of this length that was asked for then.
pub(super) fn kept(response: &Response<'_>, len: u64, asked_ms: u64) -> Head {
    let mut fields = without_connection(response);
    let has_ranges = fields.iter().any(|(name, _)| name == "accept-ranges");
    if response.status == 206 && !has_ranges {
        // It has just given one.
        fields.push(("accept-ranges".to_owned(), "bytes".to_owned()));
    }
    Head { status: 200, fields, asked: Vec::new(), len, answered_ms: asked_ms }
}

/// The same head as the answer to a HEAD.
pub(super) fn of_head(head: Head) -> Head {
    Head { asked: vec![(METHOD.to_owned(), "HEAD".to_owned())], ..head }
}

/// Whether it is the answer to a HEAD.
pub(super) fn is_of_head(head: &Head) -> bool {
    head.asked.iter().any(|(name, value)| name == METHOD && value == "HEAD")
}

/// Its fields but those of the connection, also those that Connection names.
pub(super) fn without_connection(response: &Response<'_>) -> Vec<(String, String)> {
    let all = response.head.fields().map(|(name, value)| {
        (name.to_ascii_lowercase(), String::from_utf8_lossy(value).into_owned())
    });
    let all: Vec<_> = all.collect();
    let named = named_by_connection(&all);
    let is_kept = |(name, _): &(String, String)| {
        !OF_CONNECTION.contains(&name.as_str()) && !named.contains(name)
    };
    all.iter().filter(|field| is_kept(field)).cloned().collect()
}

fn named_by_connection(fields: &[(String, String)]) -> Vec<String> {
    let connection = fields.iter().filter(|(name, _)| name == "connection");
    let names = connection.flat_map(|(_, value)| value.split(','));
    names.map(|name| name.trim().to_ascii_lowercase()).collect()
}

/// The head that a 304 with these fields, asked for then, makes of one; `None` if it is about
/// another generation.
pub(super) fn merged(old: &Head, said: &[(String, String)], asked_ms: u64) -> Option<Head> {
    let tag = |fields: &[(String, String)]| {
        let tag = fields.iter().find(|(name, _)| name == "etag");
        tag.map(|(_, tag)| tag.trim().trim_start_matches("W/").to_owned())
    };
    if let Some(new) = tag(said)
        && tag(&old.fields).as_ref() != Some(&new)
    {
        return None;
    }
    let is_new = |name: &str| !OF_CONTENT.contains(&name);
    let replaced = |name: &str| is_new(name) && said.iter().any(|(other, _)| other == name);
    // How old the former answer was is not how old this one is.
    let stays = |name: &str| !replaced(name) && !matches!(name, "age" | "date");
    let old_fields = old.fields.iter().filter(|(name, _)| stays(name));
    let new_fields = said.iter().filter(|(name, _)| is_new(name));
    let fields = old_fields.chain(new_fields).cloned().collect();
    Some(Head { fields, answered_ms: asked_ms, ..old.clone() })
}

/// Fields as a map.
pub(super) fn fields(head: &Head) -> HeaderMap {
    to_map(head.fields())
}

pub(super) fn to_map<'f>(fields: impl Iterator<Item = (&'f str, &'f str)>) -> HeaderMap {
    let fields = fields.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let mut map = HeaderMap::new();
    fields.for_each(|(name, value)| {
        map.append(name, value);
    });
    map
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_304_replaces_what_it_names_but_what_is_said_of_the_content() {
        let old = Head {
            status: 200,
            fields: pairs(&[
                ("etag", "\"a\""),
                ("cache-control", "max-age=1"),
                ("content-type", "text/plain"),
                ("age", "7"),
                ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
                ("x-old", "stays"),
            ]),
            asked: vec![],
            len: 9,
            answered_ms: 1_000,
        };
        let said = [("etag", "\"a\""), ("cache-control", "max-age=60"), ("content-type", "x/y")];
        let new = merged(&old, &pairs(&said), 2_000).unwrap();
        let wanted = [
            ("content-type", "text/plain"),
            ("x-old", "stays"),
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
        ];
        assert_eq!((new.fields, new.len, new.answered_ms), (pairs(&wanted), 9, 2_000));
        assert!(merged(&old, &pairs(&[("etag", "\"b\"")]), 2_000).is_none(), "another one");
        let weak = merged(&old, &pairs(&[("etag", "W/\"a\"")]), 2_000);
        assert!(weak.is_some(), "compared weakly");
        assert!(merged(&old, &[], 2_000).is_some());
    }
}
