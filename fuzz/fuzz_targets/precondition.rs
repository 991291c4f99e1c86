//! Preconditions as `serve` evaluates them, next to the crate `headers` where that one can read the
//! fields, and by their own laws.
//!
//! Input: fields, one a line.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use headers::{HeaderMapExt, IfMatch, IfNoneMatch};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use underpass_serve::conditional::Validators;
use underpass_serve::fuzzing::evaluate;

fuzz_target!(|bytes: &[u8]| {
    let fields = fields(bytes);
    for (etag, modified) in [("\"now\"", Some(784_111_777)), ("W/\"now\"", None)] {
        let last_modified = modified.map(|at| UNIX_EPOCH + Duration::from_secs(at));
        let etag = HeaderValue::from_static(etag);
        let current = Validators { etag: Some(etag.clone()), last_modified };
        check(&fields, &current, &etag);
    }
    // A file without a tag is matched by no tag.
    let current = Validators { etag: None, last_modified: None };
    let any = |name| fields.get_all(name).iter().any(|value| value == "*");
    let (status, applies) = evaluate(&fields, &current);
    assert!(!applies || !fields.contains_key(header::IF_RANGE), "{fields:?}");
    assert!(status != StatusCode::NOT_MODIFIED || any(header::IF_NONE_MATCH), "{fields:?}");
});

fn fields(bytes: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|&byte| byte == b'\n') {
        let Some(at) = line.iter().position(|&byte| byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..at]);
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

fn check(fields: &HeaderMap, current: &Validators, etag: &HeaderValue) {
    let (status, applies) = evaluate(fields, current);
    if !fields.contains_key(header::IF_RANGE) {
        assert!(applies);
    }
    let is_weak = etag.as_bytes().starts_with(b"W/");
    let tag = etag.to_str().expect("ASCII").parse().expect("a tag");
    if let Some(wanted) = sole::<IfMatch>(fields, header::IF_MATCH) {
        let passes = wanted.precondition_passes(&tag) && (!is_weak || wanted == IfMatch::any());
        assert_eq!(status != StatusCode::PRECONDITION_FAILED, passes, "{fields:?}");
    } else if status != StatusCode::PRECONDITION_FAILED
        && let Some(had) = sole::<IfNoneMatch>(fields, header::IF_NONE_MATCH)
    {
        assert_eq!(status == StatusCode::OK, had.precondition_passes(&tag), "{fields:?}");
    }
    // Who adds the current tag to what it has is told that nothing is new.
    let mut has = fields.clone();
    has.append(header::IF_NONE_MATCH, etag.clone());
    assert_ne!(evaluate(&has, current).0, StatusCode::OK, "{has:?}");
    if is_weak {
        let strong = [header::IF_MATCH, header::IF_RANGE];
        let any = fields.get_all(header::IF_MATCH).iter().any(|value| value == "*");
        assert!(
            any || !fields.contains_key(&strong[0]) || status == StatusCode::PRECONDITION_FAILED
        );
        assert!(!fields.contains_key(&strong[1]) || !applies, "a weak validator matches no range");
    }
}

/// A field as `headers` reads it, where it reads every tag of it: of a list with something else in
/// it that crate takes the rest, and this server nothing after it.
fn sole<H: headers::Header>(fields: &HeaderMap, name: HeaderName) -> Option<H> {
    let value = fields.get(&name)?.to_str().ok()?;
    let is_tag = |tag: &str| {
        let tag = tag.trim().strip_prefix("W/").unwrap_or(tag.trim());
        let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
        inner.is_some_and(|inner| inner.bytes().all(|byte| byte > b' ' && byte != b'"'))
    };
    let is_plain = value == "*" || value.split(',').all(is_tag);
    let is_sole = fields.get_all(&name).iter().count() == 1;
    if is_plain && is_sole { fields.typed_get() } else { None }
}
