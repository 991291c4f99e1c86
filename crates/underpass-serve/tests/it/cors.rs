//! Requests of pages from other origins.

use std::time::Duration;

use http::HeaderValue;
use underpass_serve::cors::Cors;
use underpass_serve::field_rules::FieldRules;
use underpass_serve::stations::Stations;
use underpass_serve::{ErrorPages, Redirects, SiteOptions};

use crate::fixture::{Fixture, fixture};

fn server(origins: &[&str]) -> Fixture {
    let stations = stations(origins);
    Fixture::of(SiteOptions { stations, ..SiteOptions::new(fixture().served.clone()) })
}

fn stations(origins: &[&str]) -> Stations {
    let cors = Cors {
        origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        allow_headers: HeaderValue::from_static("*"),
        expose_headers: HeaderValue::from_static("ETag"),
        max_age: Duration::from_secs(600),
    };
    Stations { cors: Some(cors), ..Stations::default() }
}

fn ask(server: &Fixture, line: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    server.answers(&request)
}

/// The values of a field.
fn values<'a>(answer: &'a str, name: &str) -> Vec<&'a str> {
    let fields = answer.split("\r\n").filter_map(|line| line.split_once(": "));
    fields.filter(|(found, _)| *found == name).map(|(_, value)| value).collect()
}

const ORIGIN: &str = "access-control-allow-origin";

#[test]
fn every_answer_says_that_all_may_read_it() {
    let server = server(&["*"]);
    for (line, field, status) in [
        ("GET /digits.txt", "X: y", "200"),
        ("GET /digits.txt", "Origin: https://a.example", "200"),
        ("HEAD /digits.txt", "Origin: null", "200"),
        ("GET /digits.txt", "Range: bytes=0-1", "206"),
        ("GET /digits.txt", "If-None-Match: *", "304"),
        ("GET /digits.txt", "If-Match: \"x\"", "412"),
        ("GET /digits.txt", "Range: bytes=99-", "416"),
        ("GET /none", "X: y", "404"),
        ("GET /plain", "X: y", "308"),
        ("GET /plain/", "X: y", "200"),
        ("PUT /digits.txt", "Origin: https://a.example", "405"),
    ] {
        // The second time the file is one that is kept.
        for _ in 0..2 {
            let answer = ask(&server, line, &[field]);
            assert_eq!(&answer[9..12], status, "{line} {field}");
            assert_eq!(values(&answer, ORIGIN), ["*"], "{line} {field}");
            assert_eq!(values(&answer, "access-control-expose-headers"), ["ETag"]);
            assert!(values(&answer, "vary").is_empty(), "{line} {field}: one for all");
        }
    }
}

#[test]
fn of_a_list_each_is_told_of_itself_and_others_of_nothing() {
    let server = server(&["https://a.example", "http://B.example:8080", "null"]);
    for (fields, allowed) in [
        (&["Origin: https://a.example"][..], Some("https://a.example")),
        (&["Origin: http://b.example:8080"], Some("http://b.example:8080")),
        (&["Origin: null"], Some("null")),
        (&["Origin: http://a.example"], None),
        (&["Origin: https://a.example:444"], None),
        (&["Origin: https://a.example.evil"], None),
        (&["Origin: https://evil.a.example"], None),
        (&["Origin: *"], None),
        (&["Origin: https://a.example", "Origin: https://a.example"], None),
        (&[], None),
    ] {
        let answer = ask(&server, "GET /digits.txt", fields);
        assert_eq!(values(&answer, ORIGIN).first().copied(), allowed, "{fields:?}");
        assert_eq!(values(&answer, "vary"), ["Origin"], "{fields:?}");
    }
    assert!(values(&ask(&server, "GET /none", &["Origin: null"]), ORIGIN) == ["null"]);
}

#[test]
fn a_preflight_is_answered_with_what_is_allowed() {
    let asked = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: range"];
    let listed = server(&["https://a.example"]);
    let ask_for = |server: &Fixture, origin| {
        ask(server, "OPTIONS /digits.txt", &[&[origin][..], &asked].concat())
    };
    for (server, origin) in [(&server(&["*"]), "*"), (&listed, "https://a.example")] {
        let answer = ask_for(server, "Origin: https://a.example");
        assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
        assert!(values(&answer, "content-length").is_empty() && answer.ends_with("\r\n\r\n"));
        assert_eq!(values(&answer, ORIGIN), [origin]);
        assert_eq!(values(&answer, "access-control-allow-methods"), ["GET, HEAD"]);
        assert_eq!(values(&answer, "access-control-allow-headers"), ["*"]);
        assert_eq!(values(&answer, "access-control-max-age"), ["600"]);
        assert!(values(&answer, "vary").concat().contains("Access-Control-Request-Headers"));
    }
    let other = ask_for(&listed, "Origin: https://b.example");
    assert!(other.starts_with("HTTP/1.1 204") && !other.contains("access-control"), "{other}");
    assert!(values(&other, "vary").contains(&"Origin"));
}

#[test]
fn options_tell_the_methods_also_without_other_origins() {
    for target in ["/digits.txt", "/none", "*"] {
        let answer = ask(fixture(), &format!("OPTIONS {target}"), &["Origin: https://a.example"]);
        assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
        assert_eq!(values(&answer, "allow"), ["GET, HEAD, OPTIONS"]);
        assert!(!answer.contains("access-control") && values(&answer, "vary").is_empty());
    }
}

#[test]
fn redirects_and_pages_that_stand_in_say_who_may_read_them_too() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["app.html", "405.html", "old"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let mut site = SiteOptions::new(dir.path().to_owned());
    site.stations = stations(&["https://a.example"]);
    site.stations.redirects = Redirects::new(vec!["/old /app.html".parse().unwrap()]);
    site.lookup.fallback = Some("app.html".parse().unwrap());
    site.error_pages = ErrorPages::new(vec!["405 /405.html".parse().unwrap()]);
    site.fields = FieldRules::new(vec![
        "X-Frame-Options: DENY".parse().unwrap(),
        "*.html Cache-Control: max-age=60".parse().unwrap(),
    ]);
    let server = Fixture::of(site);
    for (line, status, end, vary) in [
        ("GET /old", "301", "301 Moved Permanently\n", &["Origin"][..]),
        ("POST /405.html", "405", "405.html", &["Origin"]),
        ("GET /none", "200", "app.html", &["Accept", "Origin"]),
    ] {
        for origin in ["https://a.example", "https://b.example"] {
            let fields = [&*format!("Origin: {origin}"), "Accept: text/html"];
            let answer = ask(&server, line, &fields);
            assert!(answer[9..].starts_with(status) && answer.ends_with(end), "{answer}");
            let allowed = (origin == "https://a.example").then_some(origin);
            assert_eq!(values(&answer, ORIGIN).first().copied(), allowed, "{line}");
            assert_eq!(values(&answer, "vary"), vary, "{line}");
            assert_eq!(values(&answer, "x-frame-options"), ["DENY"], "{line}");
            // An error is not kept as long as the page would be.
            assert_eq!(values(&answer, "cache-control").len(), usize::from(status == "200"));
        }
    }
    let preflight = ["Origin: https://a.example", "Access-Control-Request-Method: GET"];
    assert!(ask(&server, "OPTIONS /old", &preflight).starts_with("HTTP/1.1 204 "));
}
