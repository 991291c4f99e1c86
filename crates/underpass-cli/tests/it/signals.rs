//! Signals to `underpass serve`, `relay` and `echo`: what ends them, and what does not.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;
use underpass_testkit::wait;

use crate::client::head;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// More than the buffers of both sockets hold.
const LARGE_BYTES: u64 = 64 << 20;

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Each of the three servers, with a log in this directory, and a target that it may need.
fn servers(dir: &Path, target: &TcpListener, flags: &[&str]) -> [Running; 3] {
    let target = target.local_addr().unwrap().to_string();
    let log = |name: &str| utf8(&dir.join(name)).to_owned();
    let serve = ["serve", utf8(dir), "--listen", "0", "--access-log", &log("serve.log")];
    let relay = ["relay", "0", &target, "--log", &log("relay.log")];
    let echo = ["echo", "0", "--log", &log("echo.log")];
    [&serve[..], &relay, &echo].map(|arguments| {
        Running::start(program().args(arguments).args(["--workers", "1"]).args(flags))
    })
}

fn address(server: &Running) -> SocketAddr {
    let start = server.line.find("127.0.0.1:").unwrap();
    let rest = &server.line[start..];
    rest[..rest.find(['/', ' ']).unwrap()].parse().unwrap()
}

fn connect(server: &Running) -> TcpStream {
    let client = TcpStream::connect(address(server)).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// A connection that leaves a line in the log: a request, or one byte there and the end.
fn use_once(server: &Running, target: &TcpListener) {
    let mut client = connect(server);
    if server.line.starts_with("serving") {
        client.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    } else {
        client.shutdown(std::net::Shutdown::Write).unwrap();
        if server.line.starts_with("relaying") {
            drop(target.accept().unwrap());
        }
    }
    client.read_to_end(&mut Vec::new()).unwrap();
}

fn lines(log: &Path) -> usize {
    fs::read_to_string(log).map_or(0, |text| text.lines().count())
}

#[test]
fn hup_and_usr1_open_the_log_again_and_usr2_ends_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = servers(dir.path(), &target, &[]);
    for (server, name) in servers.into_iter().zip(["serve.log", "relay.log", "echo.log"]) {
        let log = dir.path().join(name);
        for (round, signal) in [Signal::HUP, Signal::USR1].into_iter().enumerate() {
            let old = dir.path().join(format!("{name}.{round}"));
            fs::rename(&log, &old).unwrap();
            server.signal(Signal::USR2);
            server.signal(signal);
            wait::until(PATIENCE, || log.exists().then_some(())).expect("the log is opened again");
            use_once(&server, &target);
            wait::until(PATIENCE, || (lines(&log) == 1).then_some(())).expect("a line is there");
            assert_eq!(lines(&old), round, "{name} after {signal:?}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()), "{name}");
    }
}

#[test]
fn a_reload_that_waits_holds_up_neither_the_log_nor_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (targets, log) = (dir.path().join("targets"), dir.path().join("log"));
    fs::write(&targets, "1").unwrap();
    let arguments = ["relay", "0", "--targets-file", utf8(&targets), "--log", utf8(&log)];
    let relay = Running::start(program().args(arguments).args(["--check", "off"]));
    fs::remove_file(&targets).unwrap();
    // Opening it waits for a writer.
    rustix::fs::mknodat(CWD, &targets, FileType::Fifo, Mode::RUSR, 0).unwrap();
    for signal in [Signal::HUP, Signal::USR1] {
        fs::remove_file(&log).unwrap();
        relay.signal(signal);
        wait::until(PATIENCE, || log.exists().then_some(())).expect("the log is opened again");
    }
    relay.signal(Signal::TERM);
    assert_eq!(relay.end_of_text(), (Some(0), String::new(), String::new()));
}

/// A client of `serve` that has read the head of a large file and nothing more.
fn slow_download(server: &Running) -> TcpStream {
    let mut client = connect(server);
    client.write_all(b"GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    head(&mut client).unwrap();
    client
}

fn serve_a_large_file(dir: &Path, flags: &[&str]) -> Running {
    fs::File::create(dir.join("sparse")).unwrap().set_len(LARGE_BYTES).unwrap();
    let arguments = ["serve", utf8(dir), "--listen", "0", "--workers", "1"];
    Running::start(program().args(arguments).args(flags))
}

fn wait_until_it_stops(server: &Running) {
    let is_closed = || TcpStream::connect(address(server)).is_err().then_some(());
    wait::until(PATIENCE, is_closed).expect("the listener closes");
}

#[test]
fn a_second_signal_or_the_grace_ends_a_download_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for (grace, signals) in [("off", 2), ("50ms", 1)] {
        let server = serve_a_large_file(dir.path(), &["--grace", grace]);
        let mut client = slow_download(&server);
        let _idle = connect(&server);
        server.signal(Signal::TERM);
        if signals == 2 {
            wait_until_it_stops(&server);
            server.signal(Signal::INT);
        }
        let (code, _, stderr) = server.end_of_text();
        assert_eq!(code, Some(0));
        assert!(stderr.ends_with("1 request was cut\n"), "{stderr}");
        let mut content = Vec::new();
        let read = client.read_to_end(&mut content);
        assert!(read.is_err() || (content.len() as u64) < LARGE_BYTES);
    }
}

#[test]
fn requests_that_wait_to_be_accepted_at_the_signal_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve_a_large_file(dir.path(), &["--max-connections", "1"]);
    let mut first = slow_download(&server);
    let mut waiting: Vec<TcpStream> = (0..300).map(|_| connect(&server)).collect();
    for client in &mut waiting {
        client.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    server.signal(Signal::TERM);
    wait_until_it_stops(&server);
    let read = std::io::copy(&mut (&mut first).take(LARGE_BYTES), &mut std::io::sink()).unwrap();
    assert_eq!(read, LARGE_BYTES);
    for (nth, mut client) in waiting.into_iter().enumerate() {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap_or_else(|error| panic!("{nth}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 404 "), "{nth}: {answer}");
    }
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn the_longest_idle_connection_makes_room_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve_a_large_file(dir.path(), &["--max-connections", "2"]);
    let request = b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut clients: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    clients[2].write_all(request).unwrap();
    clients[2].read_exact(&mut [0; 12]).unwrap();
    assert_eq!(clients[0].read(&mut [0]).unwrap(), 0, "the first was given up");
    clients[1].write_all(request).unwrap();
    clients[1].read_exact(&mut [0; 12]).unwrap();
    // Left alone for 75 s, they would have gone by then.
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

/// The kernel spreads connections over the workers at random, so this is tried often.
#[test]
fn a_connection_gets_the_place_of_one_that_idles_at_another_worker() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["serve", utf8(dir.path()), "--listen", "0", "--max-connections", "2"];
    let server = Running::start(program().args(flags).args(["--workers", "2"]));
    for _ in 0..12 {
        let _idle = [(); 2].map(|()| connect(&server));
        let mut client = connect(&server);
        client.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
}

#[test]
fn an_idle_connection_that_sent_content_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve_a_large_file(dir.path(), &["--grace", "20s"]);
    let mut client = connect(&server);
    client.write_all(b"POST /none HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").unwrap();
    let mut status = [0; 12];
    client.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 405");
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}
