//! Cross-origin requests: which pages of other sites may read the answers.
//!
//! Credentials are never allowed: this server knows no sessions. With `*` every answer says so, to
//! requests without an origin too, so that a cache has one answer for all; with a list every answer
//! varies by the origin. The list has the origins as browsers send them, `null` among them if that
//! is wanted.
//!
//! Source: WHATWG Fetch, "HTTP extensions" (CORS protocol), "CORS protocol and HTTP caches"; RFC
//! 6454 §6.2 (origins as text); RFC 9110 §12.5.5 (Vary).

use std::str::FromStr;
use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::request::Parts;
use http::{Method, Uri};

use crate::conditional::sole;

/// An origin that may read the answers, or `*` for all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Why a text is not an origin.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "'{0}' is not an origin: give SCHEME://HOST, with :PORT if it is not the usual one, or '*'"
)]
pub struct OriginError(String);

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let text = text.trim().to_ascii_lowercase();
        if !matches!(text.as_str(), "*" | "null") {
            let uri: Option<Uri> = text.parse().ok();
            let uri = uri.filter(|uri| uri.scheme().is_some());
            let host = uri.as_ref().and_then(Uri::authority).map(|it| it.as_str());
            let is_all = |host: &str| text.ends_with(&format!("://{host}")) && !host.contains('@');
            if !host.is_some_and(is_all) {
                return Err(OriginError(text));
            }
        }
        HeaderValue::from_str(&text).map(Self).map_err(|_| OriginError(text))
    }
}

/// What is answered to requests from pages of other origins.
#[derive(Debug, Clone)]
pub struct Cors {
    /// Who may read the answers.
    pub origins: Vec<Origin>,
    /// The request fields that pages may add, or `*`.
    pub allow_headers: HeaderValue,
    /// The fields of answers that pages may read.
    pub expose_headers: HeaderValue,
    /// How long a browser may remember what it was told.
    pub max_age: Duration,
}

impl Cors {
    /// Whether this is a question and not a request: Fetch, "CORS-preflight request".
    pub(crate) fn is_preflight(request: &Parts) -> bool {
        let has = |name| request.headers.contains_key(name);
        request.method == Method::OPTIONS && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// Adds to the answer to a preflight what may be asked for.
    pub(crate) fn allow(&self, request: &Parts, headers: &mut HeaderMap) {
        let asked = "Access-Control-Request-Method, Access-Control-Request-Headers";
        headers.append(VARY, HeaderValue::from_static(asked));
        if self.allowed(request).is_some() {
            let methods = HeaderValue::from_static("GET, HEAD");
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone());
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age.as_secs()));
        }
    }

    /// Adds to any answer who may read it.
    pub(crate) fn add_to(&self, request: &Parts, headers: &mut HeaderMap) {
        if let Some(allowed) = self.allowed(request) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.clone());
        }
        if self.all().is_none() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// The origin of a request if it may read the answer, `*` if all may.
    fn allowed(&self, request: &Parts) -> Option<&HeaderValue> {
        let by_name = || {
            let origin = sole(&request.headers, &ORIGIN)?;
            self.origins.iter().map(|Origin(it)| it).find(|it| *it == origin)
        };
        self.all().or_else(by_name)
    }

    fn all(&self) -> Option<&HeaderValue> {
        self.origins.iter().map(|Origin(it)| it).find(|it| *it == "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_as_browsers_send_them() {
        for (text, origin) in [
            ("*", "*"),
            ("null", "null"),
            ("https://A.example", "https://a.example"),
            (" http://[::1]:8080", "http://[::1]:8080"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().0, origin);
        }
        for wrong in ["", "a.example", "https://", "https://a.example/", "https://a/b", "a:80"] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong:?}");
        }
        for wrong in ["https://u@a", "https://*.a/", "https://a\u{e9}", "//a"] {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong:?}");
        }
    }
}
