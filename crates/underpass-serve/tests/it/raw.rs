//! Requests byte by byte, and what must come back, byte by byte.

use std::io::{BufRead, BufReader, Read, Write};

use crate::fixture::{LARGE_BYTES, MODIFIED, field, fixture, large};

/// A request for `path` with further fields, each ended by CRLF; the connection ends after it.
fn last(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n")
}

/// The same without the end of the connection.
fn next(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")
}

/// Status and content of a single answer.
fn gist(answer: &str) -> (&str, &str) {
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap(), content)
}

#[test]
fn a_file_comes_with_all_that_describes_it() {
    let etag = fixture().etag("/digits.txt");
    let whole = |end: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 10\r\n\
             etag: {etag}\r\nlast-modified: {MODIFIED}\r\naccept-ranges: bytes\r\n\
             x-content-type-options: nosniff\r\n{end}date: NOW\r\n\r\n"
        )
    };
    let answers = fixture().answers(&last("GET", "/digits.txt", ""));
    assert_eq!(answers, whole("connection: close\r\n") + "0123456789");
    let answers = fixture().answers(&last("HEAD", "/digits.txt", "Range: bytes=0-1\r\n"));
    assert_eq!(answers, whole("connection: close\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order_on_one_connection() {
    let requests = [
        next("GET", "/digits.txt", "Range: bytes=0-1\r\n"),
        next("HEAD", "/digits.txt", ""),
        next("GET", "/digits.txt", "If-None-Match: *\r\n"),
        next("GET", "/none", ""),
        next("GET", "/empty.txt", ""),
        next("GET", "/digits.txt", "Range: bytes=10-\r\n"),
        next("GET", "/plain", ""),
        last("GET", "/digits.txt", "Range: bytes=-3\r\n"),
    ];
    let answers = fixture().answers(&requests.concat());
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(statuses, ["206", "200", "304", "404", "200", "416", "308", "206"]);
    let contents: Vec<_> = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer.split_once("\r\n\r\n").unwrap().1)
        .collect();
    assert_eq!(
        contents,
        [
            "01",
            "",
            "",
            "404 Not Found\nThere is no such file here.\n",
            "",
            "416 Range Not Satisfiable\nThe file ends before the range begins.\n",
            "308 Permanent Redirect\n",
            "789",
        ]
    );
}

#[test]
fn a_range_says_which_bytes_it_is() {
    for (range, status, content_range, content) in [
        ("bytes=0-0", "206 Partial Content", "bytes 0-0/10", "0"),
        ("bytes=8-99", "206 Partial Content", "bytes 8-9/10", "89"),
        ("bytes=-10", "206 Partial Content", "bytes 0-9/10", "0123456789"),
        ("bytes=18446744073709551615-", "416 Range Not Satisfiable", "bytes */10", "416"),
    ] {
        let fields = format!("Range: {range}\r\n");
        let answer = fixture().answers(&last("GET", "/digits.txt", &fields));
        let (got, text) = gist(&answer);
        assert_eq!((got, field(&answer, "content-range")), (status, content_range), "{range}");
        assert!(text.starts_with(content), "{range}: {text}");
    }
}

#[test]
fn a_304_has_the_tag_and_neither_length_nor_content() {
    let etag = fixture().etag("/digits.txt");
    for fields in [
        format!("If-None-Match: \"other\", W/{etag}\r\n"),
        format!("If-Modified-Since: {MODIFIED}\r\n"),
        format!("If-None-Match: {etag}\r\nRange: bytes=0-1\r\n"),
    ] {
        let answer = fixture().answers(&last("GET", "/digits.txt", &fields));
        let want = format!(
            "HTTP/1.1 304 Not Modified\r\netag: {etag}\r\nconnection: close\r\ndate: NOW\r\n\r\n"
        );
        assert_eq!(answer, want, "{fields}");
    }
}

#[test]
fn preconditions_decide_before_ranges() {
    let etag = fixture().etag("/digits.txt");
    for (fields, status) in [
        (format!("If-Match: {etag}\r\nRange: bytes=0-1\r\n"), "206 Partial Content"),
        (format!("If-Match: W/{etag}\r\nRange: bytes=0-1\r\n"), "412 Precondition Failed"),
        (format!("If-Range: {etag}\r\nRange: bytes=0-1\r\n"), "206 Partial Content"),
        (format!("If-Range: {MODIFIED}\r\nRange: bytes=0-1\r\n"), "206 Partial Content"),
        ("If-Range: \"other\"\r\nRange: bytes=0-1\r\n".into(), "200 OK"),
        (
            "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n".into(),
            "412 Precondition Failed",
        ),
    ] {
        let answer = fixture().answers(&last("GET", "/digits.txt", &fields));
        assert_eq!(gist(&answer).0, status, "{fields}");
    }
}

#[test]
fn nothing_outside_of_the_root_is_reached() {
    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/%2E./secret",
        "/site/../../secret",
        "/..%2fsecret",
        "//../secret",
        "/out",
        "/fifo",
        "/fifo/",
        "/digits.txt/",
        "/digits.txt/x",
        "/....//secret",
        "/..\\secret",
    ] {
        let answer = fixture().answers(&last("GET", path, ""));
        assert_eq!(gist(&answer).0, "404 Not Found", "{path}");
        assert!(!answer.contains("secret"), "{path}");
    }
}

#[test]
fn a_malformed_request_is_a_400() {
    for request in [
        last("GET", "/%00", ""),
        last("GET", "/%", ""),
        last("GET", "*", ""),
        "GET /digits.txt HTTP/1.1\r\nConnection: close\r\n\r\n".into(),
        "GET /digits.txt HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n".into(),
        "nonsense\r\n\r\n".into(),
        "GET  /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        "GET /digits.txt HTTP/1.1\r\nHost : x\r\n\r\n".into(),
    ] {
        let answer = fixture().answers(&request);
        assert_eq!(gist(&answer).0, "400 Bad Request", "{request}");
    }
}

#[test]
fn the_absolute_form_is_taken_for_its_path() {
    let answer = fixture().answers(&last("GET", "http://other.example:99/digits.txt?q", ""));
    assert_eq!(gist(&answer), ("200 OK", "0123456789"));
}

#[test]
fn http_1_0_needs_no_host_and_ends_the_connection() {
    let answer = fixture().answers("GET /digits.txt HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\n0123456789"));
}

#[test]
fn the_content_of_a_refused_request_is_not_taken_for_the_next() {
    let post = next("POST", "/digits.txt", "Content-Length: 31\r\n");
    let smuggled = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
    let answers = fixture().answers(&(post + smuggled + &last("GET", "/digits.txt", "")));
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|a| &a[..3]).collect();
    assert_eq!(statuses, ["405", "200"]);
    assert!(
        answers.contains("\r\nallow: GET, HEAD, OPTIONS\r\n") && answers.ends_with("0123456789")
    );
}

#[test]
fn a_directory_is_redirected_indexed_or_listed() {
    let redirect = fixture().answers(&last("GET", "//plain?a=b", ""));
    assert_eq!(
        (gist(&redirect).0, field(&redirect, "location")),
        ("308 Permanent Redirect", "/plain/?a=b")
    );
    let index = fixture().answers(&last("GET", "/site/", ""));
    assert_eq!(gist(&index), ("200 OK", "<p>index</p>\n"));
    let listing = fixture().answers(&last("GET", "/plain/", ""));
    let (status, page) = gist(&listing);
    assert_eq!(status, "200 OK");
    assert_eq!(field(&listing, "content-length"), page.len().to_string());
    for link in ["href=\"../\"", "href=\"b.txt\"", "href=\"%C3%A9.txt\"", "<bdi>\u{e9}.txt</bdi>"] {
        assert!(page.contains(link), "{link} in {page}");
    }
    let followed = fixture().answers(&last("GET", "/plain/%C3%A9.txt", ""));
    assert_eq!(gist(&followed), ("200 OK", "e acute"));
    let root = fixture().answers(&last("GET", "/", ""));
    assert!(!root.contains("fifo") && !root.contains("\"out\"") && root.contains("digits.txt"));
}

#[test]
fn a_large_file_arrives_whole_however_slowly_it_is_read() {
    let mut peer = fixture().connect();
    peer.write_all(last("GET", "/large.bin", "").as_bytes()).unwrap();
    let mut reader = BufReader::with_capacity(4096, peer);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    let mut content = Vec::with_capacity(LARGE_BYTES);
    reader.read_to_end(&mut content).unwrap();
    assert_eq!(field(&head, "content-length"), LARGE_BYTES.to_string());
    assert!(content == large(), "{} bytes differ from the file", content.len());
}

#[test]
fn a_range_in_the_middle_of_a_large_file_is_its_bytes() {
    let range = "Range: bytes=4194301-8388610\r\n";
    let answer = fixture().exchange(&last("GET", "/large.bin", range));
    let end_of_head = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 206 "));
    assert!(answer[end_of_head..] == large()[4_194_301..=8_388_610]);
}

#[test]
fn a_request_in_pieces_is_one_request() {
    let mut peer = fixture().connect();
    peer.set_nodelay(true).unwrap();
    for byte in last("GET", "/digits.txt", "").bytes() {
        peer.write_all(&[byte]).unwrap();
    }
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(gist(&answer), ("200 OK", "0123456789"));
}

#[test]
fn a_replaced_file_is_seen_with_a_tag_of_its_own() {
    let path = fixture().served.join("replaced.txt");
    let new = fixture().served.join("replaced.new");
    let mut tags = Vec::new();
    for content in ["one", "two"] {
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, &path).unwrap();
        let answer = fixture().answers(&last("GET", "/replaced.txt", ""));
        assert_eq!(gist(&answer), ("200 OK", content));
        tags.push(field(&answer, "etag").to_owned());
    }
    assert_ne!(tags[0], tags[1]);
}

#[test]
fn an_endless_head_is_refused() {
    let mut peer = fixture().connect();
    let filler = format!("X-Filler: {}\r\n", "x".repeat(1000));
    // The server may close while this is still being written.
    let sent = peer
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n")
        .and_then(|()| (0..1000).try_for_each(|_| peer.write_all(filler.as_bytes())));
    let mut answer = Vec::new();
    let read = peer.read_to_end(&mut answer);
    assert!(sent.is_err() || read.is_err() || answer.starts_with(b"HTTP/1.1 431 "), "{answer:?}");
}
