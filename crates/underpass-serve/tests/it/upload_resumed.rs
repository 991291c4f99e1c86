//! Uploads that are continued after their connection was cut.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;

use bytes::Bytes;
use underpass_serve::SiteOptions;
use underpass_testkit::wait;

use crate::fixture::{Fixture, field};
use crate::http2::{connect, request, run};
use crate::upload::{PATIENCE, Place, rest, site, status};

/// `name: value`, one after the other.
type Fields<'a> = &'a [&'a str];

impl Place {
    fn ask(&self, method: &str, target: &str, fields: Fields<'_>, content: &[u8]) -> String {
        self.exchange(&asking(method, target, fields, content))
    }

    /// Begins an upload, and says where it is continued.
    fn begin(&self, target: &str, fields: Fields<'_>, content: &[u8]) -> String {
        let fields = [&["Upload-Complete: ?0"], fields].concat();
        let answer = self.ask("PUT", target, &fields, content);
        assert_eq!(status(&answer), "201", "{answer}");
        assert_eq!(field(&answer, "upload-complete"), "?0");
        assert_eq!(field(&answer, "upload-offset"), content.len().to_string());
        let at = field(&answer, "location").to_owned();
        assert!(at.starts_with(&format!("{target}?upload=")), "{at}");
        at
    }

    fn append(&self, at: &str, offset: u64, complete: &str, content: &[u8]) -> String {
        let offset = format!("Upload-Offset: {offset}");
        let complete = format!("Upload-Complete: {complete}");
        self.ask("PATCH", at, &[&offset, &complete, PARTIAL], content)
    }
}

const PARTIAL: &str = "Content-Type: application/partial-upload";

fn asking(method: &str, target: &str, fields: Fields<'_>, content: &[u8]) -> Vec<u8> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let (len, close) = (content.len(), "Connection: close");
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\n{close}\r\n{fields}Content-Length: {len}\r\n\r\n"
    );
    [head.as_bytes(), content].concat()
}

fn pattern(len: u32) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_file_comes_in_several_requests_and_has_its_name_after_the_last() {
    let place = Place::new(false);
    let content = pattern(2_000_000);
    let length = format!("Upload-Length: {}", content.len());
    let at = place.begin("/a%20b.bin", &[&length], &content[..5]);
    assert!(place.names().starts_with(".underpass-upload-kept-"), "{}", place.names());
    let answer = place.append(&at, 5, "?0", &content[5..1_000_000]);
    assert_eq!((status(&answer), field(&answer, "upload-complete")), ("204", "?0"), "{answer}");
    let answer = place.ask("HEAD", &at, &[], b"");
    assert_eq!(status(&answer), "204", "{answer}");
    for (name, value) in [
        ("upload-offset", "1000000"),
        ("upload-complete", "?0"),
        ("upload-length", "2000000"),
        ("upload-limit", "max-size=4000000, max-age=86400"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(field(&answer, name), value, "{answer}");
    }
    // An empty one changes nothing, and the last may be empty too.
    assert_eq!(status(&place.append(&at, 1_000_000, "?0", b"")), "204");
    assert_eq!(status(&place.append(&at, 1_000_000, "?0", &content[1_000_000..])), "204");
    assert!(place.names().starts_with(".underpass-upload-kept-"), "all of it came: it has no name");
    let answer = place.append(&at, 2_000_000, "?1", b"");
    assert_eq!((status(&answer), field(&answer, "upload-complete")), ("201", "?1"), "{answer}");
    assert_eq!(field(&answer, "upload-offset"), "2000000");
    assert!(place.read("a b.bin") == content);
    assert_eq!(place.names(), "a b.bin");
    // One who missed the answer learns it.
    let answer = place.ask("HEAD", &at, &[], b"");
    assert_eq!((status(&answer), field(&answer, "upload-complete")), ("204", "?1"), "{answer}");
    assert_eq!(field(&answer, "upload-offset"), "2000000");
    for (content, problem) in [(&b""[..], "completed-upload"), (b"x", "inconsistent-upload-length")]
    {
        let answer = place.append(&at, 2_000_000, "?1", content);
        assert_eq!((status(&answer), answer.contains(problem)), ("400", true), "{answer}");
    }
    assert_eq!(place.read("a b.bin").len(), 2_000_000);
}

#[test]
fn what_came_before_a_cut_is_kept_and_the_rest_is_appended() {
    let place = Place::new(false);
    let content = pattern(3_000_000);
    let at = place.begin("/a", &[], b"");
    let mut offset = 0;
    // The client leaves in the middle, or says that it ends, or a chunk is malformed.
    for kind in ["reset", "end", "malformed"] {
        let fields =
            [&format!("Upload-Offset: {offset}")[..], "Upload-Complete: ?1", PARTIAL].join("\r\n");
        let head = format!("PATCH {at} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let part = &content[offset..offset + 700_000];
        let mut client = place.server.connect();
        let framed = if kind == "malformed" {
            let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\nzz\r\n"].concat();
            [format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes(), &chunk].concat()
        } else {
            let left = content.len() - offset;
            [format!("{head}Content-Length: {left}\r\n\r\n").as_bytes(), part].concat()
        };
        client.write_all(&framed).unwrap();
        // The request after it ends it, however much of it is still to be read.
        let len = || fs::metadata(place.dir.path().join(place.names())).unwrap().len();
        let has_some = || (len() > offset as u64).then_some(());
        wait::until(PATIENCE, has_some).expect("it is being written");
        match kind {
            "reset" => drop(client),
            "end" => {
                client.shutdown(Shutdown::Write).unwrap();
                drop(rest(client));
            }
            _ => assert_eq!(status(&rest(client)), "400"),
        }
        let reached = || {
            let answer = place.ask("HEAD", &at, &[], b"");
            assert_eq!(status(&answer), "204", "{answer}");
            assert_eq!(field(&answer, "upload-complete"), "?0");
            let reached = field(&answer, "upload-offset").parse::<usize>().unwrap();
            (reached > offset).then_some(reached)
        };
        let now =
            wait::until(PATIENCE, reached).unwrap_or_else(|| panic!("{kind}: {}", place.names()));
        assert!(now <= offset + 700_000, "{now}");
        offset = now;
    }
    let answer = place.append(&at, offset as u64, "?1", &content[offset..]);
    assert_eq!(status(&answer), "201", "{answer}");
    assert!(place.read("a") == content);
    assert_eq!(place.names(), "a");
}

#[test]
fn what_does_not_fit_is_refused_and_says_why() {
    let place = Place::new(false);
    let at = place.begin("/a", &["Upload-Length: 10"], b"0123");
    for (offset, content, is_last, expected, said) in [
        (3, &b"3456789"[..], "?1", "409", "\"expected-offset\":4"),
        (5, b"56789", "?1", "409", "\"provided-offset\":5"),
        (4, b"45678", "?1", "400", "inconsistent-upload-length"),
        (4, b"456789x", "?1", "400", "inconsistent-upload-length"),
        (4, b"456789x", "?0", "400", "inconsistent-upload-length"),
    ] {
        let answer = place.append(&at, offset, is_last, content);
        assert_eq!((status(&answer), answer.contains(said)), (expected, true), "{answer}");
        assert_eq!(field(&answer, "content-type"), "application/problem+json");
        if expected == "409" {
            assert_eq!(field(&answer, "upload-offset"), "4");
        }
    }
    for (fields, expected) in [
        (&["Upload-Offset: 4", "Upload-Complete: ?1"][..], "415"),
        (&["Upload-Offset: 4", PARTIAL], "400"),
        (&["Upload-Complete: ?1", PARTIAL], "400"),
        (&["Upload-Offset: 4", "Upload-Complete: 1", PARTIAL], "400"),
        (&["Upload-Offset: 4", "Upload-Complete: ?1", "Upload-Length: 11", PARTIAL], "400"),
    ] {
        let answer = place.ask("PATCH", &at, fields, b"456789");
        assert_eq!(status(&answer), expected, "{answer}");
    }
    let answer = place.ask("PATCH", &at, &["Upload-Offset: 4", "Upload-Complete: ?1"], b"456789");
    assert_eq!(field(&answer, "accept-patch"), "application/partial-upload");
    // The same token is for no other name, and another for none.
    let token = at.split_once('?').unwrap().1;
    for at in [format!("/b?{token}"), format!("/a?upload={:032x}", 1), "/a?upload=1".into()] {
        let answer = place.append(&at, 4, "?1", b"456789");
        assert!(matches!(status(&answer), "404" | "405"), "{at}: {answer}");
        assert!(!place.names().contains(' '), "{}", place.names());
    }
    // Content of which no one said how long it is, and that ends before it should.
    let chunked = format!(
        "PATCH {at} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpload-Offset: 4\r\n\
         Upload-Complete: ?1\r\n{PARTIAL}\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\n456\r\n0\r\n\r\n"
    );
    let answer = place.exchange(chunked.as_bytes());
    assert!(answer.contains("inconsistent-upload-length"), "{answer}");
    let answer = place.append(&at, 7, "?1", b"789");
    assert_eq!(status(&answer), "201", "nothing of that did any harm: {answer}");
    assert_eq!(place.read("a"), b"0123456789");
}

#[test]
fn more_than_was_said_or_may_be_ends_an_upload() {
    let place = Place::new(false);
    for fields in [&["Upload-Length: 4000001"][..], &["Upload-Length: 5000000"]] {
        let fields = [fields, &["Upload-Complete: ?0"]].concat();
        let answer = place.ask("PUT", "/a", &fields, b"");
        assert_eq!((status(&answer), field(&answer, "upload-limit")), ("413", "max-size=4000000"));
    }
    for (length, complete) in [(Some("Upload-Length: 5"), "?0"), (None, "?1")] {
        let at = place.begin("/a", length.as_slice(), b"0123");
        let fields = ["Upload-Offset: 4", &format!("Upload-Complete: {complete}"), PARTIAL];
        let fields = fields.join("\r\n");
        let mut client = place.server.connect();
        let head = format!(
            "PATCH {at} HTTP/1.1\r\nHost: x\r\n{fields}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        client.write_all(head.as_bytes()).unwrap();
        let chunk = [b"f4240\r\n".as_slice(), &[b'c'; 1_000_000], b"\r\n"].concat();
        for _ in 0..if length.is_some() { 1 } else { 5 } {
            client.write_all(&chunk).expect("nothing is reset while it is sent");
        }
        assert_eq!(status(&rest(client)), "413");
        assert_eq!(status(&place.ask("HEAD", &at, &[], b"")), "404");
        let is_empty = || place.names().is_empty().then_some(());
        wait::until(PATIENCE, is_empty).unwrap_or_else(|| panic!("{} is left", place.names()));
    }
}

#[test]
fn an_upload_is_cancelled_and_leaves_nothing() {
    let place = Place::new(false);
    let at = place.begin("/a", &[], b"0123");
    assert_eq!(status(&place.ask("DELETE", &at, &[], b"")), "204");
    let is_empty = || place.names().is_empty().then_some(());
    wait::until(PATIENCE, is_empty).expect("its file goes");
    for method in ["HEAD", "DELETE"] {
        assert_eq!(status(&place.ask(method, &at, &[], b"")), "404");
    }
    assert_eq!(status(&place.append(&at, 4, "?1", b"4")), "404");
    // A file is not deleted so, and what else is asked of its name is answered as always.
    fs::write(place.dir.path().join("a"), "there").unwrap();
    assert_eq!(status(&place.ask("DELETE", "/a", &[], b"")), "405");
    let answer = place.ask("GET", &at, &[], b"");
    assert!(answer.ends_with("\r\n\r\nthere"), "{answer}");
    let options = place.ask("OPTIONS", "/b", &[], b"");
    assert_eq!(field(&options, "accept-patch"), "application/partial-upload");
    assert_eq!(field(&options, "upload-limit"), "max-size=4000000");
    let options = place.ask("OPTIONS", &at, &[], b"");
    assert_eq!(field(&options, "allow"), "HEAD, PATCH, DELETE, OPTIONS");
}

#[test]
fn the_state_that_the_first_request_expects_is_looked_at_again_at_the_end() {
    for (fields, may_replace, expected) in
        [(&["If-None-Match: *"][..], true, "412"), (&[], false, "409"), (&[], true, "204")]
    {
        let place = Place::new(may_replace);
        let at = place.begin("/a", fields, b"ne");
        fs::write(place.dir.path().join("a"), "old").unwrap();
        let answer = place.append(&at, 2, "?1", b"w");
        assert_eq!(status(&answer), expected, "{answer}");
        // All of it came: nothing is left to be sent.
        assert_eq!(field(&answer, "upload-complete"), "?1");
        let content: &[u8] = if expected == "204" { b"new" } else { b"old" };
        assert_eq!(place.read("a"), content);
        let is_alone = || (place.names() == "a").then_some(());
        wait::until(PATIENCE, is_alone).unwrap_or_else(|| panic!("{}", place.names()));
        let known = if expected == "204" { "204" } else { "404" };
        assert_eq!(status(&place.ask("HEAD", &at, &[], b"")), known);
    }
}

/// A connection of which only the client knows that it is dead.
#[test]
fn the_newest_request_takes_an_upload_over() {
    let place = Place::new(false);
    let content = pattern(1_000_000);
    let at = place.begin("/a", &[], b"");
    let mut dead = place.server.connect();
    let fields = ["Upload-Offset: 0", "Upload-Complete: ?1", PARTIAL].join("\r\n");
    let head =
        format!("PATCH {at} HTTP/1.1\r\nHost: x\r\n{fields}\r\nContent-Length: 1000000\r\n\r\n");
    dead.write_all(&[head.as_bytes(), &content[..400_000]].concat()).unwrap();
    let has_some = || {
        let name = place.names();
        (fs::metadata(place.dir.path().join(name)).unwrap().len() > 0).then_some(())
    };
    wait::until(PATIENCE, has_some).expect("it is being written");
    let answer = place.ask("HEAD", &at, &[], b"");
    let offset: usize = field(&answer, "upload-offset").parse().unwrap();
    assert!((1..=400_000).contains(&offset), "{offset}");
    // What comes of the other from now on is not appended.
    let _cut = dead.write_all(&content[400_000..]);
    let answer = place.append(&at, offset as u64, "?1", &content[offset..]);
    assert_eq!(status(&answer), "201", "{answer}");
    assert!(place.read("a") == content);
    let mut other = String::new();
    let _reset = dead.read_to_string(&mut other);
    assert!(other.is_empty() || status(&other) == "409", "{other}");
}

#[test]
fn an_upload_goes_on_over_http_2() {
    let place = Place::new(false);
    let content = pattern(200_000);
    run(async {
        let client = connect(&place.server).await;
        let put = request("PUT", "/a", &[("upload-complete", "?0"), ("upload-length", "200000")]);
        let (answer, mut stream) = client.clone().send_request(put, false).unwrap();
        stream.send_data(Bytes::copy_from_slice(&content[..10]), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 201);
        let at = answer.headers()["location"].to_str().unwrap().to_owned();
        let append = |offset: usize| {
            let offset = offset.to_string();
            request(
                "PATCH",
                &at,
                &[
                    ("upload-complete", "?1"),
                    ("upload-offset", &offset),
                    ("content-type", "application/partial-upload"),
                ],
            )
        };
        // Its stream is reset in the middle.
        let (answer, mut stream) = client.clone().send_request(append(10), false).unwrap();
        stream.send_data(Bytes::copy_from_slice(&content[10..50_000]), false).unwrap();
        // Another request is answered meanwhile.
        let other = client.clone().send_request(request("GET", "/", &[]), true).unwrap().0;
        assert_eq!(other.await.unwrap().status(), 200);
        stream.send_reset(h2::Reason::CANCEL);
        assert!(answer.await.is_err());
        let head = client.clone().send_request(request("HEAD", &at, &[]), true).unwrap().0;
        let head = head.await.unwrap();
        assert_eq!(head.status(), 204);
        let offset: usize = head.headers()["upload-offset"].to_str().unwrap().parse().unwrap();
        assert!((10..=50_000).contains(&offset), "{offset}");
        let (answer, mut stream) = client.clone().send_request(append(offset), false).unwrap();
        let mut rest = Bytes::copy_from_slice(&content[offset..]);
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.unwrap().unwrap();
            let piece = rest.split_to(room.min(rest.len()));
            stream.send_data(piece, rest.is_empty()).unwrap();
        }
        assert_eq!(answer.await.unwrap().status(), 201);
    });
    assert!(place.read("a") == content);
    assert_eq!(place.names(), "a");
}

/// It is told where it may continue while it sends all of the file.
#[test]
fn a_client_of_http_2_learns_in_time_where_its_upload_continues() {
    let place = Place::new(false);
    run(async {
        let client = connect(&place.server).await;
        let begin = |name: &str, length: &str| {
            let fields = [("upload-complete", "?1"), ("upload-length", length)];
            client.clone().send_request(request("PUT", name, &fields), false).unwrap()
        };
        let told = async |answer: &mut h2::client::ResponseFuture| {
            let told = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
            let told = told.unwrap().unwrap();
            assert_eq!(told.status(), 104);
            assert_eq!(told.headers()["upload-limit"], "max-size=4000000, max-age=86400");
            told.headers()["location"].to_str().unwrap().to_owned()
        };
        let (mut answer, mut stream) = begin("/a", "6");
        let at = told(&mut answer).await;
        assert!(at.starts_with("/a?upload="), "{at}");
        stream.send_data(Bytes::from_static(b"abcdef"), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["upload-complete"]),
            (201, &"?1".parse().unwrap())
        );
        assert_eq!(place.read("a"), b"abcdef");
        // The same is cut, and continued.
        let (mut answer, mut stream) = begin("/b", "6");
        let at = told(&mut answer).await;
        stream.send_data(Bytes::from_static(b"abc"), false).unwrap();
        stream.send_reset(h2::Reason::CANCEL);
        let head = client.clone().send_request(request("HEAD", &at, &[]), true).unwrap().0;
        let head = head.await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["upload-length"]),
            (204, &"6".parse().unwrap())
        );
        let offset = head.headers()["upload-offset"].to_str().unwrap();
        let fields = [
            ("upload-complete", "?1"),
            ("upload-offset", offset),
            ("content-type", "application/partial-upload"),
        ];
        let append = request("PATCH", &at, &fields);
        let (answer, mut stream) = client.clone().send_request(append, false).unwrap();
        let rest = &b"abcdef"[offset.parse::<usize>().unwrap()..];
        stream.send_data(Bytes::copy_from_slice(rest), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 201);
    });
    assert_eq!((place.read("b"), place.names()), (b"abcdef".into(), "a b".into()));
}

#[test]
fn what_came_and_how_requests_ended_is_counted() {
    let place = Place::new(false);
    let at = place.begin("/a", &[], b"0123");
    assert_eq!(status(&place.append(&at, 4, "?1", b"45")), "201");
    assert_eq!(status(&place.ask("HEAD", &at, &[], b"")), "204");
    assert_eq!(status(&place.ask("PUT", "/a", &[], b"678")), "409");
    assert_eq!(status(&place.ask("PUT", "/b", &[], b"678")), "201");
    run(async {
        let client = connect(&place.server).await;
        let put = request("PUT", "/c", &[]);
        let (answer, mut stream) = client.clone().send_request(put, false).unwrap();
        stream.send_data(Bytes::from_static(b"9"), false).unwrap();
        while !place.names().contains(".underpass") {
            tokio::task::yield_now().await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        assert!(answer.await.is_err());
    });
    let of = |result: &str| place.server.metric(&format!("uploads_total{{result=\"{result}\"}}"));
    let is_counted = || (of("cut") == 1).then_some(());
    wait::until(PATIENCE, is_counted).expect("one was cut");
    assert_eq!([of("placed"), of("part"), of("refused")], [2, 1, 1]);
    // What is refused is not read, and what was cut may have been.
    assert!((9..=10).contains(&place.server.metric("uploaded_bytes_total")));
}

#[test]
fn beneath_a_prefix_uploads_are_continued_beneath_it() {
    let dir = tempfile::tempdir().unwrap();
    let site = site(dir.path(), "*.bin", false);
    let site = SiteOptions { prefix: Some("/p".parse().unwrap()), ..site };
    let place = Place { server: Fixture::of(site), dir };
    let at = place.begin("/p/a.bin", &[], b"ab");
    assert_eq!(status(&place.append(&at, 2, "?1", b"c")), "201");
    assert_eq!((place.names(), place.read("a.bin")), ("a.bin".into(), b"abc".into()));
    assert_eq!(status(&place.ask("PUT", "/a.bin", &["Upload-Complete: ?0"], b"")), "404");
    run(async {
        let client = connect(&place.server).await;
        let begin = request("PUT", "/p/b.bin", &[("upload-complete", "?1")]);
        let (mut answer, mut stream) = client.clone().send_request(begin, false).unwrap();
        let told = std::future::poll_fn(|cx| answer.poll_informational(cx)).await;
        let told = told.unwrap().unwrap();
        let at = told.headers()["location"].to_str().unwrap();
        assert!(at.starts_with("/p/b.bin?upload="), "{at}");
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 201);
    });
}

#[test]
fn a_post_begins_an_upload_too_and_a_complete_one_is_a_put() {
    let place = Place::new(false);
    let answer = place.ask("POST", "/a", &["Upload-Complete: ?1"], b"all");
    assert_eq!((status(&answer), place.read("a")), ("201", b"all".into()), "{answer}");
    let answer = place.ask("POST", "/b", &["Upload-Complete: ?0"], b"so");
    assert_eq!(status(&answer), "201", "{answer}");
    let at = field(&answer, "location");
    assert_eq!(status(&place.append(at, 2, "?1", b"me")), "201");
    assert_eq!(place.read("b"), b"some");
    let cross = ["Upload-Complete: ?0", "Origin: http://y"];
    assert_eq!(status(&place.ask("POST", "/c", &cross, b"")), "403");
    let answer = place.ask("PUT", "/d", &["Upload-Complete: ?1", "Upload-Length: 3"], b"all");
    assert_eq!((status(&answer), place.read("d")), ("201", b"all".into()), "{answer}");
    assert_eq!(place.names(), "a b d");
}
