//! Files that come in a form: from this site's page, or from curl.

use std::fs;
use std::io::{Read, Write};
use std::process::Command;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::wait;

use crate::fixture::{Fixture, field};
use crate::upload::{PATIENCE, Place, names, rest, serve_small, site, status, wait_for_nothing};

const TYPE: &str = "Content-Type: multipart/form-data; boundary=XY\r\n";

/// A form of these files.
fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let part = |(name, content): &(&str, &[u8])| {
        let head = format!(
            "--XY\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        [head.as_bytes(), content, b"\r\n"].concat()
    };
    [files.iter().map(part).collect::<Vec<_>>().concat(), b"--XY--\r\n".to_vec()].concat()
}

fn head(path: &str, fields: &str, len: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x:8080\r\n{fields}Content-Length: {len}\r\n")
}

fn post(place: &Place, path: &str, fields: &str, form: &[u8]) -> String {
    let head = head(path, fields, form.len());
    place.exchange(&[head.as_bytes(), b"Connection: close\r\n\r\n", form].concat())
}

#[test]
fn files_of_a_form_are_put_in_place_and_lead_back_to_the_listing() {
    let place = Place::new(false);
    fs::create_dir(place.dir.path().join("a b")).unwrap();
    let large: Vec<u8> = (0..3_000_001_u32).map(|i| (i % 251) as u8).collect();
    let files = form(&[("one", b"1"), ("", b""), ("caf\u{e9} %22.txt", &large), ("empty", b"")]);
    let head = head("/a%20b/?sort=size", TYPE, files.len());
    let next = b"GET /a%20b/one HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = place.exchange(&[head.as_bytes(), b"\r\n", &files, next].concat());
    assert_eq!((status(&answer), field(&answer, "location")), ("303", "/a%20b/"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n1"), "the connection carries the next request: {answer}");
    assert_eq!(names(&place.dir.path().join("a b")), "caf\u{e9} \".txt empty one");
    assert!(place.read("a b/caf\u{e9} \".txt") == large && place.read("a b/empty") == b"");
}

#[test]
fn all_files_of_a_form_are_put_in_place_or_none() {
    let place = Place::new(false);
    fs::create_dir(place.dir.path().join("d")).unwrap();
    fs::write(place.dir.path().join("there"), "old").unwrap();
    let long = "x".repeat(300);
    let many: Vec<_> = (0..65).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, &b""[..])).collect();
    for (files, expected, said) in [
        (&[("a", &b"1"[..]), ("there", b"2")][..], "409", "there: There is such a file"),
        (&[("a", b"1"), ("d", b"2")], "409", "d: This is a directory"),
        (&[("a", b"1"), ("a", b"2")], "409", "a: There are two files of this name"),
        (&[("a", b"1"), (".b", b"2")], "403", ".b: Names that begin with a dot"),
        (&[("a", b"1"), (".underpass-upload-1", b"2")], "403", "a dot"),
        (&[("a", b"1"), ("../b", b"2")], "400", "../b: This is not a name of a file"),
        (&[("a", b"1"), ("d/b", b"2")], "400", "which has no slash"),
        (&[("a", b"1"), ("b\0", b"2")], "400", ""),
        (&[("a", b"1"), ("..", b"2")], "400", ".."),
        (&[("a", b"1"), (&long, b"2")], "400", "too long for the file system"),
        (&[("a", b"1"), ("b", &[b'x'; 4_000_001])], "413", "b: The file is larger"),
        (&many, "413", "64 files at most"),
        (&[], "400", "There is no file in the form"),
        (&[("", b"")], "400", "There is no file in the form"),
    ] {
        let answer = post(&place, "/", TYPE, &form(files));
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(answer.contains(said), "{said} in {answer}");
        let is_alone = || (place.names() == "d there").then_some(());
        wait::until(PATIENCE, is_alone).unwrap_or_else(|| panic!("{} is left", place.names()));
    }
    assert_eq!(place.read("there"), b"old");
    let answer = post(&place, "/none/", TYPE, &form(&[("a", b"1")]));
    assert_eq!(status(&answer), "409", "{answer}");
    for content_type in ["", "Content-Type: multipart/form-data\r\n"] {
        assert_eq!(status(&post(&place, "/", content_type, &form(&[("a", b"1")]))), "415");
    }
    let answer = post(&place, "/d", TYPE, &form(&[("a", b"1")]));
    assert_eq!((status(&answer), field(&answer, "allow")), ("405", "GET, HEAD, PUT, OPTIONS"));
    let place = Place::new(true);
    fs::write(place.dir.path().join("there"), "old").unwrap();
    assert_eq!(status(&post(&place, "/", TYPE, &form(&[("there", b"new")]))), "303");
    assert_eq!((place.names(), place.read("there")), ("there".into(), b"new".into()));
}

#[test]
fn only_files_that_a_pattern_is_for_come_in_a_form() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    let place = Place { server: Fixture::of(site(dir.path(), "in/*.txt", false)), dir };
    assert_eq!(status(&post(&place, "/in/", TYPE, &form(&[("a.txt", b"1")]))), "303");
    let answer = post(&place, "/in/", TYPE, &form(&[("b.txt", b"1"), ("b.bin", b"2")]));
    assert_eq!(status(&answer), "403", "{answer}");
    let answer = post(&place, "/", TYPE, &form(&[("a.txt", b"1")]));
    assert_eq!((status(&answer), field(&answer, "allow")), ("405", "GET, HEAD, OPTIONS"));
    let page = |path: &str| {
        let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        String::from_utf8(place.server.exchange(&get)).unwrap().contains("id=\"upload\"")
    };
    assert!(page("/in/") && !page("/"), "the form is where files are taken");
    let get = "OPTIONS /in/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(field(&place.exchange(get.as_bytes()), "allow"), "GET, HEAD, POST, OPTIONS");
    let is_alone = || (names(&place.dir.path().join("in")) == "a.txt").then_some(());
    wait::until(PATIENCE, is_alone).expect("the others are not there");
}

#[test]
fn a_form_of_another_site_is_refused() {
    let place = Place::new(true);
    for (fields, expected) in [
        ("Origin: http://x:8080\r\n", "303"),
        ("Origin: https://X:8080\r\n", "303"),
        ("Origin: http://y\r\nSec-Fetch-Site: same-origin\r\n", "303"),
        ("", "303"),
        ("Origin: http://x\r\n", "403"),
        ("Origin: http://y:8080\r\n", "403"),
        ("Origin: http://x:8080.y\r\n", "403"),
        ("Origin: null\r\n", "403"),
        ("Origin: http://x:8080\r\nOrigin: http://y\r\n", "403"),
        ("Origin: http://x:8080\r\nSec-Fetch-Site: cross-site\r\n", "403"),
        ("Origin: http://x:8080\r\nSec-Fetch-Site: same-site\r\n", "403"),
        ("Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n", "403"),
    ] {
        let answer = post(&place, "/", &format!("{TYPE}{fields}"), &form(&[("a", b"1")]));
        assert_eq!(status(&answer), expected, "{fields}: {answer}");
        assert_eq!(answer.contains("another site"), expected == "403", "{answer}");
        assert_eq!(place.names(), if expected == "403" { "" } else { "a" }, "{fields}");
        if expected == "303" {
            fs::remove_file(place.dir.path().join("a")).unwrap();
        }
    }
    // It is told before it sends anything.
    let head = head("/", "Origin: http://y\r\nExpect: 100-continue\r\n", 99_999_999);
    assert_eq!(status(&place.exchange(format!("{head}\r\n").as_bytes())), "403");
}

#[test]
fn a_form_that_is_cut_short_leaves_nothing() {
    let place = Place::new(true);
    let files = form(&[("one", &[b'1'; 300_000]), ("two", &[b'2'; 300_000]), ("three", b"3")]);
    // In the head of a part, in a file, in the last line.
    for end in [50, 400_000, files.len() - 3] {
        let mut client = place.server.connect();
        let head = head("/", TYPE, files.len());
        client.write_all(&[head.as_bytes(), b"\r\n", &files[..end]].concat()).unwrap();
        if end > 50 {
            let has_part = || place.names().contains(".underpass-upload-").then_some(());
            wait::until(PATIENCE, has_part).expect("it is being written");
        }
        drop(client);
        wait_for_nothing(&place);
        // Whole, but for the end of the form.
        let answer = post(&place, "/", TYPE, &files[..end]);
        assert_eq!(status(&answer), "400", "{answer}");
        wait_for_nothing(&place);
    }
    assert_eq!(status(&post(&place, "/", TYPE, &files)), "303");
    assert_eq!(place.names(), "one three two");
}

#[test]
fn a_disk_that_a_form_fills_is_told_and_nothing_is_left() {
    let disk = require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let (root, server) = serve_small(&disk);
    let files = form(&[("small", b"1"), ("large", &vec![b'x'; 24_000_000])]);
    let mut client = server.connect();
    client.write_all(format!("{}\r\n", head("/", TYPE, files.len())).as_bytes()).unwrap();
    // Once it is refused, the rest is not read to its end.
    let _cut = client.write_all(&files);
    let answer = rest(client);
    assert_eq!(status(&answer), "507");
    assert!(answer.contains("large: There is no room for the file."), "{answer}");
    let is_empty = || names(&root).is_empty().then_some(());
    wait::until(PATIENCE, is_empty).expect("the hidden files go");
}

#[test]
fn curl_sends_a_form_over_http_1_and_2() {
    require!(Program("curl"));
    let place = Place::new(false);
    let dir = tempfile::tempdir().unwrap();
    for name in ["1.bin", "2.bin", "a \"b\".bin"] {
        fs::write(dir.path().join(name), vec![b'x'; 2_000_000]).unwrap();
    }
    let url = format!("http://{}/", place.server.address);
    for (version, name) in
        [("--http1.1", "1.bin"), ("--http2-prior-knowledge", "2.bin"), ("--http1.1", "a \"b\".bin")]
    {
        let file = format!("file=@{}", dir.path().join(name).display());
        let file = if name.contains('"') {
            format!("file=@\"{}\"", file[6..].replace('"', "\\\""))
        } else {
            file
        };
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "60", version, "-F", &file]);
        curl.args(["-w", "%{http_code}", "-o", "/dev/null", &url]);
        let output = curl.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "303", "{name} {output:?}");
        assert_eq!(place.read(name).len(), 2_000_000);
    }
    assert_eq!(place.names(), "1.bin 2.bin a \"b\".bin");
}

/// Two more than there are places.
#[test]
fn no_more_than_128_are_under_way_at_a_time() {
    let place = Place::new(false);
    let begin = |name: &str| {
        let mut client = place.server.connect();
        let head = format!("PUT /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab");
        client.write_all(head.as_bytes()).unwrap();
        client
    };
    let mut clients: Vec<_> = (0..128).map(|number| begin(&number.to_string())).collect();
    let are_begun = || (place.names().split(' ').count() == 128).then_some(());
    wait::until(PATIENCE, are_begun).expect("each has a place");
    let put = b"PUT /other HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1";
    let answer = place.exchange(put);
    assert_eq!((status(&answer), field(&answer, "retry-after")), ("503", "1"), "{answer}");
    let answer = post(&place, "/", TYPE, &form(&[("other", b"1")]));
    assert_eq!(status(&answer), "503", "{answer}");
    // As soon as one has ended there is room for another.
    let mut first = clients.swap_remove(0);
    first.write_all(b"c").unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
    assert_eq!(status(&post(&place, "/", TYPE, &form(&[("other", b"1")]))), "303");
}
