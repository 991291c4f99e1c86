//! Several sites of one server, by host, and sites that are replaced while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use underpass_serve::{Publisher, SiteOptions, Sites};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::wait;

use crate::fixture::{Fixture, field};

const PATIENCE: Duration = Duration::from_secs(20);

/// The field makes hyper read the request: an unknown option of the connection.
const UNDER_HYPER: &str = "Connection: keep-alive, unknown\r\n";

/// Sites of these hosts, each with a directory of its name beneath `all`, in which a file has that
/// name as its content.
pub(crate) fn sites(all: &Path, hosts: &[(&str, &str)]) -> Sites {
    let site = |(host, name): &(&str, &str)| {
        let directory = all.join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("a"), name).unwrap();
        (host.parse().unwrap(), SiteOptions::new(directory))
    };
    Sites(hosts.iter().map(site).collect())
}

/// The answer of a connection that stays open: its head, and its content if there is any.
fn ask(peer: &mut TcpStream, method: &str, host: &str, fields: &str) -> (String, String) {
    peer.write_all(format!("{method} /a HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").as_bytes())
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let has_content = method != "HEAD";
    let len = if has_content { field(&head, "content-length").parse().unwrap() } else { 0 };
    let mut content = vec![0; len];
    peer.read_exact(&mut content).unwrap();
    (head, String::from_utf8(content).unwrap())
}

#[test]
fn each_host_has_its_site_also_where_requests_are_answered_directly() {
    let dir = tempfile::tempdir().unwrap();
    let hosts = [("www.a.org", "one"), ("*.a.org", "two"), ("_", "rest"), ("b.org", "three")];
    let server = Fixture::of_sites(sites(dir.path(), &hosts));
    let mut peer = server.connect();
    let mut has_settled = false;
    let all = || {
        for (host, name) in [
            ("www.a.org", "one"),
            ("WWW.a.org:80", "one"),
            ("b.a.org", "two"),
            ("b.org.", "three"),
            ("c.org", "rest"),
            ("127.0.0.1", "rest"),
        ] {
            for fields in ["", UNDER_HYPER, ""] {
                let (head, content) = ask(&mut peer, "GET", host, fields);
                assert_eq!(content, name, "{host} {fields} {head}");
                has_settled = field(&head, "etag").starts_with('"');
            }
        }
        // All are kept then, under the same path, and asked for once more.
        has_settled.then_some(())
    };
    let mut all = all;
    wait::until(PATIENCE, &mut all).expect("a second passes");
    all();
}

#[test]
fn without_a_site_for_others_an_unknown_host_has_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Fixture::of_sites(sites(dir.path(), &[("a.org", "one")]));
    let mut peer = server.connect();
    for _ in 0..2 {
        assert_eq!(ask(&mut peer, "GET", "a.org", "").1, "one");
        let (head, content) = ask(&mut peer, "GET", "b.org", "");
        assert!(head.starts_with("HTTP/1.1 404 ") && content.starts_with("404 "), "{head}");
        assert!(ask(&mut peer, "HEAD", "b.org", "").0.starts_with("HTTP/1.1 404 "));
    }
    let absolute = "GET http://a.org/a HTTP/1.1\r\nHost: b.org\r\nConnection: close\r\n\r\n";
    assert!(server.answers(absolute).ends_with("\r\n\r\none"), "the target goes before the field");
    for malformed in ["Host: b/c\r\n", "", "Host: a.org\r\nHost: a.org\r\n"] {
        let answer = server.answers(&format!("GET /a HTTP/1.1\r\n{malformed}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{malformed}: {answer}");
    }
    let old = server.answers("GET /a HTTP/1.0\r\n\r\n");
    assert!(old.starts_with("HTTP/1.0 404 "), "{old}");
}

fn content(server: &Fixture) -> String {
    let answer = server.answers("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn sites_are_replaced_while_connections_stay_and_responses_end_as_they_began() {
    const LEN: u64 = 32 << 20;
    let dir = tempfile::tempdir().unwrap();
    let before = sites(dir.path(), &[("_", "before")]);
    fs::write(dir.path().join("before/big"), pattern(0..LEN)).unwrap();
    let (server, publisher): (Fixture, Publisher) = Fixture::published(before);
    let mut kept = server.connect();
    assert_eq!(ask(&mut kept, "GET", "x", "").1, "before");
    let mut slow = server.connect();
    slow.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut some = vec![0; 1_000];
    slow.read_exact(&mut some).unwrap();
    publisher.publish(sites(dir.path(), &[("_", "after")])).unwrap();
    for fields in ["", UNDER_HYPER, ""] {
        assert_eq!(ask(&mut kept, "GET", "x", fields).1, "after");
    }
    slow.read_to_end(&mut some).unwrap();
    let content_at = some.len() - usize::try_from(LEN).unwrap();
    assert_eq!(difference(&some[content_at..], 0, LEN), None);
    // What does not pass changes nothing, though the first of the two would have passed.
    let mut wrong = sites(dir.path(), &[("_", "other"), ("a.org", "none")]);
    fs::remove_dir_all(dir.path().join("none")).unwrap();
    let error = publisher.publish(wrong).unwrap_err().to_string();
    assert!(error.contains("cannot open directory") && error.contains("none"), "{error}");
    assert_eq!(content(&server), "after");
    wrong = sites(dir.path(), &[("a.org", "one"), ("A.org.", "two")]);
    let error = publisher.publish(wrong).unwrap_err().to_string();
    assert_eq!(error, "there are two sites for a.org");
    assert_eq!(ask(&mut kept, "GET", "x", "").1, "after");
}
