//! Plain requests for kept files: with hyper or without it, the answer is the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use underpass_serve::{ErrorPages, Redirects, SiteOptions};
use underpass_testkit::wait;

use crate::fixture::{Fixture, LARGE_BYTES, large};

const PATIENCE: Duration = Duration::from_secs(20);

/// The field makes hyper read the request: an unknown option of the connection.
const UNDER_HYPER: &str = "Connection: keep-alive, unknown\r\n";

/// The head of one answer, without its date, and its content.
fn ask(peer: &mut TcpStream, request: &str, content_bytes: usize) -> (String, Vec<u8>) {
    peer.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let lines = head.lines().map(|line| if line.starts_with("date: ") { "date" } else { line });
    // hyper puts the length of what is empty last.
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    let head = lines.join("\n");
    let mut content = vec![0; content_bytes];
    peer.read_exact(&mut content).unwrap();
    (head, content)
}

#[test]
fn an_answer_has_the_same_bytes_and_counts_the_same_under_hyper_and_without() {
    let server = Fixture::alone();
    let mut peer = server.connect();
    for (method, path, content_bytes) in [
        ("GET", "/digits.txt", 10),
        ("HEAD", "/digits.txt", 0),
        ("GET", "/digits.txt?query=1", 10),
        ("GET", "/empty.txt", 0),
        ("GET", "/large.bin", LARGE_BYTES),
    ] {
        let mut answers = Vec::new();
        for fields in ["", UNDER_HYPER, ""] {
            let before = ["requests_total{status=\"2xx\"}", "sent_bytes_total"]
                .map(|series| server.metric(series));
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
            let answer = ask(&mut peer, &request, content_bytes);
            let counted = || {
                let now = ["requests_total{status=\"2xx\"}", "sent_bytes_total"]
                    .map(|series| server.metric(series));
                let sent = usize::try_from(now[1] - before[1]).unwrap();
                (now[0] == before[0] + 1 && sent > content_bytes).then_some(sent)
            };
            answers.push((answer, wait::until(PATIENCE, counted).expect("it is counted")));
        }
        assert_eq!(answers[0], answers[1], "{method} {path}");
        assert_eq!(answers[1], answers[2], "{method} {path}");
        let (_, content) = &answers[0].0;
        assert!(path != "/large.bin" || *content == large());
    }
}

#[test]
fn the_log_has_the_same_line_under_hyper_and_without() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let mut peer = server.connect();
    for fields in ["", UNDER_HYPER, ""] {
        let of_client = "User-Agent: \"me\"\r\nReferer: http://y/\r\n";
        let request = format!("GET /digits.txt?q HTTP/1.1\r\nHost: x\r\n{of_client}{fields}\r\n");
        ask(&mut peer, &request, 10);
    }
    let lines = wait::until(PATIENCE, || {
        let text = std::fs::read_to_string(&log).unwrap();
        let lines: Vec<_> =
            text.lines().map(|line| line.split_once('"').unwrap().1.to_owned()).collect();
        (lines.len() == 3).then_some(lines)
    });
    let line = r#"GET /digits.txt?q HTTP/1.1" 200 10 "http://y/" "\x22me\x22""#;
    assert_eq!(lines.expect("three lines"), [line; 3]);
}

#[test]
fn a_small_file_that_is_written_in_place_is_not_answered_from_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "before").unwrap();
    let server = Fixture::serve(dir.path().to_owned());
    let mut peer = server.connect();
    let request = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    // Of the second of its last change nothing is kept.
    let settled = wait::until(PATIENCE, || {
        let (head, content) = ask(&mut peer, request, 6);
        assert_eq!(content, b"before");
        (!head.contains("etag: W/")).then_some(())
    });
    assert!(settled.is_some());
    ask(&mut peer, request, 6);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"after!", 0).unwrap();
    // An answer that has the old length and validators may be cut; no one gets the old bytes.
    let after = wait::until(PATIENCE, || {
        let mut peer = server.connect();
        peer.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        peer.read_to_end(&mut answer).ok()?;
        assert!(!answer.ends_with(b"before"), "{}", String::from_utf8_lossy(&answer));
        answer.ends_with(b"after!").then_some(())
    });
    assert!(after.is_some());
}

/// A fallback is for some clients only, and a redirect for all: neither is kept under the path.
#[test]
fn what_answers_for_another_path_is_the_same_under_hyper_and_without() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["about.html", "index.htm", "app.html", "404.html", "old"] {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let mut site = SiteOptions::new(dir.path().to_owned());
    site.lookup.index = vec!["index.htm".parse().unwrap()];
    site.lookup.clean_urls = true;
    site.lookup.fallback = Some("app.html".parse().unwrap());
    site.error_pages = ErrorPages::new(vec!["404 /404.html".parse().unwrap()]);
    site.stations.redirects = Redirects::new(vec!["/old /about".parse().unwrap()]);
    let server = Fixture::of(site);
    // Of the second of its last change nothing is kept.
    let is_settled = || server.etag("/app.html").starts_with('"').then_some(());
    wait::until(PATIENCE, is_settled).expect("a second passes");
    let mut peer = server.connect();
    let cases = [
        ("/about", "", "200", "about.html"),
        ("/about?query", "", "200", "about.html"),
        ("/", "", "200", "index.htm"),
        ("/old", "", "301", "301 Moved Permanently\n"),
        ("/none", "Accept: text/html\r\n", "200", "app.html"),
        ("/none", "", "404", "404.html"),
        ("/none", "Accept: text/html\r\n", "200", "app.html"),
        ("/app.html", "", "200", "app.html"),
        ("/none", "", "404", "404.html"),
    ];
    for (path, accept, status, content) in cases.into_iter().chain(cases) {
        let answers = ["", "", UNDER_HYPER, ""].map(|fields| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{accept}{fields}\r\n");
            ask(&mut peer, &request, content.len())
        });
        assert!(answers[0].0.contains(&format!("HTTP/1.1 {status} ")), "{path}: {answers:?}");
        assert_eq!(String::from_utf8_lossy(&answers[0].1), content, "{path} {accept}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{path}: {answers:?}");
    }
}
