//! Ends that do nothing: who is given up, after what time, and what stays.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix, SocketFlags, SocketType};
use underpass_testkit::payload;
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::http::certificate;
use super::{Waiting, assert_payload, command, failure, names, patterned, utf8};

#[test]
fn a_source_that_falls_silent_is_given_up_and_gone_on_with_later() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let arguments = ["--resume", "--idle-timeout", "1s", "tcp-listen://0", utf8(&to)];
    let waiting = Waiting::start(&arguments);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(0..100_000)).unwrap();
    let (code, _, line) = waiting.end();
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("tcp-listen://127.0.0.1:0"), "{line}");
    assert!(line.contains("reading the source failed after 100000 bytes"), "{line}");
    assert!(line.contains("nothing arrived for 1s; find out why the other"), "{line}");
    assert_eq!(names(dir.path()), ["to.part"]);
    let waiting = Waiting::start(&arguments);
    let mut peer = waiting.connect();
    peer.write_all(&payload::pattern(100_000..150_000)).unwrap();
    drop(peer);
    assert_eq!(waiting.end().0, Some(0));
    assert_payload(&to, 0, 150_000);
}

#[test]
fn a_sink_that_takes_nothing_is_given_up() {
    require!(Capability::Program("socat"));
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 30_000_000);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let end = format!("tcp://{}", listener.local_addr().unwrap());
    let (code, line) = failure(&["--idle-timeout", "300ms", utf8(&from), &end]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains(&format!("-> {end}: writing to the sink failed after")), "{line}");
    assert!(line.contains("the other end took nothing for 300ms"), "{line}");
    // Through memory, too: a digest of a stream.
    let arguments = ["--idle-timeout", "300ms", "--checksum", "blake3", "tcp-listen://0", "-"];
    let waiting = Waiting::start(&arguments);
    let (host, port) = waiting.host_and_port();
    let mut socat = Command::new("socat");
    let mut socat =
        socat.args(["-u", "EXEC:sleep 9"]).arg(format!("TCP:{host}:{port}")).spawn().unwrap();
    let (code, _, line) = waiting.end();
    socat.kill().unwrap();
    socat.wait().unwrap();
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("nothing arrived for 300ms"), "{line}");
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let (code, line) = failure(&["--idle-timeout", "300ms", &url, utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(
        line.contains(&format!("cannot read the answer from {url}: nothing arrived for")),
        "{line}"
    );
    assert!(line.contains("--idle-timeout") && !line.contains("--connect-timeout"), "{line}");
}

/// A server that sends `beginning` and then single bytes, until the peer has gone.
fn trickling(beginning: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut next = beginning;
        while peer.write_all(next).is_ok() {
            underpass_testkit::wait::until(Duration::from_millis(20), || None::<()>);
            next = b"x";
        }
    });
    address
}

#[test]
fn a_handshake_or_a_head_that_does_not_end_is_given_up_though_something_comes() {
    require!(Capability::Program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 10), dir.path().join("to"));
    let cert = certificate(dir.path());
    // The kernel accepts, and no one answers.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("https://{}/x", nobody.local_addr().unwrap());
    // A record of a handshake, of 16 KiB; a status line.
    let shaking = format!("https://{}/x", trickling(&[22, 3, 3, 64, 0]));
    let heads = [(); 2].map(|()| format!("http://{}/x", trickling(b"HTTP/1.1 200 OK\r\nX-")));
    let handshake = "cannot make a TLS connection to";
    let head = "cannot read the answer from";
    for (ends, doing, what) in [
        ([&*silent, utf8(&to)], handshake, "the TLS handshake"),
        ([&*shaking, utf8(&to)], handshake, "the TLS handshake"),
        ([&*heads[0], utf8(&to)], head, "the answer's head"),
        ([utf8(&from), &*heads[1]], head, "the answer's head"),
    ] {
        let mut command = command(&["--connect-timeout", "300ms", "--idle-timeout", "5s"]);
        let output = command.args(ends).env("SSL_CERT_FILE", &cert).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{line}");
        let url = if ends[0].starts_with("http") { ends[0] } else { ends[1] };
        let why = format!("{doing} {url}: {what} was not complete after 300ms; ");
        assert!(line.contains(&why) && line.contains("--connect-timeout"), "{line}");
        assert!(!to.exists());
    }
}

#[test]
fn pauses_below_the_time_and_a_limited_rate_are_no_silence() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 400_000), dir.path().join("to"));
    // It pauses for 50 ms at a time.
    let arguments = ["-q", "--idle-timeout", "20ms", "--limit-rate", "1M", utf8(&from), utf8(&to)];
    assert_eq!(failure(&arguments), (Some(0), String::new()));
    let waiting = Waiting::start(&["--idle-timeout", "2s", "tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < Duration::from_millis(2_500) {
        peer.write_all(&payload::pattern(sent..sent + 1000)).unwrap();
        sent += 1000;
        underpass_testkit::wait::until(Duration::from_millis(250), || None::<()>);
    }
    drop(peer);
    let (code, _, line) = waiting.end();
    assert_eq!(code, Some(0), "{line}");
    assert_payload(&to, 0, sent);
}

/// A listener whose queue is full, with what fills it.
fn full(family: AddressFamily, address: &SocketAddrAny) -> (OwnedFd, Vec<OwnedFd>) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let new = || rustix::net::socket_with(family, SocketType::STREAM, flags, None).unwrap();
    let listener = new();
    rustix::net::bind(&listener, address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address = rustix::net::getsockname(&listener).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let peer = new();
        // Those behind the first wait.
        let connected = rustix::net::connect(&peer, &address);
        assert_ne!(connected, Err(rustix::io::Errno::CONNREFUSED));
        waiting.push(peer);
    }
    (listener, waiting)
}

#[test]
fn an_address_that_does_not_answer_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (from, path) = (patterned(dir.path(), "from", 10), dir.path().join("socket"));
    let any = SocketAddrAny::from(SocketAddr::from(([127, 0, 0, 1], 0)));
    let (listener, _filling) = full(AddressFamily::INET, &any);
    let name = rustix::net::getsockname(&listener).unwrap();
    let port = SocketAddr::try_from(name).unwrap().port();
    let unix = SocketAddrAny::from(SocketAddrUnix::new(&path).unwrap());
    let (_listener, _others) = full(AddressFamily::UNIX, &unix);
    for end in [
        format!("tcp://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}/x"),
        format!("unix://{}", utf8(&path)),
    ] {
        let (code, line) = failure(&["--connect-timeout", "300ms", utf8(&from), &end]);
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(&format!("cannot connect to {end}: no answer for 300ms")), "{line}");
        assert!(line.contains("--connect-timeout"), "{line}");
    }
}

#[test]
fn waiting_for_a_peer_to_connect_is_not_idle() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", 1_000);
    let waiting = Waiting::start(&["-q", "--idle-timeout", "50ms", utf8(&from), "tcp-listen://0"]);
    underpass_testkit::wait::until(Duration::from_millis(300), || None::<()>);
    let (host, port) = waiting.host_and_port();
    let mut got = Vec::new();
    let mut peer = TcpStream::connect(format!("{host}:{port}")).unwrap();
    peer.read_to_end(&mut got).unwrap();
    assert_eq!(payload::difference(&got, 0, 1_000), None);
    waiting.succeed();
    let (code, line) = failure(&["--idle-timeout", "0s", "a", "b"]);
    assert!(code == Some(2) && line.contains("give a time such as 500ms, 5s or 10m"), "{line}");
}
