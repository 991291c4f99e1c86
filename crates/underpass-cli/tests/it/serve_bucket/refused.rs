//! What is wrong with a bucket is said at the start, in one line.

use std::process::{Output, Stdio};

use underpass_testkit::origin::{Fault, Object, Origin};
use underpass_testkit::scripted::Scripted;

use super::*;

fn output(url: &str, (key_id, secret): (&str, &str), flags: &[&str]) -> Output {
    let cache = tempfile::tempdir().unwrap();
    let mut command = with_keys(key_id, secret);
    command.args(["serve", "--origin", url, "--listen", "0", "--cache"]);
    command.arg(cache.path().join("cache")).args(flags).stdin(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let has_ended = wait::until(PATIENCE, || child.try_wait().unwrap()).is_some();
    if !has_ended {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(has_ended, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(flags.is_empty() || !cache.path().join("cache").exists(), "{flags:?}");
    output
}

#[test]
fn a_server_does_not_start_on_a_bucket_that_refuses_it() {
    let gateway = require!(gateway());
    let at = |url: &str| format!("{url}endpoint={}", gateway.endpoint());
    let ours = (KEY_ID, SECRET);
    for (url, keys, line) in [
        (at("s3://nodata?"), ours, "404 NoSuchBucket: there is no bucket 'nodata'"),
        (at("s3://data?"), (KEY_ID, "other"), "403 SignatureDoesNotMatch: the secret is not that"),
        (at("s3://data?"), ("other", SECRET), "the key other is not known there"),
        (at("s3://data?region=eu-west-1&"), ours, "the bucket is in us-east-1, and was asked for"),
        (at("s3://data?profile=none&"), ours, "there is no profile 'none'"),
        (at("s3://?"), ours, "s3://: "),
        (at("s3://data?prefix=x&"), ours, "prefix"),
    ] {
        let output = output(&url, keys, &[]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(line), "{url}: {text}");
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let content = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Length: {}\r\n\r\n{content}",
        content.len()
    );
    let bucket = Scripted::start([vec![answer]]).unwrap();
    let url = format!("s3://data?endpoint=http://{}", bucket.address());
    let output = output(&url, (KEY_ID, SECRET), &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("this machine's clock is "), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
}

#[test]
fn a_bucket_that_may_not_be_listed_is_warned_of_and_its_indexes_are_found() {
    let bucket = Origin::start().unwrap();
    bucket.script(|request| match request.target.contains("list-type") {
        true => vec![Fault::Status(403)],
        false => Vec::new(),
    });
    bucket.put("/data/site/index.html", Object::of(pattern(0..100)));
    let cache = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        let mut command = with_keys(KEY_ID, SECRET);
        let url = format!("s3://data?endpoint={}", bucket.url(""));
        command.args(["serve", "--origin", &url, "--listen", "0", "--cache"]);
        command.arg(cache.path()).args(flags);
        Running::quiet(&mut command)
    };
    let mut server = serve(&[]);
    let warning = server.next_line();
    assert!(warning.contains("s3://data/: these credentials may not list it"), "{warning}");
    server.line = server.next_line();
    let node = Node { server, cache: tempfile::tempdir().unwrap() };
    assert!(node.bytes("/site/", &[]) == pattern(0..100));
    assert!(has(&node.get("/site", &[]), &[" 308 ", "location: /site/"]));
    for path in ["/", "/other", "/other/"] {
        assert!(has(&node.get(path, &[]), &[" 404 ", "404 not found"]), "{path}");
    }
    drop(node);
    let ready = serve(&["--listing", "off"]).next_line();
    assert!(ready.contains("serving what s3://data has at http://"), "{ready}");
}

#[test]
fn keys_of_a_profile_are_read_again_at_a_reload_by_a_server_that_is_confined() {
    let gateway = require!(gateway());
    let (home, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    let write = |secret: &str| {
        let text = format!("[p]\naws_access_key_id={KEY_ID}\naws_secret_access_key={secret}\n");
        std::fs::write(home.path().join("new"), text).unwrap();
        std::fs::rename(home.path().join("new"), home.path().join(".aws/credentials")).unwrap();
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let settings = elsewhere.path().join("settings");
    let url = format!("s3://data?profile=p&endpoint={}", gateway.endpoint());
    let text = format!("origin = \"{url}\"\ncache = \"{}\"\n", cache.path().display());
    std::fs::write(&settings, text).unwrap();
    write(SECRET);
    let mut command = program();
    command.env("HOME", home.path()).args(["serve", "--listen", "0", "--config"]).arg(&settings);
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"] {
        command.env_remove(name);
    }
    let mut server = Running::start(&mut command);
    write("other");
    server.signal(Signal::HUP);
    let line = server.next_line();
    assert!(line.contains("the settings stay what they were: --origin: s3://data/"), "{line}");
    assert!(line.contains("403 SignatureDoesNotMatch"), "{line}");
    write(SECRET);
    gateway.put("x", b"content").unwrap();
    server.signal(Signal::HUP);
    let node = Node { server, cache };
    assert_eq!(node.bytes("/x", &[]), b"content");
}

#[test]
fn a_check_of_the_settings_looks_at_the_url_and_asks_nothing() {
    let ours = (KEY_ID, SECRET);
    let away = "endpoint=http://127.0.0.1:1";
    for (url, line) in [
        (format!("s3://data/p?{away}"), None),
        ("http://127.0.0.1:1/".to_owned(), None),
        (format!("s3://data?profile=none&{away}"), Some("there is no profile 'none'")),
        ("s3://data?endpoint=nowhere".to_owned(), Some("endpoint")),
        ("ftp://x".to_owned(), Some("an origin is http://")),
        ("http://x/?y".to_owned(), Some("it has a query or a fragment")),
    ] {
        let output = output(&url, ours, &["--check-config"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), line.is_none(), "{url}: {text}");
        assert!(line.is_none_or(|line| text.contains(line)), "{url}: {text}");
    }
}
