//! Connections that are used again, and those that must not be.

use std::io::{self, Read};
use std::time::Duration;

use underpass::Source;
use underpass_client::{Ask, Client, ClientError, Condition, Method, Response, Timeouts, Url};
use underpass_testkit::scripted::{CLOSE, Scripted};
use underpass_testkit::tls::Identity;

use super::{interrupt, secured, trusting, url};

const ABC: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";

fn keeping() -> Client {
    Client::default().keeping_connections()
}

/// The status and the content of an answer, taken to its end.
fn asked(client: &Client, method: Method, url: &Url) -> (u16, String) {
    let interrupt = interrupt();
    content(client.ask(&Ask::new(method, url), &interrupt).unwrap())
}

fn content(mut response: Response<'_>) -> (u16, String) {
    let mut content = String::new();
    response.body.read_to_string(&mut content).unwrap();
    (response.status, content)
}

fn abc() -> (u16, String) {
    (200, "abc".to_owned())
}

/// Which connections the requests to a server came over.
fn connections<const N: usize>(server: &Scripted) -> [usize; N] {
    let connections = std::array::from_fn(|_| server.asked().connection);
    assert!(!server.is_asked());
    connections
}

#[test]
fn a_connection_is_used_again_when_its_content_was_taken_to_the_end() {
    let no_content = "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n";
    let part = "HTTP/1.1 206 P\r\nContent-Range: bytes 4-6/9\r\nContent-Length: 3\r\n\r\nabc";
    let server = Scripted::start([vec![ABC, no_content, no_content, part, ABC]]).unwrap();
    let (client, url) = (keeping(), url(&server, "/"));
    assert_eq!(asked(&client, Method::Get, &url), abc());
    assert_eq!(asked(&client, Method::Get, &url), (304, String::new()));
    assert_eq!(asked(&client, Method::Head, &url), (304, String::new()));
    {
        let interrupt = interrupt();
        let ask = Ask { range: "4-6".parse().unwrap(), ..Ask::new(Method::Get, &url) };
        let mut response = client.ask(&ask, &interrupt).unwrap();
        // By the engine, which takes it out of the socket without this crate.
        let (read, mut write) = io::pipe().unwrap();
        let source = response.body.source().unwrap();
        let moved = underpass::transfer(source, underpass::Sink::stream(&write)).unwrap();
        let moved = moved.of(underpass::Method::Splice).bytes;
        response.body.place = response.body.place.after(moved);
        io::Write::flush(&mut write).unwrap();
        drop(write);
        assert_eq!(io::read_to_string(read).unwrap(), "abc");
    }
    assert_eq!(asked(&client, Method::Get, &url), abc());
    let head = server.asked().head;
    assert!(!head.contains("Connection:"), "{head}");
    assert_eq!(connections(&server), [0; 4]);
}

#[test]
fn two_answers_at_a_time_have_two_connections_and_both_are_kept() {
    let server = Scripted::start([vec![ABC, ABC], vec![ABC, ABC]]).unwrap();
    let (client, url, interrupt) = (keeping(), url(&server, "/"), interrupt());
    for _ in 0..2 {
        let both = [(), ()].map(|()| client.ask(&Ask::new(Method::Get, &url), &interrupt).unwrap());
        assert_eq!(both.map(content), [abc(), abc()]);
    }
    let mut over: [usize; 4] = connections(&server);
    over.sort_unstable();
    assert_eq!(over, [0, 0, 1, 1]);
}

#[test]
fn what_may_have_bytes_left_or_ends_otherwise_is_not_used_again() {
    let long = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef";
    // The rest comes later: there is nothing in the socket when the next request is made.
    let late = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let closing = "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 3\r\n\r\nabc";
    let of_1_0 = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let unframed = "HTTP/1.1 206 P\r\nContent-Range: bytes 0-2/3\r\n\r\nabc";
    let split = format!("{ABC}HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad");
    for answer in [long, late, chunked, closing, of_1_0, unframed, split.as_str()] {
        let server = Scripted::start([vec![answer, ABC], vec![ABC]]).unwrap();
        let (client, url, interrupt) = (keeping(), url(&server, "/"), interrupt());
        let mut first = client.ask(&Ask::new(Method::Get, &url), &interrupt).unwrap();
        let mut three = [0; 3];
        first.body.read_exact(&mut three).unwrap();
        assert_eq!(&three, b"abc");
        if answer != long && answer != late {
            assert_eq!(first.body.read(&mut three).unwrap(), 0, "{answer}");
        }
        drop(first);
        assert_eq!(asked(&client, Method::Get, &url), abc(), "{answer}");
        assert_eq!(connections(&server), [0, 1], "{answer}");
    }
}

#[test]
fn a_clone_and_another_origin_have_their_own_connections() {
    let script = || Scripted::start([vec![ABC, ABC], vec![ABC]]).unwrap();
    let (server, other) = (script(), script());
    let (client, first) = (keeping(), url(&server, "/"));
    assert_eq!(asked(&client, Method::Get, &first), abc());
    assert_eq!(asked(&client, Method::Get, &url(&other, "/")), abc());
    let clone = client.clone();
    assert_eq!(asked(&clone, Method::Get, &first), abc());
    assert_eq!(asked(&client, Method::Get, &first), abc());
    assert_eq!(connections(&server), [0, 1, 0]);
    assert_eq!(connections(&other), [0]);
}

#[test]
fn a_connection_that_is_lost_before_the_first_byte_is_asked_again_once() {
    let server = Scripted::start([vec![ABC, "", CLOSE], vec![ABC, "", CLOSE], vec!["", CLOSE]]);
    let server = server.unwrap();
    let (client, url, interrupt) = (keeping(), url(&server, "/"), interrupt());
    assert_eq!(asked(&client, Method::Get, &url), abc());
    assert_eq!(asked(&client, Method::Get, &url), abc());
    let error = client.ask(&Ask::new(Method::Get, &url), &interrupt).unwrap_err();
    let ClientError::Open { verb: "read the answer from", source, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(source.to_string(), "it closed the connection without an answer");
    assert_eq!(connections(&server), [0, 0, 1, 1, 2]);
}

#[test]
fn a_request_is_not_sent_again_when_its_answer_has_begun_or_is_late() {
    let server = Scripted::start([vec![ABC, "HTTP/1.1 2", CLOSE], vec![ABC, ""]]).unwrap();
    let (client, url) = (keeping(), url(&server, "/"));
    assert_eq!(asked(&client, Method::Get, &url), abc());
    let patient = interrupt();
    let error = client.ask(&Ask::new(Method::Get, &url), &patient).unwrap_err();
    assert!(matches!(error, ClientError::Open { verb: "read the answer from", .. }), "{error}");
    assert_eq!(asked(&client, Method::Get, &url), abc());
    let idle = Some(Duration::from_millis(300));
    let hasty = patient.with(Timeouts { idle, connect: None });
    let error = client.ask(&Ask::new(Method::Get, &url), &hasty).unwrap_err();
    let ClientError::Open { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::TimedOut);
    assert_eq!(connections(&server), [0, 0, 1, 1]);
}

#[test]
fn what_changes_something_is_sent_over_a_new_connection() {
    let script = [vec![ABC, ABC], vec![ABC], vec![ABC, ABC]];
    let server = Scripted::start(script).unwrap();
    let (client, url) = (keeping(), url(&server, "/"));
    assert_eq!(asked(&client, Method::Get, &url), abc());
    assert_eq!(asked(&client, Method::Delete, &url), abc());
    let interrupt = interrupt();
    let put = client.put(&url, Source::bytes("x"), Condition::Always, &[], &interrupt).unwrap();
    assert_eq!(content(put), abc());
    // The one of the PUT, which was used last.
    assert_eq!(asked(&client, Method::Get, &url), abc());
    assert_eq!(connections(&server), [0, 1, 2, 2]);
}

#[test]
fn a_put_that_was_answered_early_leaves_nothing_behind() {
    let server = super::putting::early(&[ABC, ABC], true);
    let (client, interrupt) = (keeping(), interrupt());
    let dir = tempfile::tempdir().unwrap();
    let long = super::putting::long(dir.path());
    let long = Source::file(&long, ..).unwrap();
    let put = client.put(&server, long, Condition::Always, &[], &interrupt).unwrap();
    assert_eq!(content(put), abc());
    // Over the same connection the server would not read it.
    assert_eq!(asked(&client, Method::Get, &server), abc());
}

#[test]
fn a_secured_connection_is_used_again_and_its_end_is_seen() {
    let identity = Identity::new().unwrap();
    let script = [vec![ABC, ABC, ABC, "", CLOSE], vec![ABC]];
    let server = secured(&identity, script);
    let dir = tempfile::tempdir().unwrap();
    let client = trusting(&identity, dir.path()).keeping_connections();
    let url = Url::parse(&format!("https://{}/", server.address())).unwrap();
    for _ in 0..4 {
        assert_eq!(asked(&client, Method::Get, &url), abc());
    }
    assert_eq!(connections(&server), [0, 0, 0, 0, 1]);
}
