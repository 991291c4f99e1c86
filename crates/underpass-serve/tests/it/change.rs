//! Files that change while they are served: no complete response is a mixture.

use std::fs;
use std::io::{ErrorKind, Read, Write};

use crate::fixture::{LARGE_BYTES, field, fixture};

/// What a request for `path` on its own connection brings: the whole answer, or what came of it
/// before the connection was closed.
fn get(path: &str) -> Vec<u8> {
    let mut peer = fixture().connect();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    peer.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match peer.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    answer
}

#[test]
fn a_file_changed_in_place_costs_one_response_at_most_and_is_then_served_anew() {
    let path = fixture().served.join("in-place.txt");
    fs::write(&path, "old content").unwrap();
    // Kept from now on: its last change is a second old.
    let kept = || fixture().etag("/in-place.txt").starts_with('"').then_some(());
    underpass_testkit::wait::until(std::time::Duration::from_secs(10), kept).unwrap();
    for round in 0..20 {
        let content = format!("new content, and longer: {round}");
        fs::write(&path, &content).unwrap();
        let answers: Vec<_> = (0..2).map(|_| get("/in-place.txt")).collect();
        let last = String::from_utf8(answers[1].clone()).unwrap();
        assert!(last.ends_with(&content), "{last:?}");
        assert_eq!(field(&last, "content-length"), content.len().to_string());
        let first = String::from_utf8(answers[0].clone()).unwrap();
        assert!(first.is_empty() || first.ends_with(&content), "neither cut nor new: {first:?}");
    }
}

#[test]
fn a_download_whose_file_is_overwritten_midway_does_not_complete() {
    let path = fixture().served.join("torn.bin");
    fs::write(&path, vec![b'a'; 4 * LARGE_BYTES]).unwrap();
    let mut peer = fixture().connect();
    write!(peer, "GET /torn.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 1_000];
    peer.read_exact(&mut first).unwrap();
    underpass_testkit::wait::until_file_times_move();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(&vec![b'b'; 4 * LARGE_BYTES]).unwrap();
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(rest.len() < 4 * LARGE_BYTES - 1_000, "{} bytes came", rest.len());
}

#[test]
fn a_download_whose_file_is_truncated_midway_ends_and_nothing_follows_it() {
    let path = fixture().served.join("cut.bin");
    fs::write(&path, vec![b'a'; 4 * LARGE_BYTES]).unwrap();
    let mut peer = fixture().connect();
    let request =
        "GET /cut.bin HTTP/1.1\r\nHost: x\r\n\r\nGET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    peer.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 1_000];
    peer.read_exact(&mut first).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_len(5_000).unwrap();
    let mut rest = Vec::new();
    match peer.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    assert!(rest.len() < 4 * LARGE_BYTES - 1_000, "{} bytes came", rest.len());
    let next = rest.windows(8).any(|window| window == b"HTTP/1.1");
    assert!(!next, "the second response is inside the first");
}

#[test]
fn a_file_replaced_by_rename_is_sent_whole_by_those_who_began_it() {
    let path = fixture().served.join("replaced.bin");
    let (old, new) = (vec![b'o'; LARGE_BYTES], vec![b'n'; LARGE_BYTES]);
    fs::write(&path, &old).unwrap();
    let mut peer = fixture().connect();
    write!(peer, "GET /replaced.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = vec![0; 1_000];
    peer.read_exact(&mut answer).unwrap();
    let beside = path.with_extension("new");
    fs::write(&beside, &new).unwrap();
    fs::rename(&beside, &path).unwrap();
    peer.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(&old), "the old file, whole");
    let has_new = || get("/replaced.bin").ends_with(&new).then_some(());
    underpass_testkit::wait::until(std::time::Duration::from_secs(5), has_new).unwrap();
}
