//! What nginx's own tests expect of static files, hosts, targets, ranges, conditions and content,
//! as far as RFC 9110 and 9112 demand it; the tables are ours.
//!
//! Source: nginx-tests, the file named at each table.

use crate::fixture::{Fixture, MODIFIED, field, fixture};

/// Every answer to these bytes, as status and content; the last request ends the connection.
fn ask(requests: &str) -> Vec<(String, String)> {
    let text = fixture().answers(requests);
    let answers = text.split("HTTP/1.").skip(1).map(|answer| {
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        (head[2..5].to_owned(), content.to_owned())
    });
    answers.collect()
}

/// Status and content of the one answer to a request with these fields.
fn one(line: &str, fields: &[&str]) -> (String, String) {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let mut answers = ask(&format!("{line}\r\n{fields}Connection: close\r\n\r\n"));
    assert_eq!(answers.len(), 1, "{line} {fields}: {answers:?}");
    answers.remove(0)
}

fn get(path: &str, fields: &[&str]) -> (String, String) {
    one(&format!("GET {path} HTTP/1.1"), &[&["Host: x"], fields].concat())
}

/// http_host.t; RFC 9112 §3.2, §3.2.2; RFC 3986 §3.2.2.
#[test]
fn hosts_in_a_field_and_in_a_target() {
    for (host, status) in [
        ("l", "200"),
        ("L", "200"),
        ("abcd-ef.g02.xyz:", "200"),
        ("123.40.56.78:", "200"),
        ("abcd-ef.g02.xyz:8080", "200"),
        ("www.abcd-ef.g02.xyz.", "200"),
        ("abcd-ef.g02.xyz.:88", "200"),
        ("AbC-d93.0.34ZhGt-s.nk.Ru:88", "200"),
        ("123.49.0.78:987", "200"),
        ("[abcd::ef98:0:7654:321]", "200"),
        ("[abcd::ef98:0:7654:321]:80", "200"),
        ("[::ffff:12.30.67.89]", "200"),
        ("[::123.45.67.89]:4321", "200"),
        ("[v0123456789aBcDeF.!$&'()*+,;=-._~AbCdEfGhIjKlMnOpQrStUvWxYz0123456789:]", "200"),
        ("", "400"),
        ("example.com.:1.2", "400"),
        (".", "400"),
        ("123.49.0.78:98777", "400"),
        ("123.40.56.78:9000:80", "400"),
        ("example.com/\\:552", "400"),
        ("\\e/xample.com", "400"),
        ("..examp-LE.com", "400"),
        ("com.exa-m.45..:", "400"),
        ("[abcd::e\\f98:0/:7654:321]", "400"),
        ("[abcd\\::ef98:0:7654:321/]:12", "400"),
        ("[abcd::ef98:0:7654:321].", "400"),
        ("[abcd::ef98:0:7654:321].:98", "400"),
        ("[abcd::ef98:0:7654:321]..:98", "400"),
        ("[ab..cd::ef98:0:7654:321]", "400"),
        ("extra[abcd::ef98:0:7654:321]:98", "400"),
        ("[abcd::ef98:0:7654:321", "400"),
        ("localhost\x02", "400"),
    ] {
        let in_field = one("GET /digits.txt HTTP/1.0", &[&format!("Host: {host}")]);
        assert_eq!(in_field.0, status, "field {host:?}");
        // A slash ends the host of a target.
        if !host.contains('/') {
            let line = format!("GET http://{host}/digits.txt HTTP/1.0");
            assert_eq!(one(&line, &["Host: x"]).0, status, "target {host:?}");
        }
    }
    assert_eq!(one("GET / HTTP/1.0", &["Host: localhost", "Host: again"]).0, "400");
}

/// http_uri.t, merge_slashes.t; RFC 9112 §3.2; RFC 3986 §5.2.4.
#[test]
fn request_targets() {
    let index = "<p>index</p>\n";
    for (target, status, content) in [
        ("/digits.txt%", "400", ""),
        ("/digits.txt%1", "400", ""),
        ("/site/.?args", "200", index),
        ("/site/.#frag", "200", index),
        ("/site/x/..?args", "200", index),
        ("/site/x/..#frag", "200", index),
        ("/site/.", "200", index),
        ("/plain/../site/", "200", index),
        ("//site//", "200", index),
        ("http://localhost/site/", "200", index),
        ("http://localhost/site/?args#frag", "200", index),
        ("http://localhost:8080/site/", "200", index),
        ("http://localhost", "200", "<!DOCTYPE html>"),
        ("http://localhost?args", "200", "<!DOCTYPE html>"),
        ("http://localhost:8080?args#frag", "200", "<!DOCTYPE html>"),
        ("/digits.txt /", "400", ""),
        ("/\x02", "400", ""),
        ("/%02", "404", ""),
        ("digits.txt", "400", ""),
    ] {
        let (got, text) = get(target, &[]);
        assert_eq!(got, status, "{target}");
        assert!(text.starts_with(content), "{target}: {text}");
    }
}

/// http_method.t; RFC 9110 §9.3.6, §15.5.6.
#[test]
fn methods() {
    for (line, status) in [
        ("TRACE / HTTP/1.1", "405"),
        ("OPTIONS * HTTP/1.1", "204"),
        ("OPTIONS /digits.txt HTTP/1.1", "204"),
        ("CONNECT localhost:8080 HTTP/1.1", "405"),
        ("CONNECT / HTTP/1.1", "400"),
        ("CONNECT localhost HTTP/1.1", "400"),
        ("get / HTTP/1.1", "405"),
        ("GET / HTTP/1.1", "200"),
    ] {
        assert_eq!(one(line, &["Host: localhost"]).0, status, "{line}");
    }
}

/// ignore_invalid_headers.t; RFC 9112 §5.
#[test]
fn field_names() {
    for (name, status) in [
        ("x_foo", "200"),
        ("_foo", "200"),
        ("x.foo", "200"),
        (".foo", "200"),
        (":foo", "400"),
        (" foo", "400"),
        ("foo\x02", "400"),
        ("foo ", "400"),
        ("</kie>", "400"),
    ] {
        assert_eq!(get("/digits.txt", &[&format!("{name}: bar")]).0, status, "{name:?}");
    }
}

/// range.t; RFC 9110 §14. A form that is not understood is ignored.
#[test]
fn ranges() {
    for (range, status, content) in [
        ("bytes=0-8", "206", "012345678"),
        ("bytes=-5", "206", "56789"),
        ("bytes=5-", "206", "56789"),
        ("bytes=0-0", "206", "0"),
        ("bytes=9-", "206", "9"),
        ("bytes=-100", "206", "0123456789"),
        ("bytes=0-18446744073709551615", "206", "0123456789"),
        ("bytes=-18446744073709551616", "206", "0123456789"),
        ("bytes=10-", "416", ""),
        ("bytes=-0", "416", ""),
        ("bytes=18446744073709551616-", "416", ""),
        // Nearer than the lines between two parts would be.
        ("bytes=0-0, 2-2", "206", "012"),
        ("bytes=0-1, x", "200", "0123456789"),
        ("bytes=3-2", "200", "0123456789"),
        ("bytes=5", "200", "0123456789"),
        ("bytes=1-2 4-", "200", "0123456789"),
        ("bytes= ", "200", "0123456789"),
        ("bytes=a-b", "200", "0123456789"),
        ("items=0-1", "200", "0123456789"),
    ] {
        let (got, text) = get("/digits.txt", &[&format!("Range: {range}")]);
        assert_eq!(got, status, "{range}");
        assert!(text == content || status == "416", "{range}: {text}");
    }
}

/// range_if_range.t, not_modified.t, http_headers_multi.t; RFC 9110 §5.3, §13.
#[test]
fn conditions() {
    let etag = &fixture().etag("/digits.txt");
    let later = "Mon, 07 Nov 1994 08:49:37 GMT";
    let earlier = "Sat, 05 Nov 1994 08:49:37 GMT";
    for (condition, status) in [
        (format!("If-Modified-Since: {MODIFIED}"), "304"),
        (format!("If-Modified-Since: {later}"), "304"),
        (format!("If-Modified-Since: {earlier}"), "200"),
        (format!("If-Unmodified-Since: {MODIFIED}"), "200"),
        (format!("If-Unmodified-Since: {later}"), "200"),
        (format!("If-Unmodified-Since: {earlier}"), "412"),
        (format!("If-None-Match: {etag}"), "304"),
        (format!("If-None-Match: W/{etag}"), "304"),
        (format!("If-None-Match: \"x\", {etag} , \"y\""), "304"),
        ("If-None-Match: \"x\"".into(), "200"),
        ("If-None-Match: *".into(), "304"),
        (format!("If-Match: {etag}"), "200"),
        (format!("If-Match: W/{etag}"), "412"),
        ("If-Match: *".into(), "200"),
        ("If-Match: \"x\"".into(), "412"),
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {later}"), "200"),
        (format!("Range: bytes=0-1\r\nIf-Range: {etag}"), "206"),
        (format!("Range: bytes=0-1\r\nIf-Range: {MODIFIED}"), "206"),
        (format!("Range: bytes=0-1\r\nIf-Range: {later}"), "200"),
        (format!("Range: bytes=0-1\r\nIf-Range: W/{etag}"), "200"),
        ("Range: bytes=0-1\r\nIf-Range: wrong".into(), "200"),
        (format!("Range: bytes=0-1\r\nIf-Range: {etag}\r\nIf-Range: {etag}"), "200"),
        ("Range: bytes=0-1\r\nRange: bytes=0-1".into(), "200"),
        // Past what 31 and 33 bits of seconds hold.
        ("If-Modified-Since: Tue, 19 Jan 2038 03:14:08 GMT".into(), "304"),
        ("If-Modified-Since: Fri, 25 Feb 2174 09:42:23 GMT".into(), "304"),
        // Of two dates neither counts, and two lists are one.
        (format!("If-Modified-Since: {later}\r\nIf-Modified-Since: {later}"), "200"),
        (format!("If-Unmodified-Since: {earlier}\r\nIf-Unmodified-Since: {earlier}"), "200"),
        (format!("If-Match: \"foo\", \"bar\", \t{etag} , \"baz\""), "200"),
        (format!("If-Match: \"foo\"\r\nIf-Match: {etag}"), "200"),
        (format!("If-None-Match: \"foo\"\r\nIf-None-Match: {etag}"), "304"),
    ] {
        assert_eq!(get("/digits.txt", &[&condition]).0, status, "{condition}");
    }
    // §13.2.1: they mean nothing where the answer would be no success.
    for condition in ["If-Match: \"foo\"", &format!("If-Unmodified-Since: {earlier}")] {
        assert_eq!(get("/none", &[condition]).0, "404", "{condition}");
        assert_eq!(get("/site", &[condition]).0, "308", "{condition}");
    }
}

/// index.t, autoindex.t, http_disable_symlinks.t; RFC 9110 §15.4.9.
#[test]
fn folders() {
    assert_eq!(get("/site/", &[]).1, "<p>index</p>\n");
    assert_eq!(get("/site", &[]).0, "308");
    assert!(get("/plain/", &[]).1.contains("href=\"b.txt\""));
    for path in ["/plain/none/", "/digits.txt/", "/site/index.html/", "/out", "/out/"] {
        assert_eq!(get(path, &[]).0, "404", "{path}");
    }
}

/// http_absolute_redirect.t; RFC 3986 §2.2, §3.3.
#[test]
fn what_a_redirect_leads_to_is_encoded_again() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["dir", "dir sp", "auto \"#%<>?\\^`{|}"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let server = Fixture::serve(dir.path().into());
    for (target, location) in [
        ("/dir", "/dir/"),
        ("/dir?a=b", "/dir/?a=b"),
        ("/dir%20sp", "/dir%20sp/"),
        ("/dir%20sp?a=b", "/dir%20sp/?a=b"),
        (
            "/auto%20%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D",
            "/auto%20%22%23%25%3C%3E%3F%5C%5E%60%7B%7C%7D/",
        ),
        ("//dir", "/dir/"),
    ] {
        let answer = server.answers(&format!("GET {target} HTTP/1.0\r\nHost: x\r\n\r\n"));
        assert_eq!(field(&answer, "location"), location, "{target}");
    }
}

/// http_header_buffers.t: long heads, wherever they stand among others.
#[test]
fn long_heads_among_short_ones() {
    let long = "1234567890".repeat(2000);
    let (short, foo) = ("GET /digits.txt HTTP/1.1\r\nHost: x\r\n", format!("X-Foo: {long}\r\n"));
    let target = format!("GET /digits.txt?{long} HTTP/1.1\r\nHost: x\r\n");
    let last = format!("{short}{foo}Connection: close\r\n\r\n");
    let requests = [
        format!("{short}{foo}\r\n"),
        format!("{short}\r\n"),
        format!("{target}\r\n"),
        format!("{short}\r\n"),
        last,
    ];
    let answers = ask(&requests.concat());
    assert_eq!(answers, vec![("200".to_owned(), "0123456789".to_owned()); 5]);
}

/// http_keepalive.t; RFC 9112 §9.3.
#[test]
fn connections_that_are_kept() {
    let kept = "GET /digits.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answers = fixture().answers(&format!("{kept}{kept}GET /none HTTP/1.0\r\n\r\n"));
    assert_eq!(field(&answers, "connection"), "keep-alive");
    assert_eq!(answers.matches("HTTP/1.0 200 OK").count(), 2);
    assert_eq!(answers.matches("HTTP/1.0 404 Not Found").count(), 1);
    let close = "HEAD /digits.txt HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n";
    let answers = fixture().answers(&format!("{close}{close}"));
    assert_eq!(field(&answers, "connection"), "close");
    assert_eq!(answers.matches("HTTP/1.1").count(), 1, "nothing after the last is answered");
}

/// http_expect_100_continue.t; RFC 9110 §10.1.1.
#[test]
fn expectations() {
    let fields = ["Host: x", "Expect: 100-continue", "Content-Length: 0"];
    assert_eq!(one("POST / HTTP/1.1", &fields).0, "405");
    assert_eq!(one("POST / HTTP/1.0", &fields).0, "405");
}

/// body.t, body_chunked.t, the parts on discarding; RFC 9112 §6, §7.1.
#[test]
fn content_that_is_discarded() {
    let head = "GET /digits.txt HTTP/1.1\r\nHost: x\r\n";
    let last = format!("{head}Connection: close\r\n\r\n");
    let mut requests = String::new();
    for len in [10, 1_280, 5_120, 6] {
        let content = "0123456789".repeat(len / 10 + 1);
        let content = &content[..len];
        requests += &format!("{head}Content-Length: {len}\r\n\r\n{content}");
        requests +=
            &format!("{head}Transfer-Encoding: chunked\r\n\r\n{len:x}\r\n{content}\r\n0\r\n\r\n");
    }
    let answers = ask(&(requests + &last));
    assert_eq!(answers, vec![("200".to_owned(), "0123456789".to_owned()); 9]);
    for (fields, content, status) in [
        ("Transfer-Encoding: chunked", "4\r\nSEE-THIS\r\n0\r\n\r\n", "400"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "400"),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", "501"),
        ("Transfer-Encoding: identity", "", "400"),
        ("Transfer-Encoding: chunked, identity", "", "400"),
        ("Content-Length: 1\r\nContent-Length: 2", "a", "400"),
        ("Content-Length: +1", "a", "400"),
        ("Content-Length: 99999999999999999999", "", "400"),
    ] {
        let request = format!("{head}{fields}\r\n\r\n{content}");
        let answers = ask(&format!("{request}GET /none HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answers.len(), 1, "{fields}: {answers:?}");
        assert_eq!(answers[0].0, status, "{fields}");
    }
    let old = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ask(old)[0].0, "400");
    // Either is allowed, and the end of the connection demanded (RFC 9112 §6.1).
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
    ] {
        let smuggled = "GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(ask(&format!("{head}{fields}\r\n\r\n0\r\n\r\n{smuggled}")).len(), 1, "{fields}");
    }
}

/// RFC 9110 §9.3.2: a HEAD has the fields of the GET, whatever the answer is.
#[test]
fn a_head_differs_from_its_get_in_nothing_but_the_content() {
    let etag = format!("If-None-Match: {}\r\n", fixture().etag("/digits.txt"));
    for path in ["/digits.txt", "/empty.txt", "/site/", "/site", "/plain/", "/none", "/%zz", "/out"]
    {
        for fields in ["", etag.as_str(), "If-Match: \"x\"\r\n", "Host: y\r\n"] {
            let ask = |method| {
                let end = "Connection: close\r\n\r\n";
                fixture().answers(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{fields}{end}"))
            };
            let (head, get) = (ask("HEAD"), ask("GET"));
            let (head, content) = head.split_once("\r\n\r\n").unwrap();
            assert_eq!(content, "", "{path} {fields}");
            assert_eq!(
                sorted(head),
                sorted(get.split_once("\r\n\r\n").unwrap().0),
                "{path} {fields}"
            );
        }
    }
}

/// The lines of a head; their order means nothing.
fn sorted(head: &str) -> Vec<&str> {
    let mut lines: Vec<_> = head.lines().collect();
    lines.sort_unstable();
    lines
}
