//! `underpass serve --origin s3://…` before a bucket, with curl as client.

mod directories;
mod refused;

use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::bucket::{BUCKET, Gateway, KEY_ID, SECRET, Versitygw};
use underpass_testkit::payload::pattern;
use underpass_testkit::skip::Missing;
use underpass_testkit::{require, wait};

use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

fn gateway() -> Result<Gateway, Missing> {
    Versitygw::ready().map(|program| program.start().unwrap())
}

/// The program with the keys of a user and no file of one.
fn with_keys(key_id: &str, secret: &str) -> Command {
    let mut command = program();
    command.env("AWS_ACCESS_KEY_ID", key_id).env("AWS_SECRET_ACCESS_KEY", secret);
    command.env("HOME", "/nonexistent");
    command
}

/// A server of what is beneath a prefix.
struct Node {
    server: Running,
    cache: tempfile::TempDir,
}

impl Node {
    fn before(gateway: &Gateway, prefix: &str, flags: &[&str]) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let server = Running::start(&mut serve(gateway, prefix, cache.path(), flags));
        Self { server, cache }
    }

    /// Head and content, as curl shows them.
    fn get(&self, path: &str, flags: &[&str]) -> String {
        String::from_utf8_lossy(&self.bytes(path, &[&["-i"], flags].concat())).into_owned()
    }

    fn bytes(&self, path: &str, flags: &[&str]) -> Vec<u8> {
        let mut command = Command::new("curl");
        command.args(["-s", "--max-time", "20", "--path-as-is"]).args(flags);
        let url = format!("http://{}{path}", self.server.address());
        command.arg(url).output().unwrap().stdout
    }
}

fn serve(gateway: &Gateway, prefix: &str, cache: &std::path::Path, flags: &[&str]) -> Command {
    let mut command = with_keys(KEY_ID, SECRET);
    let url = format!("s3://{BUCKET}/{prefix}?endpoint={}", gateway.endpoint());
    command.args(["serve", "--origin", &url, "--listen", "0", "--cache"]).arg(cache).args(flags);
    if !flags.contains(&"--default-ttl") {
        // What was put a moment ago would be asked about again.
        command.args(["--default-ttl", "1h"]);
    }
    command
}

/// Puts an object that no file can be, as a directory that is empty.
fn put_empty(gateway: &Gateway, key: &str) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "--fail", "--user", &format!("{KEY_ID}:{SECRET}")]);
    curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-X", "PUT", "-H", "content-length: 0"]);
    curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    let url = format!("{}/{BUCKET}/{key}", gateway.endpoint());
    assert!(curl.arg(url).status().unwrap().success());
}

/// How many requests of an operation the bucket has answered.
fn asked(gateway: &Gateway, operation: &str) -> usize {
    let requests = gateway.requests().unwrap();
    requests.iter().filter(|request| request.operation == operation).count()
}

fn has(answer: &str, parts: &[&str]) -> bool {
    let lower = answer.to_lowercase();
    parts.iter().all(|part| lower.contains(&part.to_lowercase()))
}

#[test]
fn objects_are_asked_for_once_whatever_their_keys_have() {
    let gateway = require!(gateway());
    let bytes = pattern(0..300_000);
    let odd = "p/\u{e9}/\u{65e5}\u{672c} &=?#;~*'()!";
    for key in ["p/plain", "p/a b+c%20", odd, "p/deep/er/x", "p/%41"] {
        gateway.put(key, &bytes).unwrap();
    }
    gateway.put("plain", b"not beneath the prefix").unwrap();
    let node = Node::before(&gateway, "p", &[]);
    for path in ["/plain", "/a%20b+c%2520", "/deep/er/x", "/%2541", "/d/../plain"] {
        assert!(node.bytes(path, &[]) == bytes, "{path}");
        assert!(node.bytes(path, &["-r", "-100"]) == bytes[299_900..], "{path}");
    }
    let path = "/%C3%A9/%E6%97%A5%E6%9C%AC%20&=%3F%23;~*'()!";
    let miss = node.get(path, &["-o", "/dev/null", "-D", "-"]);
    let hit = node.get(path, &["-I", "-H", "Authorization: Basic eDp5"]);
    assert!(has(&miss, &[" 200 ", "fwd=uri-miss; fwd-status=200; stored"]), "{miss}");
    assert!(has(&hit, &[" 200 ", "content-length: 300000", "underpass; hit"]), "{hit}");
    // Names of a request of ours, which are of no use to others.
    assert!(has(&hit, &["x-amz-storage-class"]) && !has(&hit, &["x-amz-request-id"]), "{hit}");
    let count = || (asked(&gateway, "GetObject") >= 6).then_some(());
    wait::until(PATIENCE, count).expect("its log is written");
    // One of them asked at the start whether it may.
    let gets = gateway.requests().unwrap();
    let gets: Vec<_> = gets.iter().filter(|it| it.operation == "GetObject").collect();
    assert_eq!(gets.len(), 6, "{gets:?}");
    for path in ["/none", "/a", "/%ff", "/..%2f..%2fx", "/plain/x"] {
        let none = node.get(path, &[]);
        assert!(has(&none, &[" 404 ", "404 not found"]) && !has(&none, &["xml"]), "{none}");
    }
    let tag = hit.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag");
    let same = node.get(path, &["-H", &format!("If-None-Match: {tag}")]);
    assert!(has(&same, &[" 304 "]), "{same}");
    assert!(has(&node.get("/plain", &["-r", "300000-"]), &[" 416 ", "*/300000"]));
}

#[test]
fn a_cold_range_costs_the_bucket_no_more() {
    let gateway = require!(gateway());
    let bytes = pattern(0..8 << 20);
    gateway.put("big", &bytes).unwrap();
    let node = Node::before(&gateway, "", &[]);
    assert!(node.bytes("/big", &["-r", "4000000-4000099"]) == bytes[4_000_000..4_000_100]);
    assert!(node.bytes("/big", &["-r", "-100"]) == bytes[(8 << 20) - 100..]);
    let sent: u64 = {
        let blocks = |meta: std::fs::Metadata| std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
        let all = walk(node.cache.path());
        all.into_iter().map(|path| blocks(path.metadata().unwrap())).sum()
    };
    assert!(sent < 1 << 20, "{sent} bytes are kept");
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| walk(directory)));
    files
}

#[test]
fn many_who_ask_for_a_cold_object_are_one_request() {
    let gateway = require!(gateway());
    let bytes = pattern(0..4 << 20);
    gateway.put("big", &bytes).unwrap();
    let node = Node::before(&gateway, "", &[]);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..32)
            .map(|n| {
                let (node, bytes) = (&node, &bytes);
                scope.spawn(move || match n % 2 {
                    0 => node.bytes("/big", &[]) == *bytes,
                    _ => node.bytes("/none", &["-o", "/dev/null", "-w", "%{http_code}"]) == b"404",
                })
            })
            .collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap()));
    });
    wait::until(PATIENCE, || (asked(&gateway, "GetObject") >= 3).then_some(())).expect("a log");
    // The third is that of the start; that of `none` and whether it is a directory are one each.
    assert_eq!((asked(&gateway, "GetObject"), asked(&gateway, "ListObjectsV2")), (3, 2));
}

#[test]
fn an_object_that_is_replaced_is_never_mixed() {
    let gateway = require!(gateway());
    let (old, new) = (pattern(0..8 << 20), pattern(1..1 + (8 << 20)));
    gateway.put("x", &old).unwrap();
    let node = Node::before(&gateway, "", &["--default-ttl", "1ms"]);
    // Its end is here, its beginning is of the next.
    assert!(node.bytes("/x", &["-r", "-1000"]) == old[(8 << 20) - 1_000..]);
    gateway.put("x", &new).unwrap();
    thread::scope(|scope| {
        for n in 0..12_u32 {
            let (node, old, new, gateway) = (&node, &old, &new, &gateway);
            scope.spawn(move || {
                let got = node.bytes("/x", &[]);
                let is_of = |all: &[u8]| all.starts_with(&got);
                assert!(is_of(old) || is_of(new), "{} bytes of two objects", got.len());
                if n % 3 == 0 {
                    gateway.put("x", if n % 2 == 0 { old } else { new }).unwrap();
                }
            });
        }
    });
    gateway.put("x", &new).unwrap();
    let last = || (node.bytes("/x", &[]) == new).then_some(());
    wait::until(PATIENCE, last).expect("the last one comes");
    gateway.remove("x").unwrap();
    let gone = || has(&node.get("/x", &[]), &[" 404 "]).then_some(());
    wait::until(PATIENCE, gone).expect("it is gone");
}

#[test]
fn what_is_larger_than_may_be_kept_is_relayed_without_what_is_the_clients() {
    let gateway = require!(gateway());
    let bytes = pattern(0..600_000);
    gateway.put("big", &bytes).unwrap();
    let node = Node::before(&gateway, "", &["--cache-size", "1MiB"]);
    let flags = ["-H", "Authorization: Basic eDp5", "-H", "x-amz-meta-a: b", "-H", "Cookie: c=d"];
    for _ in 0..2 {
        let head = node.get("/big", &[&["-o", "/dev/null", "-D", "-"][..], &flags].concat());
        assert!(has(&head, &[" 200 ", "detail=", "content-length: 600000"]), "{head}");
        assert!(node.bytes("/big", &flags) == bytes);
        assert!(node.bytes("/big", &[&flags[..], &["-r", "5-9"]].concat()) == bytes[5..10]);
    }
    gateway.remove("big").unwrap();
    let gone = node.get("/big", &flags);
    assert!(has(&gone, &[" 404 ", "404 not found"]) && !has(&gone, &["xml"]), "{gone}");
}

#[test]
fn a_bucket_that_is_away_is_warned_of_and_what_is_here_is_served() {
    let gateway = require!(gateway());
    gateway.put("x", b"content").unwrap();
    let node = Node::before(&gateway, "", &["--stale-if-error", "1h"]);
    assert_eq!(node.bytes("/x", &[]), b"content");
    let is_written = |path: &std::path::PathBuf| path.extension().is_some_and(|it| it == "meta");
    let kept = || walk(node.cache.path()).iter().any(is_written).then_some(());
    wait::until(PATIENCE, kept).expect("a restart finds it");
    let Node { server, cache } = node;
    server.signal(Signal::TERM);
    drop(server.end());
    let mut again = serve(&gateway, "", cache.path(), &["--stale-if-error", "1h"]);
    gateway.kill().unwrap();
    let mut server = Running::quiet(&mut again);
    let warning = server.next_line();
    assert!(warning.contains("s3://data/: it could not be looked at: "), "{warning}");
    server.line = server.next_line();
    let node = Node { server, cache };
    assert_eq!(node.bytes("/x", &[]), b"content");
    for path in ["/y", "/", "/d/"] {
        let late = node.get(path, &[]);
        assert!(has(&late, &[" 504 "]), "{path}: {late}");
    }
}
