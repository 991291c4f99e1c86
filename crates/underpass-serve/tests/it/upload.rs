//! Files that are put in place, and what is left when they are not.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use underpass_serve::SiteOptions;
use underpass_serve::access::{Access, AccessOptions};
use underpass_serve::upload::Upload;
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, field};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The largest file that is taken.
const BYTES_MAX: u64 = 4_000_000;

/// `alice:password`, and the hash of that password.
pub(crate) const ALICE: &str = "Authorization: Basic YWxpY2U6cGFzc3dvcmQ=\r\n";
pub(crate) const HASH: &str = "$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";

pub(crate) struct Place {
    pub(crate) server: Fixture,
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    /// A server that takes everything, and replaces files or not.
    pub(crate) fn new(may_replace: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { server: Fixture::of(site(dir.path(), "**", may_replace)), dir }
    }

    pub(crate) fn names(&self) -> String {
        names(self.dir.path())
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.dir.path().join(name)).unwrap()
    }

    fn put(&self, path: &str, fields: &str, content: &[u8]) -> String {
        let len = content.len();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len}\r\nConnection: \
             close\r\n\r\n"
        );
        self.exchange(&[head.as_bytes(), content].concat())
    }

    pub(crate) fn exchange(&self, request: &[u8]) -> String {
        let mut client = self.server.connect();
        client.write_all(request).unwrap();
        rest(client)
    }
}

pub(crate) fn site(root: &Path, pattern: &str, may_replace: bool) -> SiteOptions {
    let mut site = SiteOptions::new(root.to_owned());
    let upload = Upload::new(vec![pattern.parse().unwrap()], BYTES_MAX, may_replace);
    site.stations.upload = Some(Arc::new(upload));
    site
}

pub(crate) fn names(dir: &Path) -> String {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.join(" ")
}

pub(crate) fn rest(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn what_is_put_is_there_and_is_served_at_once() {
    let place = Place::new(true);
    let large: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    for (content, expected) in
        [(&b"first"[..], "201"), (b"second", "204"), (&large, "204"), (b"", "204")]
    {
        let answer = place.put("/a%20b.txt", "", content);
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("\r\nconnection: close\r\n"));
        assert!(place.read("a b.txt") == content);
        let get = "GET /a%20b.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let got = place.server.exchange(get);
        assert!(got.starts_with(b"HTTP/1.1 200 ") && got.ends_with(content));
        assert_eq!(place.names(), "a b.txt");
    }
    let chunked = "PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                   Connection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
    assert_eq!(status(&place.exchange(chunked.as_bytes())), "201");
    assert_eq!(place.read("c"), b"abcde");
    let bare = "PUT /d HTTP/1.0\r\n\r\n";
    assert_eq!(status(&place.exchange(bare.as_bytes())), "201");
    assert_eq!(place.read("d"), b"");
}

#[test]
fn what_was_kept_is_not_served_once_it_is_replaced() {
    let place = Place::new(true);
    fs::create_dir(place.dir.path().join("d")).unwrap();
    for (file, path) in [("a", "/a"), ("d/index.html", "/d/")] {
        fs::write(place.dir.path().join(file), "old").unwrap();
        // Within the second in which it was written nothing is kept.
        let is_settled = || place.server.etag(path).starts_with('"').then_some(());
        wait::until(PATIENCE, is_settled).expect("a second passes");
        let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert!(place.server.exchange(&get).ends_with(b"\r\n\r\nold"));
        assert_eq!(status(&place.put(&format!("/{file}"), "", b"new")), "204");
        assert!(place.server.exchange(&get).ends_with(b"\r\n\r\nnew"), "{path}");
    }
}

#[test]
fn a_connection_carries_several_uploads_and_what_lies_between_them() {
    let place = Place::new(false);
    let put = |name, content: &str| {
        let len = content.len();
        format!("PUT /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {len}\r\n\r\n{content}")
    };
    let get = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let all = [&put("a", "one"), get, &put("a", "two"), &put("b", "three"), last].concat();
    let answer = place.exchange(all.as_bytes());
    let statuses: Vec<_> =
        answer.match_indices("HTTP/1.1 ").map(|(at, _)| status(&answer[at..])).collect();
    assert_eq!(statuses, ["201", "200", "409", "201", "200"], "{answer}");
    assert!(answer.ends_with("\r\n\r\nthree"), "{answer}");
    assert_eq!((place.read("a"), place.names()), (b"one".into(), "a b".into()));
}

#[test]
fn what_is_refused_is_refused_before_its_content_is_asked_for() {
    let place = Place::new(false);
    fs::create_dir(place.dir.path().join("d")).unwrap();
    fs::write(place.dir.path().join("there"), "old").unwrap();
    let long = format!("/{}", "x".repeat(300));
    for (path, fields, expected) in [
        ("/", "", "409"),
        ("/d", "", "409"),
        ("/d/", "", "409"),
        ("/none/a", "", "409"),
        ("/there", "", "409"),
        ("/there/a", "", "409"),
        ("/.hidden", "", "403"),
        ("/.underpass-upload-0", "", "403"),
        ("/a%2fb", "", "400"),
        (&long, "", "400"),
        ("/a", "Content-Range: bytes 5-13/14\r\n", "400"),
        ("/a", "Content-Encoding: gzip\r\n", "415"),
        ("/there", "If-None-Match: *\r\n", "412"),
        ("/there", "If-Match: \"x\"\r\n", "412"),
        ("/a", "If-Match: *\r\n", "412"),
        ("/a", "Host: y\r\n", "400"),
    ] {
        let head = format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 9\r\n");
        // A client that waits is answered at once, and sends nothing.
        let answer = place.exchange(format!("{head}Expect: 100-continue\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), expected, "{path} {fields}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        // With one that has sent its content the connection continues.
        let next = "GET /there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let answer = place.exchange(format!("{head}\r\n012345678{next}").as_bytes());
        assert_eq!(status(&answer), expected, "{path} {fields}: {answer}");
        // After a 400 nothing else of a connection is believed.
        assert_eq!(answer.ends_with("\r\n\r\nold"), expected != "400", "{path}: {answer}");
    }
    for framing in
        ["Content-Length: 4000001\r\n", "Expect: 100-continue\r\nContent-Length: 99999999999\r\n"]
    {
        let answer =
            place.exchange(format!("PUT /a HTTP/1.1\r\nHost: x\r\n{framing}\r\n").as_bytes());
        assert_eq!(status(&answer), "413");
    }
    assert_eq!((place.names(), place.read("there")), ("d there".into(), b"old".into()));
}

#[test]
fn content_is_asked_for_once_it_is_known_where_it_goes() {
    let place = Place::new(false);
    let mut client = place.server.connect();
    let head = "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\
                Connection: close\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    client.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert!(place.names().starts_with(".underpass-upload-"), "{}", place.names());
    client.write_all(b"abc").unwrap();
    assert_eq!(status(&rest(client)), "201");
    assert_eq!((place.names(), place.read("a")), ("a".into(), b"abc".into()));
}

#[test]
fn a_file_that_is_longer_than_it_may_be_is_not_there() {
    let place = Place::new(false);
    let mut client = place.server.connect();
    client.write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"f4240\r\n".as_slice(), &[b'c'; 1_000_000], b"\r\n"].concat();
    for _ in 0..8 {
        client.write_all(&chunk).expect("nothing is reset while it is sent");
    }
    let answer = rest(client);
    assert_eq!(status(&answer), "413");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    wait_for_nothing(&place);
}

/// Waits until the hidden file is gone, which another thread removes.
pub(crate) fn wait_for_nothing(place: &Place) {
    let is_empty = || place.names().is_empty().then_some(());
    wait::until(PATIENCE, is_empty).unwrap_or_else(|| panic!("{} is left", place.names()));
}

#[test]
fn content_that_is_cut_short_leaves_nothing() {
    let place = Place::new(true);
    let counted = "Content-Length: 3000000\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n\r\nf4240\r\n";
    for framing in [counted, chunked] {
        for is_reset in [false, true] {
            let mut client = place.server.connect();
            client
                .write_all(format!("PUT /a HTTP/1.1\r\nHost: x\r\n{framing}").as_bytes())
                .unwrap();
            client.write_all(&[b'x'; 600_000]).unwrap();
            let has_part = || (!place.names().is_empty()).then_some(());
            wait::until(PATIENCE, has_part).expect("it is being written");
            if is_reset {
                drop(client);
            } else {
                client.shutdown(Shutdown::Write).unwrap();
                let answer = rest(client);
                assert!(answer.is_empty() || status(&answer) == "400", "{answer}");
            }
            wait_for_nothing(&place);
        }
    }
    let malformed = "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n";
    assert_eq!(status(&place.exchange(malformed.as_bytes())), "400");
    wait_for_nothing(&place);
}

#[test]
fn of_many_writers_of_one_name_one_is_read_whole() {
    for may_replace in [false, true] {
        let place = Place::new(may_replace);
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8_u8)
                .map(|writer| {
                    let place = &place;
                    scope.spawn(move || place.put("/a", "", &vec![b'0' + writer; 500_000]))
                })
                .collect();
            writers.into_iter().map(|it| status(&it.join().unwrap()).to_owned()).collect()
        });
        let content = place.read("a");
        assert!(content.len() == 500_000 && content.iter().all(|byte| *byte == content[0]));
        let of = |status: &str| statuses.iter().filter(|it| *it == status).count();
        assert_eq!(of("201"), 1, "{statuses:?}");
        assert_eq!(of(if may_replace { "204" } else { "409" }), 7, "{statuses:?}");
        assert_eq!(place.names(), "a");
    }
}

#[test]
fn only_who_has_a_password_puts_something_wherever_all_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = site(dir.path(), "in/**", false);
    let access = Access::new(AccessOptions {
        users: vec![format!("alice:{HASH}")],
        file: None,
        realm: "files".into(),
        paths: vec!["private/**".parse().unwrap()],
    });
    site.stations.access = Some(Arc::new(access.unwrap()));
    let place = Place { server: Fixture::of(site), dir };
    fs::create_dir(place.dir.path().join("in")).unwrap();
    let waits = "Expect: 100-continue\r\n";
    let other = "Authorization: Basic YWxpY2U6cGFzc3dvcnQ=\r\n";
    for path in ["/in/a", "/in/none/a", "/in/"] {
        for fields in [waits.to_owned(), format!("{waits}{other}")] {
            let head =
                format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 9\r\n\r\n");
            let answer = place.exchange(head.as_bytes());
            assert_eq!(status(&answer), "401", "{answer}");
            assert!(!field(&answer, "www-authenticate").is_empty());
        }
    }
    assert_eq!(status(&place.put("/in/a", ALICE, b"content")), "201");
    assert_eq!(place.read("in/a"), b"content");
    for (path, allow) in [
        ("/in/a", "GET, HEAD, PUT, OPTIONS"),
        ("/in/none", "GET, HEAD, PUT, OPTIONS"),
        ("/a", "GET, HEAD, OPTIONS"),
    ] {
        for method in ["OPTIONS", "DELETE"] {
            let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            assert_eq!(field(&place.exchange(head.as_bytes()), "allow"), allow, "{method} {path}");
        }
    }
    let answer = place.put("/a", ALICE, b"content");
    assert_eq!((status(&answer), field(&answer, "allow")), ("405", "GET, HEAD, OPTIONS"));
    assert_eq!(place.names(), "in");
}

/// A server that takes files for a disk on which they do not fit.
pub(crate) fn serve_small(disk: &Disk) -> (PathBuf, Fixture) {
    let root = disk.path().join("served");
    fs::create_dir(&root).unwrap();
    let mut site = site(&root, "**", true);
    let upload = Upload::new(vec!["**".parse().unwrap()], 1 << 30, true);
    site.stations.upload = Some(Arc::new(upload));
    (root, Fixture::of(site))
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left() {
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let (root, server) = serve_small(&disk);
    fs::write(root.join("a"), "old").unwrap();
    // Known beforehand: its client need not send anything.
    let head =
        "PUT /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n";
    let mut client = server.connect();
    client.write_all(head.as_bytes()).unwrap();
    assert_eq!(status(&rest(client)), "507");
    let mut client = server.connect();
    client.write_all(b"PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [b"f4240\r\n".as_slice(), &[b'c'; 1_000_000], b"\r\n"].concat();
    for _ in 0..24 {
        client.write_all(&chunk).expect("nothing is reset while it is sent");
    }
    assert_eq!(status(&rest(client)), "507");
    let is_alone = || (names(&root) == "a").then_some(());
    wait::until(PATIENCE, is_alone).expect("the hidden file goes");
    assert_eq!(fs::read(root.join("a")).unwrap(), b"old");
}
