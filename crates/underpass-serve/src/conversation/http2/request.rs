//! The head of a request, put as HTTP/1.1 has it: what comes after knows no other.
//!
//! Source: RFC 9113 §8.3.1 (`:authority` and Host).

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::Scheme;
use http::{Method, StatusCode, Uri};

/// What a field costs next to its name and value (RFC 9113 §6.5.2).
const FIELD_BYTES: usize = 32;

/// Puts the target in origin-form and the authority into Host.
///
/// # Errors
///
/// The status that refuses the request: it names two hosts, or is larger than `bytes_max`.
pub(super) fn normalise(head: &mut Parts, bytes_max: usize) -> Result<(), StatusCode> {
    let is_named_once = is_named_once(head);
    if let Some(authority) = head.uri.authority()
        && !head.headers.contains_key(HOST)
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        head.headers.insert(HOST, host);
    }
    if head.method != Method::CONNECT
        && let Some(target) = head.uri.path_and_query()
    {
        head.uri = Uri::from(target.clone());
    }
    if !is_named_once {
        return Err(StatusCode::BAD_REQUEST);
    }
    let target_bytes = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > bytes_max {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let fields = head.headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    if target_bytes + fields.sum::<usize>() > bytes_max {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    Ok(())
}

/// Whether what Host says, if anything, is what the authority says.
fn is_named_once(head: &Parts) -> bool {
    let (Some(authority), Some(host)) = (head.uri.authority(), head.headers.get(HOST)) else {
        return true;
    };
    let port = if head.uri.scheme() == Some(&Scheme::HTTPS) { ":443" } else { ":80" };
    let without = |name: &'_ [u8]| name.strip_suffix(port.as_bytes()).unwrap_or(name).to_owned();
    without(authority.as_str().as_bytes()).eq_ignore_ascii_case(&without(host.as_bytes()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const HEAD_BYTES_MAX: usize = 32 * 1024;

    fn normalised(method: &str, uri: &str, fields: &[(&str, &str)]) -> (Result<(), u16>, Parts) {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        (normalise(&mut head, HEAD_BYTES_MAX).map_err(|status| status.as_u16()), head)
    }

    #[test]
    fn the_authority_is_the_host_and_the_target_is_the_path() {
        let (end, head) = normalised("GET", "https://x:8443/a%20b?c", &[]);
        assert_eq!((end, head.uri.to_string().as_str()), (Ok(()), "/a%20b?c"));
        assert_eq!(head.headers[HOST], "x:8443");
        let (end, head) = normalised("GET", "/a", &[("host", "y")]);
        assert_eq!((end, head.uri.to_string().as_str()), (Ok(()), "/a"));
        assert_eq!(head.headers[HOST], "y");
        let (end, head) = normalised("CONNECT", "x:443", &[]);
        assert_eq!((end, head.uri.to_string().as_str()), (Ok(()), "x:443"));
    }

    #[test]
    fn a_host_that_is_not_the_authority_is_refused() {
        for (uri, host, expected) in [
            ("http://x/", "x", Ok(())),
            ("http://x/", "X:80", Ok(())),
            ("https://x:443/", "x", Ok(())),
            ("https://x/", "x:80", Err(400)),
            ("http://x/", "y", Err(400)),
            ("http://x:81/", "x", Err(400)),
            ("http://x/", "", Err(400)),
        ] {
            assert_eq!(normalised("GET", uri, &[("host", host)]).0, expected, "{uri} {host}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_apart() {
        let long = "x".repeat(HEAD_BYTES_MAX);
        assert_eq!(normalised("GET", &format!("http://x/{long}"), &[]).0, Err(414));
        assert_eq!(normalised("GET", "http://x/", &[("a", &long)]).0, Err(431));
        let fits = &long[..HEAD_BYTES_MAX - 100];
        assert_eq!(normalised("GET", "http://x/", &[("a", fits)]).0, Ok(()));
    }
}
