//! What identifies a version of a representation.
//!
//! Parts of two answers may be put together only with a strong validator: ranges of a file that was
//! replaced in between would make a file that never existed. A date is strong if the server's clock
//! was well past it, because a file may change twice within a second.
//!
//! Source: RFC 9110 §8.8.1, §8.8.2.2, §13.1.5, §15.3.7.3.

use std::time::Duration;

use crate::head::Head;

/// A modification that is this much older than the answer cannot be confused with a later one,
/// whatever the clocks say.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// An entity-tag or, without one, a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    text: String,
    is_strong: bool,
}

impl Validator {
    pub(crate) fn of(head: &Head) -> Option<Self> {
        if let Some(tag) = head.field("etag") {
            return Some(Self::read(tag));
        }
        let text = head.field("last-modified")?.to_owned();
        let modified = httpdate::parse_http_date(&text).ok()?;
        let answered = head.field("date").and_then(|date| httpdate::parse_http_date(date).ok());
        let age = answered.and_then(|answered| answered.duration_since(modified).ok());
        Some(Self { text, is_strong: age.is_some_and(|age| age >= CLOCKS_APART) })
    }

    /// As [`Self::write`] wrote it, or an entity-tag.
    #[must_use]
    pub fn read(text: &str) -> Self {
        match text.strip_prefix("W/") {
            Some(text) => Self { text: text.to_owned(), is_strong: false },
            None => Self { text: text.to_owned(), is_strong: true },
        }
    }

    /// Its text, to be kept: with `W/` before it if it is weak, also before a date.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{}{}", if self.is_strong { "" } else { "W/" }, self.text)
    }

    /// Whether parts with the same one are parts of the same.
    #[must_use]
    pub const fn is_strong(&self) -> bool {
        self.is_strong
    }

    /// Its text for If-Range, if it is strong.
    pub(crate) fn if_range(&self) -> Option<&str> {
        self.is_strong.then_some(self.text.as_str())
    }

    /// Whether it may be the same version.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_as_strong_as_it_says_and_a_date_when_it_is_long_past() {
        let modified = "Last-Modified: Tue, 15 Nov 1994 12:45:26 GMT\r\n";
        let date = |time: &str| format!("{modified}Date: Tue, 15 Nov 1994 {time} GMT\r\n");
        for (fields, validator) in [
            ("ETag: \"a\"\r\n".to_owned(), Some(("\"a\"", true))),
            ("ETag: W/\"a\"\r\n".to_owned(), Some(("\"a\"", false))),
            (format!("ETag: W/\"a\"\r\n{}", date("13:45:26")), Some(("\"a\"", false))),
            (date("12:46:26"), Some(("Tue, 15 Nov 1994 12:45:26 GMT", true))),
            (date("12:46:25"), Some(("Tue, 15 Nov 1994 12:45:26 GMT", false))),
            (date("12:45:25"), Some(("Tue, 15 Nov 1994 12:45:26 GMT", false))),
            (modified.to_owned(), Some(("Tue, 15 Nov 1994 12:45:26 GMT", false))),
            ("Last-Modified: yesterday\r\n".to_owned(), None),
            (String::new(), None),
        ] {
            let head = Head::parse(format!("HTTP/1.1 200 OK\r\n{fields}\r\n").as_bytes()).unwrap();
            let got = Validator::of(&head);
            let parts = got.as_ref().map(|got| (got.text.as_str(), got.is_strong));
            assert_eq!(parts, validator, "{fields}");
            if let Some(got) = got {
                assert_eq!(Validator::read(&got.write()), got);
                assert_eq!(got.if_range().is_some(), got.is_strong());
            }
        }
    }
}
