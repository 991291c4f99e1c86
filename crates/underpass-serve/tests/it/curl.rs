//! What people do with curl.

use std::path::Path;
use std::process::Command;

use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use crate::fixture::{fixture, large};

/// Runs curl, which must succeed, and gives what it printed.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "--noproxy", "*"]).args(arguments).output();
    let output = output.unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn url(path: &str) -> String {
    format!("http://{}{path}", fixture().address)
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_download_that_broke_off_is_resumed() {
    require!(Capability::Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large.bin");
    std::fs::write(&file, &large()[..1_234_567]).unwrap();
    curl(&["-C", "-", "-o", utf8(&file), &url("/large.bin")]);
    assert!(std::fs::read(&file).unwrap() == large());
}

#[test]
fn a_copy_that_is_up_to_date_is_not_fetched_again() {
    require!(Capability::Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    let (etag, file) = (dir.path().join("etag"), dir.path().join("file"));
    let fetch = || {
        let status = ["-w", "%{http_code} %{size_download}", "-o", utf8(&file)];
        let tags = ["--etag-save", utf8(&etag), "--etag-compare", utf8(&etag)];
        curl(&[&status[..], &tags[..], &[&url("/digits.txt")]].concat())
    };
    assert_eq!([fetch(), fetch()], ["200 10", "304 0"]);
    let by_date = ["-z", "Sun, 06 Nov 1994 08:49:37 GMT", "-w", "%{http_code}"];
    assert_eq!(curl(&[&by_date[..], &[&url("/digits.txt")]].concat()), "304");
}

#[test]
fn a_head_shows_the_fields_and_a_range_the_part() {
    require!(Capability::Program("curl"));
    let head = curl(&["-I", &url("/digits.txt")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-length: 10\r\n"));
    assert_eq!(curl(&["-r", "3-5", &url("/digits.txt")]), "345");
    assert_eq!(curl(&["-r", "-2", &url("/digits.txt")]), "89");
}

#[test]
fn one_connection_carries_many_files_and_errors() {
    require!(Capability::Program("curl"));
    let (digits, none) = (url("/digits.txt"), url("/none"));
    let printed = curl(&["-w", " %{http_code} %{num_connects}\n", &digits, &none, &digits]);
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines[0], "0123456789 200 1");
    assert_eq!(lines.last(), Some(&"0123456789 200 0"));
    assert!(printed.contains(" 404 0\n"), "{printed}");
}

#[test]
fn a_directory_is_followed_to_its_index() {
    require!(Capability::Program("curl"));
    assert_eq!(curl(&["-L", &url("/site")]), "<p>index</p>\n");
}

#[test]
fn dot_segments_sent_as_they_are_stay_inside() {
    require!(Capability::Program("curl"));
    let arguments = ["--path-as-is", "-o", "/dev/null", "-w", "%{http_code}"];
    for path in ["/../secret", "/../../../../../../etc/passwd", "/%2e%2e/secret"] {
        assert_eq!(curl(&[&arguments[..], &[&url(path)]].concat()), "404", "{path}");
    }
}

#[test]
fn several_ranges_come_in_parts() {
    require!(Capability::Program("curl"));
    let arguments =
        ["-r", "0-1,5000-5001", "-w", "%{http_code} %{content_type}", "-o", "/dev/null"];
    let printed = curl(&[&arguments[..], &[&url("/large.bin")]].concat());
    assert!(printed.starts_with("206 multipart/byteranges; boundary="), "{printed}");
    assert_eq!(curl(&["-r", "0-1,5-6", &url("/digits.txt")]), "0123456");
}
