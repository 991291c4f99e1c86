//! Names and passwords.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use underpass_serve::access::{Access, AccessOptions};
use underpass_serve::cors::Cors;
use underpass_serve::{ErrorPages, SiteOptions};
use underpass_testkit::wait;

use crate::fixture::{Fixture, field, fixture};

const PATIENCE: Duration = Duration::from_secs(20);

/// `alice:password`, and the hash of that password.
const ALICE: &str = "Authorization: Basic YWxpY2U6cGFzc3dvcmQ=";
const HASH: &str = "$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";

/// `alice:passwort`, and `carol:password`.
const OTHERS: [&str; 2] =
    ["Authorization: Basic YWxpY2U6cGFzc3dvcnQ=", "Authorization: Basic Y2Fyb2w6cGFzc3dvcmQ="];

/// A site whose paths of these patterns are for alice; all of them if there is none.
fn site(patterns: &[&str]) -> SiteOptions {
    let access = Access::new(AccessOptions {
        users: vec![format!("alice:{HASH}")],
        file: None,
        realm: "files".into(),
        paths: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
    });
    let mut site = SiteOptions::new(fixture().served.clone());
    site.stations.access = Some(Arc::new(access.unwrap()));
    site
}

fn ask(server: &Fixture, line: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request = format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    server.answers(&request)
}

/// The next answer of a connection.
fn next(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let head = String::from_utf8(answer).unwrap();
    let mut content = vec![0; field(&head, "content-length").parse().unwrap()];
    client.read_exact(&mut content).unwrap();
    head + std::str::from_utf8(&content).unwrap()
}

#[test]
fn who_has_no_password_is_told_nothing_of_files() {
    let server = Fixture::of(site(&[]));
    let first = ask(&server, "GET /digits.txt", &[]);
    assert!(first.starts_with("HTTP/1.1 401 Unauthorized\r\n"), "{first}");
    assert_eq!(field(&first, "www-authenticate"), "Basic realm=\"files\", charset=\"UTF-8\"");
    assert_eq!(field(&first, "cache-control"), "private");
    for line in [
        "GET /none",
        "GET /plain",
        "GET /plain/",
        "GET /%",
        "GET /.hidden",
        "GET /out",
        "GET /digits.txt?x=y",
    ] {
        assert_eq!(ask(&server, line, &[]), first, "{line}");
        for other in OTHERS {
            assert_eq!(ask(&server, line, &[other]), first, "{line}");
        }
    }
    for fields in [&["Range: bytes=0-1"][..], &["If-None-Match: *"], &["Content-Length: 0"]] {
        assert_eq!(ask(&server, "GET /digits.txt", fields), first, "{fields:?}");
    }
    let head = first.split_once("\r\n\r\n").unwrap().0;
    assert_eq!(ask(&server, "HEAD /digits.txt", &[]), format!("{head}\r\n\r\n"));
    assert!(ask(&server, "GET /digits.txt", &[ALICE]).ends_with("\r\n\r\n0123456789"));
    assert!(ask(&server, "GET /none", &[ALICE]).starts_with("HTTP/1.1 404 "));
}

/// What is asked for by a plain request is sent without hyper, if it may be.
#[test]
fn a_file_that_is_kept_is_not_sent_to_the_next_who_asks_for_it() {
    for patterns in [&[][..], &["*.txt"], &["/site/**", "/digits.txt"]] {
        let server = Fixture::of(site(patterns));
        let (plain, with) = (
            "GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n",
            format!("GET /digits.txt HTTP/1.1\r\nHost: x\r\n{ALICE}\r\n\r\n"),
        );
        for _ in 0..2 {
            let mut client = server.connect();
            for (request, status) in
                [(&*with, "200"), (plain, "401"), (&with, "200"), (plain, "401")]
            {
                client.write_all(request.as_bytes()).unwrap();
                let answer = next(&mut client);
                assert_eq!(&answer[9..12], status, "{patterns:?}: {answer}");
            }
        }
        let close = "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let all = server.answers(&[&with, plain, &with, plain, close].concat());
        assert_eq!(all.matches("HTTP/1.1 401 ").count(), if patterns.is_empty() { 3 } else { 2 });
        assert_eq!(all.matches("0123456789").count(), 2, "{all}");
    }
}

#[test]
fn what_no_pattern_is_for_is_for_all() {
    let server = Fixture::of(site(&["/plain/**"]));
    for _ in 0..2 {
        let answer = ask(&server, "GET /digits.txt", &[]);
        assert!(answer.starts_with("HTTP/1.1 200 ") && !answer.contains("cache-control"));
        assert!(ask(&server, "GET /", &[]).starts_with("HTTP/1.1 200 "));
        for line in ["GET /plain", "GET /plain/", "GET /plain/b.txt", "GET /x/../%70lain//b.txt"] {
            assert!(ask(&server, line, &[]).starts_with("HTTP/1.1 401 "), "{line}");
        }
    }
    let answer = ask(&server, "GET /plain/b.txt", &[ALICE]);
    assert_eq!(field(&answer, "cache-control"), "private");
    let listing = ask(&server, "GET /plain/", &[ALICE]);
    assert_eq!(field(&listing, "cache-control"), "no-cache, private");
}

#[test]
fn a_preflight_needs_no_password_and_a_401_may_be_read_by_its_page() {
    let mut site = site(&[]);
    site.stations.cors = Some(Cors {
        origins: vec!["https://a.example".parse().unwrap()],
        allow_headers: HeaderValue::from_static("Authorization"),
        expose_headers: HeaderValue::from_static("ETag"),
        max_age: Duration::from_secs(600),
    });
    site.error_pages = ErrorPages::new(vec!["401 /site/index.html".parse().unwrap()]);
    let server = Fixture::of(site);
    let asked = ["Origin: https://a.example", "Access-Control-Request-Method: GET"];
    let preflight = ask(&server, "OPTIONS /digits.txt", &asked);
    assert!(preflight.starts_with("HTTP/1.1 204 "), "{preflight}");
    assert_eq!(field(&preflight, "access-control-allow-headers"), "Authorization");
    let refused = ask(&server, "GET /digits.txt", &asked[..1]);
    assert!(refused.starts_with("HTTP/1.1 401 ") && refused.ends_with("<p>index</p>\n"));
    assert_eq!(field(&refused, "access-control-allow-origin"), "https://a.example");
    assert!(!field(&refused, "www-authenticate").is_empty());
}

#[test]
fn a_name_is_in_the_log_if_its_password_was_right_and_no_password_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let server = Fixture::logging_site(site(&[]), &path);
    for field in [ALICE, OTHERS[0], OTHERS[1]] {
        ask(&server, "GET /digits.txt", &[field]);
    }
    let whole = || {
        let log = std::fs::read_to_string(&path).unwrap();
        (log.lines().count() == 3).then_some(log)
    };
    let log = wait::until(PATIENCE, whole).expect("there are three lines");
    let users: Vec<_> = log.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    assert_eq!(users, ["alice", "-", "-"]);
    for secret in ["YWxpY2U6", "password", "Basic"] {
        assert!(!log.contains(secret), "{log}");
    }
}
