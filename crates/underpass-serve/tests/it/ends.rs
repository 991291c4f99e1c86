//! How connections end: whose response arrives, and what is said of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::fixture::{Fixture, LARGE_BYTES, fixture};

fn ask(requests: &[u8]) -> TcpStream {
    let mut peer = fixture().connect();
    peer.write_all(requests).unwrap();
    peer
}

fn rest(mut peer: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

/// The statuses of all answers that came.
fn statuses(answers: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answers);
    let lines = text.lines().filter_map(|line| {
        let at = line.find("HTTP/1.")?;
        line.get(at + 9..at + 12)
    });
    lines.map(str::to_owned).collect()
}

#[test]
fn a_client_that_has_closed_its_half_gets_its_response_whole() {
    for (path, len) in [("/large.bin", LARGE_BYTES), ("/plain/", 300), ("/none", 20)] {
        let peer = ask(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        peer.shutdown(Shutdown::Write).unwrap();
        let answer = rest(peer);
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
        assert!(answer.len() - head >= len, "{path}: {} bytes", answer.len());
    }
}

#[test]
fn a_client_that_has_closed_its_half_gets_the_answers_of_all_its_requests() {
    let one = "GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    let peer = ask(format!("{one}{one}GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    peer.shutdown(Shutdown::Write).unwrap();
    let answer = rest(peer);
    assert_eq!(statuses(&answer[..2_000]), ["200", "200", "200"]);
    assert!(answer.len() > LARGE_BYTES);
}

#[test]
fn a_head_that_is_cut_off_is_a_400() {
    let peer = ask(b"GET /digits.txt HTT");
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(statuses(&rest(peer)), ["400"]);
}

#[test]
fn the_answer_to_a_large_upload_arrives_whole_though_all_of_it_is_sent_first() {
    for framing in ["Content-Length: 8000000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut peer = ask(format!("POST /up HTTP/1.1\r\nHost: x\r\n{framing}\r\n").as_bytes());
        let chunk = [b"f4240\r\n".as_slice(), &[b'c'; 1_000_000], b"\r\n"].concat();
        for _ in 0..8 {
            let piece = if framing.starts_with('C') { &chunk[7..1_000_007] } else { &chunk };
            peer.write_all(piece).expect("nothing is reset while it is sent");
        }
        let answer = rest(peer);
        assert_eq!(statuses(&answer), ["405"], "{framing}");
        assert!(answer.ends_with(b"405 Method Not Allowed\nFiles are read with GET or HEAD.\n"));
    }
}

#[test]
fn content_is_discarded_and_the_connection_kept() {
    let last = "GET /digits.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let chunked = "Host: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let counted = "GET /none HTTP/1.1\r\nHost: x\r\nContent-Length";
    for (first, expected) in [
        (format!("GET /digits.txt HTTP/1.1\r\n{chunked}3\r\nabc\r\n0\r\n\r\n"), "200"),
        (format!("POST /none HTTP/1.1\r\n{chunked}0\r\nTrailer: x\r\n\r\n"), "405"),
        (format!("{counted}: 4\r\n\r\nGET "), "404"),
        (format!("{counted}: 0\r\n\r\n"), "404"),
    ] {
        let answer = rest(ask(format!("{first}{last}").as_bytes()));
        assert_eq!(statuses(&answer), [expected, "200"], "{first}");
        // The same, in two parts.
        let (one, two) = first.split_at(first.len() - 2);
        let mut peer = ask(one.as_bytes());
        peer.write_all(format!("{two}{last}").as_bytes()).unwrap();
        assert_eq!(statuses(&rest(peer)), [expected, "200"], "{first}");
    }
}

#[test]
fn content_that_is_not_framed_as_it_should_be_is_a_400() {
    for content in ["4\r\nSEE-THIS\r\n0\r\n\r\n", "x\r\n", "-1\r\n\r\n", "ffffffffffffffffff\r\n"] {
        let head = "GET /digits.txt HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let next = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
        let answer = rest(ask(format!("{head}{content}{next}").as_bytes()));
        assert_eq!(statuses(&answer), ["400"], "{content}");
    }
}

#[test]
fn a_client_that_waits_with_its_content_is_answered_at_once() {
    let answer = rest(ask(
        b"POST /up HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
    ));
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[test]
fn what_is_not_a_request_is_answered_with_a_text_and_the_reason() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40_000));
    let large = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for (request, text) in [
        (
            "nonsense\r\n\r\n",
            "400 Bad Request\nThe request is malformed, or has not one valid Host field.\n",
        ),
        (
            "GET /<a> HTTP/1.1\r\nHost: x\r\n\r\n",
            "400 Bad Request\nThe request is malformed, or has not one valid Host field.\n",
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
            "400 Bad Request\nThe request is malformed, or has not one valid Host field.\n",
        ),
        (&long, "414 URI Too Long\nThe request target is too long.\n"),
        (&large, "431 Request Header Fields Too Large\nThe head of the request is too large.\n"),
        (
            "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "505 HTTP Version Not Supported\nHTTP/1.1 and HTTP/1.0 are spoken here.\n",
        ),
    ] {
        let answer = fixture().answers(request);
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(content, text, "{request:.40}");
        let status = text.lines().next().unwrap();
        let len = text.len();
        assert_eq!(
            head,
            format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\n\
                 content-length: {len}\r\nx-content-type-options: nosniff\r\n\
                 connection: close\r\ndate: NOW"
            ),
        );
    }
}

/// The lines of the log once there are `count` of them, without address and date.
fn lines(log: &std::path::Path, count: usize) -> Vec<String> {
    let read = || {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        (text.lines().count() >= count).then_some(text)
    };
    let text = underpass_testkit::wait::until(std::time::Duration::from_secs(20), read).unwrap();
    let lines = text.lines().map(|line| {
        let (client, rest) = line.split_once(" - - [").unwrap();
        assert_eq!(client, "127.0.0.1");
        rest.split_once("] ").unwrap().1.trim_end_matches(" \"-\" \"-\"").to_owned()
    });
    lines.collect()
}

#[test]
fn the_log_has_what_was_asked_for_and_the_bytes_of_content_that_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let requests = [
        "GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /digits.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=2-4\r\n\r\n",
        "GET /digits.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
        "GET /large.bin HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi",
        "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ];
    server.exchange(&requests.concat());
    server.exchange("GET /\"<> HTTP/1.1\r\nHost: x\r\n\r\n");
    server.exchange("GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n");
    server.exchange("\x16\x03\x01\r\n\r\n");
    server.exchange(&[requests[0], "GET / HTTP/1.2\r\n\r\n"].concat());
    assert_eq!(
        lines(&log, 11),
        [
            "\"GET /digits.txt HTTP/1.1\" 200 10",
            "\"HEAD /digits.txt HTTP/1.1\" 200 0",
            "\"GET /digits.txt HTTP/1.1\" 206 3",
            "\"GET /digits.txt HTTP/1.1\" 304 0",
            &format!("\"GET /large.bin HTTP/1.1\" 200 {LARGE_BYTES}"),
            "\"GET /none HTTP/1.1\" 404 42",
            "\"GET /\\x22<> HTTP/1.1\" 400 75",
            "\"GET /a HTTP/1.1\" 400 75",
            "\"\\x16\\x03\\x01\" 400 75",
            "\"GET /digits.txt HTTP/1.1\" 200 10",
            "\"GET / HTTP/1.2\" 505 70",
        ]
    );
}

#[test]
fn an_aborted_download_is_logged_with_what_was_sent_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let mut peer = server.connect();
    peer.write_all(b"GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    peer.read_exact(&mut [0; 10_000]).unwrap();
    // Bytes that are not read make it a reset.
    drop(peer);
    let line = lines(&log, 1).remove(0);
    let bytes = line.strip_prefix("\"GET /large.bin HTTP/1.1\" 200 ").unwrap();
    let bytes: usize = bytes.parse().unwrap();
    assert!((9_000..LARGE_BYTES).contains(&bytes), "{bytes}");
}
