//! Ranges of one version only are put together, and servers that cannot tell have one connection.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use underpass_testkit::disk::disk_dir;
use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability;

use super::http::nginx;
use super::resumed::kill_when_it_has;
use super::{assert_payload, command, failure, names, patterned, utf8};

const LEN: u64 = 20_000_003;

/// What the notes say when there is no strong validator.
const ONE_CONNECTION: &str = "has no strong validator, so ranges might";
const TAKEN: &str = "are still the same";

fn set_age(path: &Path, age: Duration) {
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn a_date_that_is_long_past_is_a_version_and_a_fresh_one_is_none() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let server = nginx(dir.path(), false);
    let from = patterned(&dir.path().join("root"), "file", LEN);
    let url = format!("http://{}/dated/file", server.address());
    let inside = dir.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let (to, part) = (inside.join("to"), inside.join("to.part"));
    let arguments = ["--resume", "--parallel", "4", &url, utf8(&to)];
    // Fresh: over one connection, and what another copy left is taken on trust but for its end.
    let (code, lines) = failure(&arguments);
    assert!(code == Some(0) && lines.contains(ONE_CONNECTION), "{lines}");
    assert_payload(&to, 0, LEN);
    std::fs::rename(&to, &part).unwrap();
    File::options().write(true).open(&part).unwrap().set_len(LEN / 2).unwrap();
    let (code, lines) = failure(&arguments);
    assert!(code == Some(0) && lines.contains(TAKEN), "{lines}");
    assert!(lines.contains(ONE_CONNECTION), "{lines}");
    assert_payload(&to, 0, LEN);
    // Old: over several, and resumed for as long as it is the same.
    set_age(&from, Duration::from_secs(3600));
    for is_changed in [false, true] {
        std::fs::remove_file(&to).unwrap();
        let slow = ["-q", "--limit-rate", "3M"];
        let mut child = command(&[&slow[..], &arguments].concat()).spawn().unwrap();
        kill_when_it_has(4, &mut child, &part);
        if is_changed {
            set_age(&from, Duration::from_secs(1800));
        }
        let (code, lines) = failure(&arguments);
        assert_eq!(code, Some(i32::from(is_changed)), "{lines}");
        assert!(!lines.contains(ONE_CONNECTION) && !lines.contains(TAKEN), "{lines}");
        if is_changed {
            assert!(lines.contains("has changed since"), "{lines}");
            assert_eq!(names(&inside), ["to.part"]);
        } else {
            assert_payload(&to, 0, LEN);
            assert_eq!(names(&inside), ["to"]);
        }
    }
}

#[test]
fn a_server_without_ranges_is_gone_on_with_over_one_connection() {
    require!(Capability::Program("python3"));
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    let from = patterned(dir.path(), "file", LEN);
    let address = free_address().unwrap();
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory", utf8(dir.path())]);
    python.arg(address.port().to_string()).stdout(Stdio::null()).stderr(Stdio::null());
    let _server = Server::start(&mut python, address).unwrap();
    let url = format!("http://{address}/file");
    let to = dir.path().join("to");
    patterned(dir.path(), "to.part", LEN / 3);
    let (code, lines) = failure(&["--resume", "--parallel", "4", &url, utf8(&to)]);
    assert!(code == Some(0) && lines.contains("has no ranges"), "{lines}");
    assert!(lines.contains(TAKEN), "{lines}");
    assert_payload(&to, 0, LEN);
    // Of a part that was begun with this version, nothing is taken on trust.
    std::fs::remove_file(&to).unwrap();
    set_age(&from, Duration::from_secs(3600));
    let slow = ["-q", "--limit-rate", "20M", "--resume", &url, utf8(&to)];
    for is_changed in [false, true] {
        let mut child = command(&slow).spawn().unwrap();
        let part = dir.path().join("to.part");
        super::resumed::kill_when_it_holds(300_000, &mut child, &part);
        if is_changed {
            set_age(&from, Duration::from_secs(1800));
        }
        let (code, lines) = failure(&["--resume", &url, utf8(&to)]);
        assert_eq!(code, Some(i32::from(is_changed)), "{lines}");
        assert_eq!(lines.contains("has changed since"), is_changed, "{lines}");
        assert!(!lines.contains(TAKEN), "{lines}");
        if !is_changed {
            assert_payload(&to, 0, LEN);
            std::fs::remove_file(&to).unwrap();
        }
    }
}

#[test]
fn a_connection_that_fails_takes_those_with_it_that_were_never_answered() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let accept = || {
            let peer = listener.accept().unwrap().0;
            let mut lines = BufReader::new(&peer).lines();
            while !lines.next().unwrap().unwrap().is_empty() {}
            peer
        };
        let mut first = accept();
        let head = "HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Length: 8000000\r\n\
                    Content-Range: bytes 0-7999999/8000000\r\n\r\nand no more";
        first.write_all(head.as_bytes()).unwrap();
        let mut others = [accept(), accept(), accept()];
        drop(first);
        for other in &mut others {
            assert_eq!(other.read(&mut [0]).unwrap(), 0);
        }
    });
    let (code, line) = failure(&["--parallel", "4", &url, utf8(&to)]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("source ended after"), "{line}");
    assert_eq!(names(dir.path()), [""; 0]);
    serving.join().unwrap();
}
