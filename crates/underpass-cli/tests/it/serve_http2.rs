//! `underpass serve --http2`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::running::{Running, program};

fn start(root: &Path, flags: &[&str]) -> Running {
    let mut command = program();
    Running::start(command.arg("serve").arg(root).args(flags).args(["--listen", "127.0.0.1:0"]))
}

fn curl(arguments: &[&str]) -> Command {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--http2-prior-knowledge"]).args(arguments);
    curl
}

#[test]
fn http_2_may_be_off() {
    require!(Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    for (flags, expected) in [(&[][..], "four"), (&["--http2", "off"], "")] {
        let server = start(dir.path(), flags);
        let output = curl(&[&format!("http://{}/a", server.address())]).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{flags:?}");
        assert_eq!(output.status.success(), expected == "four");
    }
}

/// h2 has a warning for it, which a client could have written as often as it likes.
#[test]
fn frames_that_no_one_asked_for_are_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = start(dir.path(), &[]);
    let mut peer = TcpStream::connect(server.address()).unwrap();
    let ping = |flags| [&[0, 0, 8, 6, flags, 0, 0, 0, 0][..], b"unwanted"].concat();
    let begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    peer.write_all(&[begin, ping(1), ping(1), ping(0)].concat()).unwrap();
    let mut answered = Vec::new();
    while !answered.ends_with(b"unwanted") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        answered.push(byte[0]);
    }
    drop(peer);
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn a_stream_that_is_cut_short_is_told_with_its_path_and_client() {
    require!(Program("curl"));
    const LEN_BYTES: u64 = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (big, got) = (dir.path().join("big"), dir.path().join("got"));
    let file = File::create(&big).unwrap();
    file.set_len(LEN_BYTES).unwrap();
    let mut server = start(dir.path(), &[]);
    let url = format!("http://{}/big", server.address());
    let slowly = ["--limit-rate", "1M", "-o", got.to_str().unwrap(), &url];
    let mut client = curl(&slowly).stderr(Stdio::null()).spawn().unwrap();
    let has_begun = || std::fs::metadata(&got).is_ok_and(|got| got.len() > 0).then_some(());
    wait::until(Duration::from_secs(20), has_begun).expect("it begins");
    file.set_len(5_000).unwrap();
    let line = server.next_line();
    assert!(line.contains(" WARN GET /big to 127.0.0.1, "), "{line}");
    assert!(line.contains(" bytes sent, was cut short: source ended at byte "), "{line}");
    client.kill().unwrap();
    client.wait().unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}
