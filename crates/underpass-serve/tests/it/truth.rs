//! What metrics and log say of how bytes left.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::payload::difference;
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::{require, test_name, wait};

use crate::fixture::{Fixture, LARGE_BYTES, field};
use crate::http2;

const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes by method, once a server has sent this many in all.
pub(crate) fn by_method(server: &Fixture, sent: usize) -> [u64; 4] {
    let is_counted = || (server.metric("sent_bytes_total") == sent as u64).then_some(());
    wait::until(PATIENCE, is_counted).unwrap_or_else(|| panic!("{sent} bytes are counted"));
    ["copy", "sendfile", "ktls", "rustls"]
        .map(|method| server.metric(&format!("sent_by_method_bytes_total{{method=\"{method}\"}}")))
}

/// One answer of a connection that stays open: how many bytes it has.
fn get(peer: &mut (impl Read + Write), path: &str) -> usize {
    peer.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).unwrap();
    let mut content = vec![0; field(&text, "content-length").parse().unwrap()];
    peer.read_exact(&mut content).unwrap();
    text.len() + content.len()
}

#[test]
fn the_methods_add_up_to_what_clients_got() {
    let server = Fixture::alone();
    let mut got = 0;
    // The second of each is answered directly, from what was kept; the others by hyper.
    let mut peer = server.connect();
    for path in ["/digits.txt", "/large.bin", "/digits.txt", "/large.bin", "/none", "/plain/"] {
        got += get(&mut peer, path);
    }
    let close = "Host: x\r\nConnection: close\r\n\r\n";
    for request in [
        format!("HEAD /large.bin HTTP/1.1\r\n{close}"),
        format!("GET /large.bin HTTP/1.1\r\nRange: bytes=0-99999,200000-299999\r\n{close}"),
        format!("GET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /large.bin HTTP/1.1\r\n{close}"),
        "GET / HTTP/9.9\r\n\r\n".into(),
    ] {
        got += server.exchange(&request).len();
    }
    let referenced = 3 * LARGE_BYTES + 200_000;
    let methods = by_method(&server, got);
    assert_eq!(methods, [(got - referenced) as u64, referenced as u64, 0, 0]);
}

/// The framing is in both, and content is copied.
#[test]
fn the_methods_add_up_over_http_2_too() {
    let server = Fixture::alone();
    http2::run(async {
        let client = http2::connect(&server).await;
        for _ in 0..2 {
            assert_eq!(http2::whole(&client, "/large.bin").await.unwrap().len(), LARGE_BYTES);
        }
    });
    let copied = "sent_by_method_bytes_total{method=\"copy\"}";
    let is_counted = || {
        let [sent, copied] = ["sent_bytes_total", copied].map(|series| server.metric(series));
        (sent > 2 * LARGE_BYTES as u64 && copied == sent).then_some(())
    };
    wait::until(PATIENCE, is_counted).expect("they add up");
}

#[test]
fn a_refused_sendfile_is_counted_with_its_errno() {
    if strace::is_inside() {
        let server = Fixture::alone();
        let got = get(&mut server.connect(), "/large.bin");
        assert_eq!(by_method(&server, got), [got as u64, 0, 0, 0]);
        assert!(server.metric("fallbacks_total{errno=\"EPERM\"}") > 0);
        assert_eq!(server.metric("fallbacks_total{errno=\"EINVAL\"}"), 0);
        return;
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).unwrap().inject("sendfile:error=EPERM").run();
    trace.unwrap().assert_success();
}

/// The only line of a log.
fn line(log: &Path) -> String {
    let one = wait::until(PATIENCE, || {
        let text = std::fs::read_to_string(log).unwrap();
        text.ends_with('\n').then_some(text)
    });
    let line = one.expect("there is a line");
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// The number of a key of an object.
fn number(line: &str, key: &str) -> f64 {
    let after =
        line.split_once(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{key}: {line}")).1;
    after.split([',', '}']).next().unwrap().parse().unwrap()
}

#[test]
fn what_waits_for_the_disk_is_told_with_its_time() {
    const LEN: u64 = 1 << 20;
    require!(Capability::Root);
    let mut disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let file = disk.cold_file(LEN).unwrap();
    require!(disk.throttle_reads(2 << 20));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::in_json(disk.path().to_owned(), &log);
    let mut peer = server.connect();
    peer.write_all(b"GET /cold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    drop(file);
    let content = &answer[answer.len() - usize::try_from(LEN).unwrap()..];
    assert_eq!(difference(content, 0, LEN), None);
    let line = line(&log);
    let waits = server.metric("cold_waits_total");
    assert!(waits >= 1, "{line}");
    assert!((number(&line, "cold_waits") - waits as f64).abs() < 0.5, "{waits}: {line}");
    // A quarter of a second in all, if it were read at once.
    assert!(number(&line, "cold_ms") > 100.0, "{line}");
    assert!(number(&line, "ms") >= number(&line, "cold_ms"), "{line}");
}

#[test]
fn what_waits_for_the_disk_is_told_over_http_2_too() {
    const LEN: u64 = 1 << 20;
    require!(Capability::Root);
    let mut disk = require!(Disk::new(FileSystem::Ext4, 64 << 20));
    disk.cold_file(LEN).unwrap();
    require!(disk.throttle_reads(2 << 20));
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::in_json(disk.path().to_owned(), &log);
    http2::run(async {
        let client = http2::connect(&server).await;
        let content = http2::whole(&client, "/cold").await.unwrap();
        assert_eq!(difference(&content, 0, LEN), None);
    });
    let line = line(&log);
    let waits = server.metric("cold_waits_total");
    assert!(waits >= 1, "{line}");
    assert!((number(&line, "cold_waits") - waits as f64).abs() < 0.5, "{waits}: {line}");
    assert!(number(&line, "cold_ms") > 100.0, "{line}");
    assert!(number(&line, "ms") >= number(&line, "cold_ms"), "{line}");
}

#[test]
fn a_response_that_the_file_cuts_short_is_counted_and_told_as_such() {
    const LEN: u64 = 64 << 20;
    let (dir, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = File::create(dir.path().join("big")).unwrap();
    file.set_len(LEN).unwrap();
    let log: PathBuf = logs.path().join("log");
    let server = Fixture::in_json(dir.path().to_owned(), &log);
    let mut peer = server.connect();
    peer.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    peer.read_exact(&mut [0; 100]).unwrap();
    file.set_len(5_000).unwrap();
    std::io::copy(&mut peer, &mut std::io::sink()).unwrap_or_default();
    let line = line(&log);
    assert!(line.contains("\"cut\":\"file\""), "{line}");
    assert!(number(&line, "bytes") < LEN as f64, "{line}");
    let left: f64 = ["copy", "sendfile"].map(|method| number(&line, method)).iter().sum();
    assert!(left > number(&line, "bytes"), "the head is in it: {line}");
    assert_eq!(server.metric("cut_total{cause=\"file\"}"), 1);
    assert_eq!(server.metric("cut_total{cause=\"client\"}"), 0);
}
