//! Fields that an answer has because of its path alone.
//!
//! They are put into what is kept of a file, once, so that a request pays nothing for them. Errors
//! and redirections have them too, but for those about content and caching: a 404 must not be kept
//! for the year that the file would have been.
//!
//! Source: RFC 9110 §5.1, §5.5 (names and values), §6.6.1 (Date), §8 (representation); RFC 9111
//! §5.2 (Cache-Control); RFC 9112 §6, §9.6 (fields of the connection).

use std::str::FromStr;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VARY,
};

use crate::pattern::{Pattern, PatternError};

/// A field for the paths of a pattern, or that they have none of this name.
#[derive(Debug, Clone)]
pub struct FieldRule {
    paths: Pattern,
    name: HeaderName,
    value: Option<HeaderValue>,
}

/// Why a text is not a rule for a field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FieldRuleError {
    /// There is no colon.
    #[error("no ':' after the name of a field")]
    NoField,
    /// The name has other characters than a name may have.
    #[error("'{0}' is not the name of a field")]
    Name(String),
    /// The value has a control character, or one that is not ASCII.
    #[error("a value is visible ASCII, spaces and tabs")]
    Value,
    /// The server alone knows what this field has to say.
    #[error("'{0}' is the server's own")]
    Own(HeaderName),
    /// The pattern cannot be read.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl FieldRule {
    /// `Cache-Control` from `VALUE`, which is for all files, or from `PATTERN VALUE`: a pattern has
    /// a slash, a full stop or a wildcard, and no directive has.
    ///
    /// # Errors
    ///
    /// [`FieldRuleError`].
    pub fn of_caching(text: &str) -> Result<Self, FieldRuleError> {
        let (first, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let is_pattern = first.contains(['/', '*', '?', '[', '{', '.']);
        let (paths, value) =
            if is_pattern { (first.parse()?, rest) } else { (Pattern::files(), text) };
        Ok(Self { paths, name: CACHE_CONTROL, value: parse_value(value)? })
    }
}

/// `PATTERN Name: value`, or `Name: value` for every path. Without a value there is no such field.
impl FromStr for FieldRule {
    type Err = FieldRuleError;

    fn from_str(text: &str) -> Result<Self, FieldRuleError> {
        let (before, value) = text.split_once(':').ok_or(FieldRuleError::NoField)?;
        let (paths, name) = match before.trim().split_once([' ', '\t']) {
            Some((pattern, name)) => (pattern.parse()?, name.trim()),
            None => (Pattern::everything(), before.trim()),
        };
        let name = HeaderName::try_from(name).map_err(|_| FieldRuleError::Name(name.into()))?;
        if OWN.contains(&name) || OF_CONNECTIONS.contains(&name.as_str()) {
            return Err(FieldRuleError::Own(name));
        }
        Ok(Self { paths, name, value: parse_value(value)? })
    }
}

fn parse_value(text: &str) -> Result<Option<HeaderValue>, FieldRuleError> {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::from_str(text).ok().filter(|_| text.is_ascii());
    value.map(Some).ok_or(FieldRuleError::Value)
}

/// The fields for all paths of a site. Of two rules for the same field, the later one holds.
#[derive(Debug, Clone, Default)]
pub struct FieldRules(Vec<FieldRule>);

impl FieldRules {
    /// These rules, in this order.
    #[must_use]
    pub const fn new(rules: Vec<FieldRule>) -> Self {
        Self(rules)
    }

    /// Adds the fields that a decoded path has, and takes away those that it is not to have.
    pub(crate) fn add_to(&self, path: &[u8], headers: &mut HeaderMap) {
        self.add(path, headers, |_| true);
    }

    /// The same for an answer that is not what is at the path.
    pub(crate) fn add_to_other(&self, path: &[u8], headers: &mut HeaderMap) {
        self.add(path, headers, |name| !OF_CONTENT.contains(name));
    }

    fn add(&self, path: &[u8], headers: &mut HeaderMap, is_for: impl Fn(&HeaderName) -> bool) {
        let rules = self.0.iter().filter(|rule| is_for(&rule.name) && rule.paths.matches(path));
        for rule in rules {
            match &rule.value {
                Some(value) => drop(headers.insert(&rule.name, value.clone())),
                None => drop(headers.remove(&rule.name)),
            }
        }
    }
}

/// What the server knows, and a rule can only get wrong: framing, validators and parts.
const OWN: [HeaderName; 11] = [
    ACCEPT_RANGES,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    DATE,
    ETAG,
    LAST_MODIFIED,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// RFC 9110 §7.6.1: others that are of one connection.
const OF_CONNECTIONS: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// What describes the file, and how long it may be kept.
const OF_CONTENT: [HeaderName; 8] = [
    CACHE_CONTROL,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LOCATION,
    CONTENT_TYPE,
    EXPIRES,
    VARY,
];

#[cfg(test)]
mod tests {
    use http::header::{STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};

    use super::*;

    fn rules(texts: &[&str]) -> FieldRules {
        FieldRules::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn fields(rules: &FieldRules, path: &str) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(1))]);
        rules.add_to(path.as_bytes(), &mut headers);
        headers
    }

    #[test]
    fn of_the_rules_for_a_path_the_last_one_holds() {
        let rules = rules(&["** Cache-Control: no-cache", "assets/** cache-control:max-age=60"]);
        for (path, value) in [
            ("", "no-cache"),
            ("a", "no-cache"),
            ("assets", "no-cache"),
            ("assets/a", "max-age=60"),
        ] {
            let headers = fields(&rules, path);
            assert_eq!((headers.len(), &headers[CACHE_CONTROL]), (2, &value.parse().unwrap()));
        }
    }

    #[test]
    fn a_rule_without_a_pattern_is_for_every_path_and_one_without_a_value_takes_away() {
        let rules = rules(&["X-A:  1: \t2 ", "*.txt X-A:"]);
        assert_eq!(fields(&rules, "a/b")["x-a"], "1: \t2");
        assert_eq!(fields(&rules, "")["x-a"], "1: \t2");
        assert_eq!(fields(&rules, "a/b.txt").len(), 1);
    }

    #[test]
    fn caching_is_for_files_or_for_a_pattern() {
        for (text, path, value) in [
            ("max-age=60, public", "a/b", Some("max-age=60, public")),
            ("no-cache", "a", Some("no-cache")),
            ("private=\"set-cookie, x\"", "a", Some("private=\"set-cookie, x\"")),
            ("no-cache", "a/", None),
            ("no-cache", "", None),
            ("** no-cache", "a/", Some("no-cache")),
            ("/a no-cache", "a", Some("no-cache")),
            ("a.css max-age=9", "b/a.css", Some("max-age=9")),
            ("a.css max-age=9", "b/a.js", None),
        ] {
            let rules = FieldRules::new(vec![FieldRule::of_caching(text).unwrap()]);
            let headers = fields(&rules, path);
            let got = headers.get(CACHE_CONTROL).map(|value| value.to_str().unwrap());
            assert_eq!(got, value, "{text} for {path}");
        }
    }

    #[test]
    fn what_is_not_at_the_path_gets_nothing_about_its_content() {
        let texts = ["Cache-Control: max-age=9", "Content-Type: a/b", "Content-Security-Policy: x"];
        let rules = rules(&[&texts[..], &["Strict-Transport-Security: max-age=1"]].concat());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        rules.add_to_other(b"a", &mut headers);
        assert_eq!(headers.len(), 3);
        assert_eq!(headers[CONTENT_TYPE], "text/plain");
        assert_eq!(headers["content-security-policy"], "x");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=1");
    }

    #[test]
    fn what_is_not_a_rule_is_refused_by_name() {
        for (text, reason) in [
            ("X-A", "no ':' after the name of a field"),
            ("", "no ':' after the name of a field"),
            (": a", "'' is not the name of a field"),
            ("** X A: a", "'X A' is not the name of a field"),
            ("X-\u{e9}: a", "'X-\u{e9}' is not the name of a field"),
            ("X-A: \u{e9}", "a value is visible ASCII, spaces and tabs"),
            ("X-A: a\r\nX-B: b", "a value is visible ASCII, spaces and tabs"),
            ("Content-Length: 1", "'content-length' is the server's own"),
            ("* transfer-encoding: chunked", "'transfer-encoding' is the server's own"),
            ("Date:", "'date' is the server's own"),
            ("ETag: \"a\"", "'etag' is the server's own"),
            ("Keep-Alive: a", "'keep-alive' is the server's own"),
        ] {
            assert_eq!(text.parse::<FieldRule>().unwrap_err().to_string(), reason, "{text:?}");
        }
        assert!("a[ X-A: a".parse::<FieldRule>().is_err());
        let own = rules(&["X-Content-Type-Options:"]);
        assert!(!fields(&own, "a").contains_key(X_CONTENT_TYPE_OPTIONS));
    }
}
