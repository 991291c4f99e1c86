//! URLs and where redirects lead: no request can be split by what a server says, and a reference
//! leads where RFC 3986 says.
//!
//! Input: a URL, a line end, a Location.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_client::{Url, fuzzing};

fuzz_target!(|text: &str| {
    let (first, location) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(url) = Url::parse(first) else { return };
    check(&url);
    if let Ok(joined) = fuzzing::join(&url, location) {
        check(&joined);
        if location.starts_with('/') && !location.starts_with("//") {
            assert_eq!(host(&joined), host(&url), "{location} leads to another host");
        }
        let scheme = |url: &Url| url.to_string().split(':').next().map(str::to_owned);
        if location.starts_with("//") {
            assert_eq!(scheme(&joined), scheme(&url), "{location} changes the scheme");
        }
    }
});

/// The Host field.
fn host(url: &Url) -> String {
    let request = fuzzing::request(url);
    let line = request.lines().find_map(|line| line.strip_prefix("Host: "));
    line.expect("a request has a Host").to_owned()
}

/// A URL is read as it is written, and its request is one request for its target.
fn check(url: &Url) {
    let text = url.to_string();
    // Users and passwords are not printed.
    let again = Url::parse(&text).expect("it is a URL as it is printed");
    assert_eq!(again.to_string(), text);
    assert_eq!(host(&again), host(url), "{text}");
    let request = fuzzing::request(url);
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Request::new(&mut fields);
    let status = parsed.parse(request.as_bytes()).expect("a request");
    assert_eq!(status, httparse::Status::Complete(request.len()), "{request:?}");
    assert_eq!(parsed.headers.iter().filter(|field| field.name == "Host").count(), 1);
    let path = parsed.path.expect("a complete head has one");
    assert!(path.starts_with('/') && !path.contains('#'), "{path}");
    if let Ok(other) = url::Url::parse(&text) {
        let has_user = !other.username().is_empty() || other.password().is_some();
        assert!(!has_user, "{text} has a user for others");
    }
}
