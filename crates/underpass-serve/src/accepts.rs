//! Whether a client asks for a page.
//!
//! Source: RFC 9110 §12.5.1 (Accept).

use http::header::{ACCEPT, HeaderMap};

use crate::weight::weight;

/// Whether `text/html` is in Accept by its name, as where a browser goes to a page. A script, an
/// image or a program says `*/*`, or nothing.
pub(crate) fn accepts_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let mut ranges = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    ranges.any(|range| {
        let mut parts = range.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"text/html"))
            && !parts.any(|parameter| weight(parameter) == Some(0))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_is_asked_for_by_name() {
        for (values, expected) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["text/*"], false),
            (&["application/json"], false),
            (&["text/html"], true),
            (&["Text/HTML"], true),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], true),
            (&["*/*", "text/html;q=0.1"], true),
            (&["image/png , text/html ; level=1"], true),
            (&["text/html;q=0"], false),
            (&["text/html; Q=0.000"], false),
            (&["text/html;level=1;q=0."], false),
            (&["text/html;q=0.001"], true),
            (&["text/html;quality=0"], true),
            (&["text/html;q=0, text/html;level=1"], true),
            (&["text/html5"], false),
            (&["text/plain;a=text/html"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            assert_eq!(accepts_html(&headers), expected, "{values:?}");
        }
    }
}
