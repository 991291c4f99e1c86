//! What is sent, and what becomes of each answer.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use underpass_client::{Ask, Client, ClientError, Condition, Field, Method, Range, Url, Validator};
use underpass_testkit::scripted::{CLOSE, Scripted};
use underpass_testkit::tls::Identity;

use super::{interrupt, secured, trusting, url};

fn served(answers: &[&str]) -> Scripted {
    Scripted::start(answers.iter().map(|answer| vec![*answer])).unwrap()
}

fn field(text: &str) -> Field {
    text.parse().unwrap()
}

fn client(fields: &[&str]) -> Client {
    let mut client = Client::default();
    client.fields = fields.iter().map(|text| field(text)).collect();
    client
}

#[test]
fn every_final_answer_is_a_value_and_those_of_use_are_told_from_the_others() {
    let length = "Content-Length: 3\r\n\r\nabc";
    for (head, content, total, is_of_use) in [
        (format!("200 OK\r\n{length}"), "abc", Some(3), true),
        (
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n".into(),
            "abc",
            None,
            true,
        ),
        // No content follows these, whatever they say.
        ("204 No Content\r\n\r\n".into(), "", None, true),
        ("304 Not Modified\r\nContent-Length: 3\r\n\r\n".into(), "", None, true),
        (format!("404 Not Found\r\n{length}"), "abc", None, true),
        (format!("412 Precondition Failed\r\n{length}"), "abc", None, true),
        (format!("416 No\r\nContent-Range: bytes */7\r\n{length}"), "abc", Some(7), true),
        (format!("403 Forbidden\r\n{length}"), "abc", None, false),
        (format!("301 Elsewhere\r\nX-Amz-Bucket-Region: x\r\n{length}"), "abc", None, false),
        (format!("307 Elsewhere\r\nLocation:\r\n{length}"), "abc", None, false),
        (format!("503 Busy\r\nRetry-After: 7\r\n{length}"), "abc", None, false),
    ] {
        let server = served(&[&format!("HTTP/1.1 {head}")]);
        let (url, interrupt) = (url(&server, "/"), interrupt());
        let ask = Ask { range: Range::Whole, ..Ask::new(Method::Get, &url) };
        let mut response = Client::default().ask(&ask, &interrupt).unwrap();
        assert_eq!(response.status.to_string(), head[..3]);
        let mut got = String::new();
        response.body.read_to_string(&mut got).unwrap();
        assert_eq!((got.as_str(), response.body.total), (content, total), "{head}");
        match response.accepted() {
            Ok(_) => assert!(is_of_use, "{head}"),
            Err(ClientError::Status { status, retry_after, .. }) => {
                assert!(!is_of_use, "{head}");
                let wish = (status == 503).then_some(Duration::from_secs(7));
                assert_eq!(retry_after, wish);
            }
            Err(error) => panic!("{head}: {error}"),
        }
    }
}

#[test]
fn a_head_tells_the_length_and_nothing_follows_it() {
    let server = served(&["HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n"]);
    let (url, interrupt) = (url(&server, "/x"), interrupt());
    let range = "2-3".parse().unwrap();
    let ask = Ask { range, ..Ask::new(Method::Head, &url) };
    let mut response = Client::default().ask(&ask, &interrupt).unwrap();
    assert_eq!(response.body.total, Some(1234));
    assert_eq!(response.body.validator, Some(Validator::read("\"a\"")));
    // The server leaves the connection open.
    assert_eq!((response.body.remaining(), response.body.read(&mut [0]).unwrap()), (Some(0), 0));
    let head = server.asked().head;
    assert!(head.starts_with("HEAD /x HTTP/1.1\r\n") && !head.contains("Range"), "{head}");
}

#[test]
fn conditions_ranges_and_fields_are_sent() {
    let (strong, weak) = (Validator::read("\"a\""), Validator::read("W/\"a\""));
    let part = "4-6".parse().unwrap();
    for (method, range, condition, lines) in [
        (Method::Get, Range::Whole, Condition::Always, ""),
        (Method::Get, part, Condition::IfMatch("\"a\""), "Range: bytes=4-6\r\nIf-Match: \"a\"\r\n"),
        (
            Method::Get,
            Range::Whole,
            Condition::IfNoneMatch("W/\"a\""),
            "If-None-Match: W/\"a\"\r\n",
        ),
        (Method::Get, part, Condition::IfRange(&strong), "Range: bytes=4-6\r\nIf-Range: \"a\"\r\n"),
        (Method::Get, part, Condition::IfRange(&weak), "Range: bytes=4-6\r\n"),
        (Method::Get, Range::Whole, Condition::IfRange(&strong), ""),
        (Method::Head, part, Condition::IfNoneMatch("*"), "If-None-Match: *\r\n"),
        (Method::Delete, Range::Whole, Condition::IfMatch("\"a\""), "If-Match: \"a\"\r\n"),
    ] {
        let server = served(&["HTTP/1.1 204 No Content\r\n\r\n"]);
        let (url, interrupt) = (url(&server, "/"), interrupt());
        let client = client(&["X-A: 1", "X-B: 1"]);
        let fields = [field("x-b: 2"), field("X-C: 2")];
        let ask = Ask { range, condition, fields: &fields, ..Ask::new(method, &url) };
        client.ask(&ask, &interrupt).unwrap();
        let head = server.asked().head;
        let end = format!("\r\nX-A: 1\r\nx-b: 2\r\nX-C: 2\r\nConnection: close\r\n{lines}\r\n");
        assert!(head.ends_with(&end), "{head}");
    }
}

#[test]
fn what_chooses_the_content_goes_along_with_a_redirect_and_what_is_for_a_server_does_not() {
    let part = "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/9\r\nContent-Length: 3\r\n\r\nabc";
    let other = served(&[part]);
    let away = format!("HTTP/1.1 307 Away\r\nLocation: http://{}/z\r\n\r\n", other.address());
    let server = served(&["HTTP/1.1 302 There\r\nLocation: /y\r\n\r\n", &away]);
    let (first, interrupt) = (url(&server, "/x"), interrupt());
    let client = client(&["X-A: 1"]);
    let ask = Ask {
        range: "4-6".parse().unwrap(),
        condition: Condition::IfMatch("\"a\""),
        fields: &[field("X-B: 2")],
        ..Ask::new(Method::Get, &first)
    };
    let response = client.ask(&ask, &interrupt).unwrap();
    assert_eq!((response.status, response.body.place.at), (206, 4));
    assert_eq!(response.url.to_string(), format!("http://{}/z", other.address()));
    for (server, path, is_named) in
        [(&server, "/x", true), (&server, "/y", true), (&other, "/z", false)]
    {
        let head = server.asked().head;
        assert!(head.starts_with(&format!("GET {path} ")), "{head}");
        assert!(head.contains("Range: bytes=4-6\r\nIf-Match: \"a\"\r\n"), "{head}");
        assert_eq!((head.contains("X-A"), head.contains("X-B")), (is_named, is_named), "{head}");
    }
}

#[test]
fn what_changes_something_goes_to_the_server_that_was_named_and_no_other() {
    for (method, name, length) in [
        (Method::Delete, "DELETE", ""),
        // A server that knows no length may wait for content (RFC 9110 §8.6).
        (Method::Post, "POST", "Content-Length: 0\r\n"),
    ] {
        let server = served(&["HTTP/1.1 308 Away\r\nLocation: http://a.example/y\r\n\r\n"]);
        let (url, interrupt) = (url(&server, "/x?y"), interrupt());
        let answer = Client::default().ask(&Ask::new(method, &url), &interrupt);
        let Err(ClientError::Redirect { to, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(to.to_string(), "http://a.example/y");
        let head = server.asked().head;
        assert!(head.starts_with(&format!("{name} /x?y ")), "{head}");
        assert!(head.ends_with(&format!("Connection: close\r\n{length}\r\n")), "{head}");
    }
}

#[test]
fn fields_are_given_as_they_came_without_their_folds() {
    let answer = b"HTTP/1.1 200 Fine\r\nX: a\r\n b\r\nSet-Cookie: 1\r\nset-cookie: \xe9 2 \r\n\
                   Content-Length: 0\r\n\r\n";
    let server = Scripted::start([vec![answer]]).unwrap();
    let (url, interrupt) = (url(&server, "/"), interrupt());
    let response = Client::default().ask(&Ask::new(Method::Get, &url), &interrupt).unwrap();
    let fields: Vec<(&str, &[u8])> = response.head.fields().collect();
    let wanted: [(&str, &[u8]); 4] =
        [("X", b"a b"), ("Set-Cookie", b"1"), ("set-cookie", b"\xe9 2"), ("Content-Length", b"0")];
    assert_eq!(fields, wanted);
    assert_eq!((response.head.reason(), response.head.field("x")), ("Fine", Some("a b")));
}

#[test]
fn a_range_that_was_not_asked_for_and_a_condition_of_two_lines_are_errors() {
    let part = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-2/9\r\nContent-Length: 3\r\n\r\nabc";
    let server = served(&[part]);
    let (url, interrupt) = (url(&server, "/"), interrupt());
    let range = "4-6".parse().unwrap();
    let ask = Ask { range, ..Ask::new(Method::Get, &url) };
    let error = Client::default().ask(&ask, &interrupt).unwrap_err();
    assert!(error.to_string().ends_with("with bytes 0-2/9, and 4-6 was asked for"), "{error}");
    drop(server.asked());
    let ask = Ask { condition: Condition::IfMatch("\"a\"\r\nX: y"), ..ask };
    let error = Client::default().ask(&ask, &interrupt).unwrap_err();
    assert!(error.to_string().contains("one of several lines") && !server.is_asked(), "{error}");
}

#[test]
fn certificates_can_be_read_before_the_first_request() {
    let identity = Identity::new().unwrap();
    let server = secured(&identity, [vec!["HTTP/1.1 204 No Content\r\n\r\n"]]);
    let dir = tempfile::tempdir().unwrap();
    let client = trusting(&identity, dir.path());
    client.read_certificates().unwrap();
    let unread = trusting(&identity, dir.path());
    std::fs::remove_file(dir.path().join("cert.pem")).unwrap();
    let error = unread.read_certificates().unwrap_err().to_string();
    assert!(error.contains("cannot take certificates from"), "{error}");
    let url = Url::parse(&format!("https://{}/", server.address())).unwrap();
    let interrupt = interrupt();
    let response = client.ask(&Ask::new(Method::Get, &url), &interrupt).unwrap();
    assert_eq!(response.status, 204);
}

#[test]
fn content_that_ends_early_is_an_error_and_not_an_end() {
    let part = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-9/10\r\n";
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
        format!("{part}Content-Length: 10\r\n\r\nabc"),
        format!("{part}\r\nabc"),
        format!("{part}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
        "HTTP/1.1 404 No\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
    ] {
        let server = Scripted::start([vec![answer.as_str(), CLOSE]]).unwrap();
        let (url, interrupt) = (url(&server, "/"), interrupt());
        let client = Client::default().keeping_connections();
        let mut response = client.ask(&Ask::new(Method::Get, &url), &interrupt).unwrap();
        let mut content = Vec::new();
        let error = response.body.read_to_end(&mut content).unwrap_err();
        assert_eq!((error.kind(), content.as_slice()), (ErrorKind::UnexpectedEof, &b"abc"[..]));
        assert!(error.to_string().contains("7 bytes"), "{answer}: {error}");
    }
}
