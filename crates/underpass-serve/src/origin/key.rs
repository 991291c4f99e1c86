//! What is asked of an origin for a request, and what it is known by.
//!
//! Two spellings of one path are two objects, but for the case of percent-encoding: an origin may
//! take them for two. Dot segments are gone before it is asked, so that what it is asked for is
//! what was looked at here.
//!
//! Source: RFC 3986 §6.2.2.1 (case), §5.2.4 (dot segments).

use http::Uri;

use crate::target::{Target, TargetError};

/// The path and query of a request, as the origin is asked for them.
///
/// # Errors
///
/// If no file could be there either: a slash that is encoded, or malformed percent-encoding.
pub(crate) fn path_and_query(uri: &Uri) -> Result<String, TargetError> {
    let path = uri.path();
    let target = Target::parse(path)?;
    let mut text =
        if has_dot_segments(path) { target.to_reference() } else { with_upper_case(path) };
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(&with_upper_case(query));
    }
    Ok(text)
}

fn has_dot_segments(path: &str) -> bool {
    path.split('/').any(|segment| {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        plain == "." || plain == ".."
    })
}

/// With what is percent-encoded in capitals.
fn with_upper_case(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let end = bytes.len().min(at + 3);
            bytes[at..end].make_ascii_uppercase();
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_asked_for_what_was_sent_but_for_dots_and_case() {
        for (sent, asked) in [
            ("/a", "/a"),
            ("/a/?b=%c3%a4&b", "/a/?b=%C3%A4&b"),
            ("/%e2%82%ac", "/%E2%82%AC"),
            ("/a//b", "/a//b"),
            ("/a/../b?x=../y", "/b?x=../y"),
            ("/a/%2e%2E/b", "/b"),
            ("/%41", "/%41"),
            ("/a+b:c@d", "/a+b:c@d"),
            ("/x?", "/x?"),
        ] {
            let uri: Uri = sent.parse().unwrap();
            assert_eq!(path_and_query(&uri).as_deref(), Ok(asked), "{sent}");
        }
        let target = |path: &str| path_and_query(&path.parse().unwrap());
        assert!(matches!(target("/a%2fb"), Err(TargetError::Slash { .. })));
        assert!(matches!(target("/a%2"), Err(TargetError::Encoding { .. })));
        assert_eq!(target("http://other/a?b").as_deref(), Ok("/a?b"), "the host does not count");
    }
}
