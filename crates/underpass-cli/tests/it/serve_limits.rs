//! `underpass serve` and clients that take too long, or ask for too much.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use underpass_testkit::wait;

use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of a directory with a small file and a large one, which are old enough to be kept.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("small"), "small").unwrap();
        let big = std::fs::File::create(dir.path().join("big")).unwrap();
        big.set_len(64 << 20).unwrap();
        Self { dir }
    }

    fn serve(&self, flags: &[&str]) -> Running {
        let mut command = program();
        command.arg("serve").arg(self.dir.path()).args(["--listen", "0", "--workers", "1"]);
        Running::start(command.args(flags))
    }
}

fn connect(server: &Running) -> TcpStream {
    let peer = TcpStream::connect(server.address()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer
}

/// Everything that comes, and how long it took until there was no more.
fn rest(peer: &mut TcpStream) -> (String, Duration) {
    let (begin, mut text) = (Instant::now(), String::new());
    peer.read_to_string(&mut text).unwrap();
    (text, begin.elapsed())
}

#[test]
fn a_head_and_an_idle_connection_have_the_times_that_were_given() {
    let place = Place::new();
    let server = place.serve(&["--header-timeout", "1s", "--idle-timeout", "3s"]);
    let mut half = connect(&server);
    half.write_all(b"GET / HT").unwrap();
    let mut idle = connect(&server);
    let (text, took) = rest(&mut half);
    assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
    assert!(took < Duration::from_secs(15), "{took:?}");
    let (text, _) = rest(&mut idle);
    assert_eq!(text, "");
    let begin = Instant::now();
    let mut kept = connect(&server);
    kept.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(rest(&mut kept).0.ends_with("\r\n\r\nsmall"));
    assert!(begin.elapsed() > Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_client_that_takes_nothing_is_reset_after_the_time_that_was_given() {
    let place = Place::new();
    let log = place.dir.path().join("log");
    let shown = log.to_str().unwrap();
    let json = ["--access-log", shown, "--log-format", "json", "--send-timeout", "1s"];
    let mut server = place.serve(&json);
    // Under hyper, and without it once the file is kept, a second after it was made.
    for (times, field) in [(1, "Connection: close\r\n"), (20, "")] {
        for _ in 0..times {
            let mut peer = connect(&server);
            peer.write_all(format!("GET /big HTTP/1.1\r\nHost: x\r\n{field}\r\n").as_bytes())
                .unwrap();
            peer.read_exact(&mut [0; 100]).unwrap();
            if times == 1 {
                let line = server.next_line();
                assert!(line.contains("was cut short: nothing was taken for 1 s"), "{line}");
            }
        }
    }
    let mut peer = connect(&server);
    peer.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    peer.read_exact(&mut [0; 100]).unwrap();
    let line = server.next_line();
    assert!(line.contains("was cut short: nothing was taken for 1 s"), "{line}");
    let lines = || {
        let text = std::fs::read_to_string(&log).unwrap();
        (text.matches("\"cut\":\"client\"").count() == 2).then_some(())
    };
    wait::until(PATIENCE, lines).expect("both are told in the log");
}

#[test]
fn a_head_is_as_large_as_was_given_at_most() {
    let place = Place::new();
    let server = place.serve(&["--max-header-size", "1KiB"]);
    let ask = |field_bytes: usize| {
        let mut peer = connect(&server);
        let field = "a".repeat(field_bytes);
        peer.write_all(format!("GET /small HTTP/1.1\r\nHost: x\r\nA: {field}\r\n\r\n").as_bytes())
            .unwrap();
        let mut status = [0; 12];
        peer.read_exact(&mut status).unwrap();
        String::from_utf8(status.to_vec()).unwrap()
    };
    // A file of this second would not be kept, and so not answered directly.
    wait::until(Duration::from_millis(1_100), || None::<()>);
    for _ in 0..3 {
        assert_eq!((ask(900), ask(900)), ("HTTP/1.1 200".into(), "HTTP/1.1 200".into()));
        assert_eq!(ask(1_100), "HTTP/1.1 431");
    }
}

#[test]
fn a_client_has_as_many_connections_as_was_given_at_most() {
    let place = Place::new();
    let flags = ["--max-connections-per-address", "2", "--workers", "2", "--metrics", "0"];
    let mut command = program();
    command.arg("serve").arg(place.dir.path()).args(["--listen", "0"]).args(flags);
    let mut server = Running::start(&mut command);
    let line = server.next_line();
    let metrics = line.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_owned();
    let ask = |peer: &mut TcpStream| {
        peer.write_all(b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n")?;
        peer.read_exact(&mut [0; 12])
    };
    let mut two = [connect(&server), connect(&server)];
    two.iter_mut().for_each(|peer| ask(peer).unwrap());
    let error = ask(&mut connect(&server)).unwrap_err();
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    two.iter_mut().for_each(|peer| {
        peer.read_exact(&mut [0; 5]).unwrap_or_default();
    });
    drop(two);
    let again = || ask(&mut connect(&server)).ok();
    wait::until(PATIENCE, again).expect("a place is free again");
    let mut scraper = TcpStream::connect(&metrics).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (text, _) = rest(&mut scraper);
    let line = text.lines().find_map(|line| line.strip_prefix("underpass_serve_refused_total "));
    assert!(line.unwrap().parse::<u64>().unwrap() >= 1, "{text}");
}

#[test]
fn a_check_may_be_asked_for_in_one_word_and_limits_be_in_the_file() {
    let place = Place::new();
    let file = place.dir.path().join("settings.toml");
    let shown = file.to_str().unwrap();
    std::fs::write(&file, "send-timeout = \"off\"\nmin-rate = \"20KiB\"\n").unwrap();
    let output = underpass(&["serve", "--config", shown, "--check"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text, format!("the flags and {shown} are in order\n"));
    std::fs::write(&file, "max-header-size = 100\n").unwrap();
    let output = underpass(&["serve", "--config", shown, "--check"]);
    let text = String::from_utf8(output.stderr).unwrap();
    let wrong = "1:19: invalid value '100' for 'max-header-size': give a size from 1KiB to 256KiB";
    assert_eq!(text, format!("underpass serve: {shown}:{wrong}\n"));
}
