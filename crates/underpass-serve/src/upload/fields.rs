//! The fields of resumable uploads.
//!
//! Source: draft-ietf-httpbis-resumable-upload-12, §4.1; RFC 9651 (structured fields).

use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::Refusal;
use crate::conditional::sole;

pub(super) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
pub(super) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const LIMIT: HeaderName = HeaderName::from_static("upload-limit");

/// The media type of what is appended.
pub(crate) const PARTIAL: HeaderValue = HeaderValue::from_static("application/partial-upload");

/// RFC 9651 §3.3.1: an integer has 15 digits at most.
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// What a request says of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) offset: Option<u64>,
    /// Whether its content is the last.
    pub(super) complete: Option<bool>,
    /// How long all of it will be.
    length: Option<u64>,
    /// How much comes with this request.
    pub(super) content: Option<u64>,
}

impl Fields {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let complete = match item(headers, &COMPLETE) {
            Some("?1") => Some(true),
            Some("?0") => Some(false),
            _ => None,
        };
        let integer = |name| item(headers, name).and_then(|text| digits(text, INTEGER_MAX));
        // hyper and h2 have refused a length that is not a number, and several.
        let content = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok());
        let content = content.and_then(|text| digits(text, u64::MAX));
        Self { offset: integer(&OFFSET), complete, length: integer(&LENGTH), content }
    }

    /// How long all will be, as far as this request and those before tell, which agree.
    pub(super) fn length(&self, offset: u64, known: Option<u64>) -> Result<Option<u64>, Refusal> {
        let content = self.content.filter(|_| self.complete == Some(true));
        let by_content = content.map(|content| offset.saturating_add(content));
        let mut all = [known, self.length, by_content].into_iter().flatten();
        let first = all.next();
        let end = offset.saturating_add(self.content.unwrap_or(0));
        if all.all(|other| Some(other) == first) && first.is_none_or(|length| end <= length) {
            Ok(first)
        } else {
            Err(Refusal::Length)
        }
    }
}

/// Whether the content is one to be appended.
pub(super) fn is_partial(headers: &HeaderMap) -> bool {
    let media_type = sole(headers, &CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|text| text.trim().eq_ignore_ascii_case("application/partial-upload"))
}

pub(super) const fn boolean(is: bool) -> HeaderValue {
    HeaderValue::from_static(if is { "?1" } else { "?0" })
}

/// The limits of an upload.
pub(super) fn limit(bytes_max: u64, age_max: Option<Duration>) -> HeaderValue {
    let size = format!("max-size={}", bytes_max.min(INTEGER_MAX));
    let age = age_max.map(|age| format!(", max-age={}", age.as_secs()));
    let limit = HeaderValue::try_from(size + &age.unwrap_or_default());
    limit.expect("words and digits are visible ASCII")
}

/// The item of a field, without its parameters.
fn item<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    Some(sole(headers, name)?.to_str().ok()?.split(';').next()?.trim_matches(' '))
}

fn digits(text: &str, most: u64) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_number && *number <= most)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn fields(of: &[(&str, &str)]) -> Fields {
        let request =
            of.iter().fold(Request::builder(), |it, (name, value)| it.header(*name, *value));
        Fields::of(request.body(()).unwrap().headers())
    }

    #[test]
    fn values_of_other_types_count_as_absent() {
        for (value, complete) in [
            ("?1", Some(true)),
            (" ?0 ", Some(false)),
            ("?1;a=b", Some(true)),
            ("1", None),
            ("?2", None),
            ("true", None),
            ("", None),
        ] {
            assert_eq!(fields(&[("upload-complete", value)]).complete, complete, "{value}");
        }
        for (value, offset) in [
            ("0", Some(0)),
            ("999999999999999", Some(INTEGER_MAX)),
            ("1000000000000000", None),
            ("+1", None),
            ("-1", None),
            ("1.0", None),
            ("\"1\"", None),
        ] {
            assert_eq!(fields(&[("upload-offset", value)]).offset, offset, "{value}");
        }
        let twice = fields(&[("upload-complete", "?1"), ("upload-complete", "?0")]);
        assert_eq!(twice.complete, None);
    }

    #[test]
    fn lengths_agree() {
        let complete = ("upload-complete", "?1");
        let of = |all: &[(&str, &str)], offset, known| {
            fields(all).length(offset, known).map_err(|refusal| refusal.status().as_u16())
        };
        assert_eq!(of(&[], 5, None), Ok(None));
        assert_eq!(of(&[("upload-length", "9")], 5, None), Ok(Some(9)));
        assert_eq!(of(&[("upload-length", "9")], 5, Some(9)), Ok(Some(9)));
        assert_eq!(of(&[("upload-length", "9")], 5, Some(8)), Err(400));
        assert_eq!(of(&[complete, ("content-length", "4")], 5, None), Ok(Some(9)));
        assert_eq!(of(&[complete, ("content-length", "4")], 5, Some(9)), Ok(Some(9)));
        assert_eq!(of(&[complete, ("content-length", "4")], 5, Some(10)), Err(400));
        assert_eq!(of(&[("content-length", "4")], 5, Some(10)), Ok(Some(10)));
        assert_eq!(of(&[("content-length", "6")], 5, Some(10)), Err(400), "more than all");
        assert_eq!(of(&[complete], 5, Some(10)), Ok(Some(10)));
        let most = u64::MAX.to_string();
        assert_eq!(of(&[complete, ("content-length", &most)], 5, None), Ok(Some(u64::MAX)));
    }

    #[test]
    fn what_is_appended_has_its_own_media_type() {
        for (value, is) in [
            ("application/partial-upload", true),
            ("Application/Partial-Upload ; a=b", true),
            ("application/octet-stream", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_partial(&headers), is, "{value}");
        }
        assert!(!is_partial(&HeaderMap::new()));
    }
}
