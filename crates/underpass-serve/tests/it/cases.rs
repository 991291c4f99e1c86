//! What goes wrong in file servers, in every way to reach this one.

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use underpass_serve::SiteOptions;
use underpass_testkit::wait;

use crate::fixture::{LARGE_BYTES, fixture};
use crate::ways::{Served, WAYS, ask};

fn serve(way: crate::ways::Way, root: &Path) -> Served {
    Served::new(way, SiteOptions::new(root.to_owned()))
}

#[test]
fn offsets_past_31_and_32_bits_and_at_the_end_are_the_right_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create_new(dir.path().join("sparse")).unwrap();
    const LEN: u64 = 5 << 30;
    file.set_len(LEN).unwrap();
    for at in [1 << 31, 1 << 32, LEN - 4] {
        file.write_all_at(b"here", at).unwrap();
    }
    for way in WAYS {
        let server = serve(way, dir.path());
        let mut peer = server.connect();
        for (range, status, content) in [
            ("2147483646-2147483653", 206, &b"\0\0here\0\0"[..]),
            ("4294967294-4294967301", 206, b"\0\0here\0\0"),
            ("-4", 206, b"here"),
            ("5368709116-9223372036854775807", 206, b"here"),
            ("5368709116-99999999999999999999999", 206, b"here"),
        ] {
            let fields = format!("Range: bytes={range}\r\n");
            let answer = ask(&mut *peer, "/sparse", &fields).unwrap();
            assert_eq!((answer.status, &*answer.content), (status, content), "{way:?} {range}");
        }
        for range in ["5368709120-", "9223372036854775807-"] {
            let fields = format!("Range: bytes={range}\r\n");
            let answer = ask(&mut *peer, "/sparse", &fields).unwrap();
            assert_eq!(answer.status, 416, "{way:?} {range}");
            assert_eq!(answer.field("content-range"), "bytes */5368709120");
        }
    }
}

#[test]
fn a_client_that_leaves_midway_costs_the_others_nothing() {
    for way in WAYS {
        let server = serve(way, &fixture().served);
        for _ in 0..20 {
            let mut peer = server.connect();
            write!(peer, "GET /large.bin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            peer.read_exact(&mut [0; 100]).unwrap();
            // Unread bytes make a reset of its end.
            drop(peer);
        }
        let answer = ask(&mut *server.connect(), "/digits.txt", "").unwrap();
        assert_eq!(answer.content, b"0123456789", "{way:?}");
        let is_over = || (server.fixture().metric("open") == 0).then_some(());
        wait::until(Duration::from_secs(10), is_over).expect("they are gone");
    }
}

/// Sets a flag when it is dropped.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The content of a version: all its bytes are its number, and others have the same length.
fn version(number: u8) -> Vec<u8> {
    vec![number; 90_000 + 7 * usize::from(number % 2)]
}

#[test]
fn a_complete_answer_is_of_one_version_with_its_own_tag_and_length() {
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, version(0)).unwrap();
        let (server, is_over) = (serve(way, dir.path()), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in (1..=250).cycle() {
                    let next = dir.path().join("next");
                    fs::write(&next, version(number)).unwrap();
                    // All have the same date.
                    let file = fs::File::options().append(true).open(&next).unwrap();
                    file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
                    fs::rename(&next, &path).unwrap();
                    std::thread::park_timeout(Duration::from_millis(1));
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            // Also where an assertion fails: the writer ends with this thread.
            let _over = SetAtEnd(&is_over);
            let mut of_tag: HashMap<String, Vec<u8>> = HashMap::new();
            let mut peer = server.connect();
            for _ in 0..60 {
                let answer = ask(&mut *peer, "/a", "").unwrap();
                let first = answer.content[0];
                assert!(answer.content == version(first), "{way:?}: a mixture");
                let tag = answer.field("etag").to_owned();
                let known = of_tag.entry(tag.clone()).or_insert_with(|| answer.content.clone());
                assert!(*known == answer.content, "{way:?}: {tag} is of two versions");
                let fields = format!("Range: bytes=7-8\r\nIf-Range: {tag}\r\n");
                let part = ask(&mut *peer, "/a", &fields).unwrap();
                if part.status == 206 {
                    assert_eq!(part.content, vec![known[0]; 2], "{way:?}: part of another");
                }
            }
        });
    }
}

#[test]
fn a_file_that_is_overwritten_anywhere_while_it_is_sent_is_never_whole() {
    // Offsets of a linear congruential generator with a fixed seed.
    let mut seed = 20_261_130_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for way in WAYS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, vec![b'a'; LARGE_BYTES]).unwrap();
        let server = serve(way, dir.path());
        for _ in 0..6 {
            let mut peer = server.connect();
            write!(peer, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            peer.read_exact(&mut [0; 1000]).unwrap();
            wait::until_file_times_move();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.write_all_at(b"b", random() % LARGE_BYTES as u64).unwrap();
            let mut rest = Vec::new();
            let error = peer.read_to_end(&mut rest).err().map(|error| error.kind());
            let cut = [None, Some(ErrorKind::ConnectionReset), Some(ErrorKind::UnexpectedEof)];
            assert!(cut.contains(&error), "{way:?}: {error:?}");
            assert!(rest.len() < LARGE_BYTES - 1000, "{way:?}: {} bytes", rest.len());
        }
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused_at_once() {
    for way in WAYS {
        let server = serve(way, &fixture().served);
        let mut peer = server.connect();
        for path in ["/fifo", "/out", "/digits.txt/", "/none"] {
            assert_eq!(ask(&mut *peer, path, "").unwrap().status, 404, "{way:?} {path}");
        }
        assert_eq!(ask(&mut *peer, "/empty.txt", "Range: bytes=0-\r\n").unwrap().status, 200);
    }
}

#[test]
fn a_thousand_ranges_are_the_whole_file_and_a_few_are_parts() {
    for way in WAYS {
        let server = serve(way, &fixture().served);
        let mut peer = server.connect();
        let ranges = |count: usize| (0..count).map(|at| format!("{at}-")).collect::<Vec<_>>();
        let fields = |ranges: &[String]| format!("Range: bytes={}\r\n", ranges.join(","));
        let answer = ask(&mut *peer, "/large.bin", &fields(&ranges(1000))).unwrap();
        assert_eq!((answer.status, answer.content.len()), (200, LARGE_BYTES), "{way:?}");
        // Those that overlap are one.
        let answer = ask(&mut *peer, "/large.bin", &fields(&ranges(3)[1..])).unwrap();
        assert_eq!((answer.status, answer.content.len()), (206, LARGE_BYTES - 1), "{way:?}");
        let apart = ["0-0".to_owned(), "8000000-8000001".to_owned()];
        let answer = ask(&mut *peer, "/large.bin", &fields(&apart)).unwrap();
        assert_eq!(answer.status, 206, "{way:?}");
        let parts = String::from_utf8_lossy(&answer.content).into_owned();
        assert_eq!(parts.matches("Content-Range: bytes ").count(), 2, "{way:?}: {parts}");
    }
}
