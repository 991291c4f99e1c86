//! Servers that answer a PUT before they have everything.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use underpass_testkit::wait;

use super::cut::has_read_all;
use super::{command, failure, utf8};

/// More than the sockets between two ends hold.
const LEN: u64 = 1 << 30;

const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";

/// A file of holes.
fn long() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("long");
    File::create(&path).unwrap().set_len(LEN).unwrap();
    (dir, path)
}

/// Waits for a request and reads its head.
fn asked(listener: &TcpListener) -> TcpStream {
    let peer = listener.accept().unwrap().0;
    let mut head = String::new();
    let mut lines = BufReader::with_capacity(1, &peer);
    while !head.ends_with("\r\n\r\n") {
        assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
    }
    peer
}

#[test]
fn an_answer_ends_a_put_that_nobody_reads_or_closes() {
    let (_dir, from) = long();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    for (answer, line) in [
        (
            "HTTP/1.1 413 Too Much\r\n\r\n",
            "the server answered 413 Too Much; the server limits the size; nginx calls the \
             limit client_max_body_size",
        ),
        ("HTTP/1.1 201 Made\r\n\r\n", "the server answered 201 before it had everything"),
        ("nonsense\r\n\r\n", "what it answered is not HTTP/1.1; it begins with 'nonsense'"),
    ] {
        for source in [utf8(&from), "/dev/zero"] {
            std::thread::scope(|scope| {
                let serving = scope.spawn(|| {
                    let mut peer = asked(&listener);
                    peer.write_all(answer.as_bytes()).unwrap();
                    peer
                });
                let (code, said) = failure(&["--idle-timeout", "10s", source, &url]);
                let open = serving.join().unwrap();
                assert_eq!(code, Some(1), "{said}");
                assert_eq!(said.trim_end(), format!("underpass copy: {url}: {line}"));
                drop(open);
            });
        }
    }
}

#[test]
fn an_interim_answer_ends_nothing() {
    let (_dir, from) = long();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let mut child = command(&["-q", "--idle-timeout", "10s", utf8(&from), &url]);
    let child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut peer = asked(&listener);
    let client = peer.peer_addr().unwrap();
    for part in [&INTERIM[..9], &INTERIM[9..], INTERIM] {
        peer.write_all(part).unwrap();
    }
    let is_heard = || has_read_all(client).then_some(());
    wait::until(Duration::from_secs(10), is_heard).expect("it is heard while it sends");
    let content = std::io::copy(&mut (&mut peer).take(LEN), &mut std::io::sink()).unwrap();
    assert_eq!(content, LEN);
    peer.write_all(b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.as_str()), (Some(0), ""));
}
