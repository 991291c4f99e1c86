//! Directories of a bucket: an index, a list, or nothing.

use underpass_testkit::origin::{Object, Origin};

use super::*;

/// Names of the rows of a listing's page, which is JSON.
fn names(answer: &[u8]) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_slice(answer).unwrap();
    let rows = page["entries"].as_array().unwrap();
    let slash = |row: &serde_json::Value| if row["type"] == "directory" { "/" } else { "" };
    rows.iter().map(|row| format!("{}{}", row["name"].as_str().unwrap(), slash(row))).collect()
}

#[test]
fn a_directory_has_its_index_or_a_list_of_what_is_beneath_it() {
    let gateway = require!(gateway());
    for key in ["p/site/index.html", "p/files/a b+%", "p/files/10", "p/files/9", "p/files/sub/x"] {
        gateway.put(key, key.as_bytes()).unwrap();
    }
    gateway.put("p/files/.hidden", b"").unwrap();
    gateway.put("p/files/\u{e9}\u{65e5}", &pattern(0..1234)).unwrap();
    gateway.put("other", b"not beneath the prefix").unwrap();
    let node = Node::before(&gateway, "p", &["--header", "/files/** X-Listed: yes"]);
    let index = node.get("/site/?query", &[]);
    assert!(has(&index, &[" 200 ", "p/site/index.html", "fwd=uri-miss"]), "{index}");
    assert!(has(&node.get("/site/", &[]), &[" 200 ", "underpass; hit"]));
    let page = node.get("/files/", &[]);
    let parts = ["Index of /files/", "href=\"a%20b%2B%25\"", "href=\"sub/\"", "x-listed: yes"];
    let fields = ["text/html", "cache-control: no-cache", "fwd=uri-miss; fwd-status=200"];
    assert!(has(&page, &fields), "{page}");
    assert!(has(&page, &parts), "{page}");
    let json = node.bytes("/files/?json", &[]);
    assert_eq!(names(&json), ["sub/", "9", "10", "a b+%", "\u{e9}\u{65e5}"]);
    let page: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!((&page["complete"], &page["files"]), (&true.into(), &4.into()));
    assert_eq!(page["entries"][4]["size"], 1234);
    assert!(page["entries"][1]["modified"].as_str().unwrap().ends_with('Z'), "{page}");
    let sorted = node.bytes("/files/?json&sort=size&order=desc&q=%C3%A9", &[]);
    assert_eq!(names(&sorted), ["\u{e9}\u{65e5}"]);
    // All of these lists are one.
    assert_eq!(asked(&gateway, "ListObjectsV2"), 2);
    assert_eq!(names(&node.bytes("/?json", &[])), ["files/", "site/"]);
    let head = node.get("/files/", &["-I"]);
    assert!(
        has(&head, &[" 200 ", "content-length: ", "underpass; hit"]) && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    for path in ["/none/", "/files/9/", "/files/?page=2", "/fil/", "/files/.hidden/", "/%ff/"] {
        let none = node.get(path, &[]);
        assert!(has(&none, &[" 404 "]) && !has(&none, &["xml"]), "{path}: {none}");
    }
}

#[test]
fn a_directory_without_its_slash_is_somewhere_else() {
    let gateway = require!(gateway());
    for key in ["p/site/index.html", "p/a b/\u{e9}/x", "p/both", "p/clean.html"] {
        gateway.put(key, key.as_bytes()).unwrap();
    }
    put_empty(&gateway, "p/empty/");
    let node = Node::before(&gateway, "p", &["--clean-urls"]);
    for (path, to) in [
        ("/site?a=b", "/site/?a=b"),
        ("/a%20b", "/a%20b/"),
        ("/a%20b/%c3%a9", "/a%20b/%C3%A9/"),
        ("/x/../site", "/site/"),
    ] {
        let moved = node.get(path, &[]);
        assert!(has(&moved, &[" 308 ", &format!("\r\nlocation: {to}\r\n")]), "{path}: {moved}");
    }
    assert!(has(&node.get("/clean", &[]), &[" 200 ", "p/clean.html"]));
    for path in ["/sit", "/both/", "//site", "/none"] {
        let none = node.get(path, &[]);
        assert!(has(&none, &[" 404 "]), "{path}: {none}");
    }
    // As consoles show that it is there.
    let empty = node.get("/empty/?json", &[]);
    assert!(has(&empty, &[" 200 ", "\"entries\":[]"]), "{empty}");
    assert!(has(&node.get("/empty", &[]), &[" 308 "]));
}

#[test]
fn names_that_no_path_leads_to_are_left_out() {
    let bucket = Origin::start().unwrap();
    let list = |max: u32, prefix: &str, keys: &str| {
        let query = format!("delimiter=%2F&encoding-type=url&list-type=2&max-keys={max}");
        let content = format!("<ListBucketResult>{keys}</ListBucketResult>");
        bucket.put(&format!("/data?{query}&prefix={prefix}"), Object::of(content));
    };
    let keys = "<Contents><Key>a</Key><Size>1</Size><LastModified>2026-12-01T01:35:55.000Z\
        </LastModified></Contents><Contents><Key>.</Key></Contents><Contents><Key>..</Key>\
        </Contents><CommonPrefixes><Prefix>/</Prefix></CommonPrefixes>\
        <CommonPrefixes><Prefix>../</Prefix></CommonPrefixes>";
    list(1_000, "", keys);
    list(1, "", keys);
    list(1, "%2Fd%2F", "<Contents><Key>/d/x</Key></Contents>");
    let cache = tempfile::tempdir().unwrap();
    let mut command = with_keys(KEY_ID, SECRET);
    let url = format!("s3://data?endpoint={}", bucket.url(""));
    command.args(["serve", "--hidden", "--origin", &url, "--listen", "0", "--cache"]);
    let server = Running::start(command.arg(cache.path()));
    let node = Node { server, cache };
    assert_eq!(names(&node.bytes("/?json", &[])), ["a"]);
    // The redirection would lead to another one, or to another host.
    let none = node.get("//d", &[]);
    assert!(has(&none, &[" 404 "]), "{none}");
}

#[test]
fn a_long_directory_is_listed_whole() {
    let gateway = require!(gateway());
    for n in 0..2_300 {
        std::fs::create_dir_all(gateway.path("d")).unwrap();
        std::fs::write(gateway.path(&format!("d/{n}")), b"x").unwrap();
    }
    let node = Node::before(&gateway, "", &[]);
    let page: serde_json::Value = serde_json::from_slice(&node.bytes("/d/?json", &[])).unwrap();
    assert_eq!((&page["files"], &page["pages"]), (&2_300.into(), &3.into()));
    let last = names(&node.bytes("/d/?json&page=3", &[]));
    assert_eq!((last[0].as_str(), last.len()), ("2000", 300));
    let mut all: Vec<_> = (1..=3)
        .flat_map(|page| names(&node.bytes(&format!("/d/?json&page={page}"), &[])))
        .collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 2_300);
    wait::until(PATIENCE, || (asked(&gateway, "ListObjectsV2") >= 4).then_some(())).expect("a log");
    assert_eq!(asked(&gateway, "ListObjectsV2"), 4, "three pages, and one at the start");
}

#[test]
fn a_list_is_read_again_when_its_time_is_over_or_it_is_purged() {
    let gateway = require!(gateway());
    gateway.put("d/a", b"a").unwrap();
    let node = Node::before(&gateway, "", &["--negative-ttl", "1h"]);
    let listed = || names(&node.bytes("/d/?json", &[]));
    assert_eq!(listed(), ["a"]);
    gateway.put("d/b", b"b").unwrap();
    gateway.put("d/index.html", b"index").unwrap();
    assert_eq!(listed(), ["a"]);
    assert!(has(&node.get("/d/", &["-X", "PURGE"]), &[" 200 "]));
    assert_eq!(node.bytes("/d/", &[]), b"index");
    gateway.remove("d/index.html").unwrap();
    assert!(has(&node.get("/d/", &["-X", "PURGE"]), &[" 200 "]));
    assert_eq!(listed(), ["a", "b"]);
    let node = Node::before(&gateway, "", &["--negative-ttl", "off"]);
    for name in ["c", "e"] {
        gateway.put(&format!("d/{name}"), b"").unwrap();
        let names = names(&node.bytes("/d/?json", &[]));
        assert_eq!(names.last().map(String::as_str), Some(name));
    }
    let node = Node::before(&gateway, "", &["--listing", "off"]);
    assert!(has(&node.get("/d/", &[]), &[" 404 "]));
    assert!(has(&node.get("/d", &[]), &[" 308 "]));
}
