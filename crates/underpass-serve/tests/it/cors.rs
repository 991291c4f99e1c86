//! Requests of pages from other origins.

use std::time::Duration;

use http::HeaderValue;
use underpass_serve::SiteOptions;
use underpass_serve::cors::Cors;
use underpass_serve::stations::Stations;

use crate::fixture::{Fixture, fixture};

fn server(origins: &[&str]) -> Fixture {
    let cors = Cors {
        origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
        allow_headers: HeaderValue::from_static("*"),
        expose_headers: HeaderValue::from_static("ETag"),
        max_age: Duration::from_secs(600),
    };
    let stations = Stations { cors: Some(cors) };
    Fixture::of(SiteOptions { stations, ..SiteOptions::new(fixture().served.clone()) })
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
