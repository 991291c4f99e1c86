//! `underpass serve`: how it starts, how it fails to, and how it stops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server on a free port that it chooses.
fn start(arguments: &[&str]) -> Running {
    Running::start(program().arg("serve").args(arguments).args(["--listen", "127.0.0.1:0"]))
}

/// The whole answer to a request that closes the connection.
fn get(server: &Running, path: &str) -> String {
    get_with(server, path, "")
}

/// The same with these lines in its head.
fn get_with(server: &Running, path: &str, lines: &str) -> String {
    let mut peer = TcpStream::connect(server.address()).unwrap();
    write!(peer, "GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    answer
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn it_says_what_it_serves_where_and_by_how_many() {
    let dir = tempfile::tempdir().unwrap();
    for (workers, counted) in [("1", "1 worker"), ("3", "3 workers")] {
        let server = start(&[utf8(dir.path()), "--workers", workers]);
        let line = format!(
            "serving {} at http://{}/ ({counted})\n",
            dir.path().display(),
            server.address()
        );
        assert_eq!(server.line, line);
        assert_ne!(server.address().port(), 0);
    }
}

#[test]
fn it_listens_at_several_addresses() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("here.txt"), "here").unwrap();
    let socket = dir.path().join("socket");
    let unix = format!("unix:{}", socket.display());
    let server = start(&[utf8(dir.path()), "--listen", &unix, "--listen", "127.0.0.1:0"]);
    let (_, endpoints) = server.line.split_once(" at ").unwrap();
    let endpoints: Vec<_> = endpoints.split_once(" (").unwrap().0.split(", ").collect();
    assert_eq!((endpoints.len(), endpoints[0]), (3, &*unix), "{}", server.line);
    for http in &endpoints[1..] {
        let address = http.strip_prefix("http://").unwrap().trim_end_matches('/');
        let mut peer = TcpStream::connect(address).unwrap();
        peer.write_all(b"GET /here.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.ends_with("\r\n\r\nhere"), "{http}: {answer}");
    }
    let mut peer = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    peer.write_all(b"GET /here.txt HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nhere"), "{answer}");
}

#[test]
fn it_serves_the_current_directory_by_default() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("here.txt"), "here").unwrap();
    let mut command = program();
    let server = Running::start(command.args(["serve", "--listen", "0"]).current_dir(dir.path()));
    assert!(get(&server, "/here.txt").ends_with("\r\n\r\nhere"));
}

#[test]
fn both_signals_stop_it_with_0_and_not_a_word() {
    let dir = tempfile::tempdir().unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let server = start(&[utf8(dir.path())]);
        let _idle = TcpStream::connect(server.address()).unwrap();
        server.signal(signal);
        assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()), "{signal:?}");
    }
}

#[test]
fn requests_are_logged_to_standard_output_or_a_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    let log = dir.path().join("log");
    for sink in ["-", utf8(&log)] {
        let server = start(&[utf8(dir.path()), "--access-log", sink]);
        assert!(get(&server, "/a?b").starts_with("HTTP/1.1 200 OK\r\n"));
        server.signal(Signal::TERM);
        let (code, stdout, stderr) = server.end_of_text();
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        let text = if sink == "-" { stdout } else { std::fs::read_to_string(&log).unwrap() };
        assert!(text.starts_with("127.0.0.1 - - ["), "{text}");
        assert!(text.ends_with(" +0000] \"GET /a?b HTTP/1.1\" 200 4 \"-\" \"-\"\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}

#[test]
fn a_line_of_json_says_how_the_bytes_left() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), vec![b'a'; 100_000]).unwrap();
    let server = start(&[utf8(dir.path()), "--access-log", "-", "--log-format", "json"]);
    let sent = get(&server, "/a?b").len();
    server.signal(Signal::TERM);
    let (code, stdout, stderr) = server.end_of_text();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let line: serde_json::Value = serde_json::from_str(stdout.trim_end()).unwrap();
    assert_eq!((&line["target"], &line["client"]), (&"/a?b".into(), &"127.0.0.1".into()));
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &100_000.into()));
    let left: Vec<_> = line["sent"].as_object().unwrap().values().cloned().collect();
    let left: u64 = left.iter().map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!((left, &line["sent"]["sendfile"]), (sent as u64, &100_000.into()));
}

#[test]
fn fields_are_given_by_pattern_as_flags_or_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("index.html"), "index").unwrap();
    let file = dir.path().join("serve.toml");
    let (toml, flags) = (
        "header = ['X-A: a', '*.html X-B: b: c']\n\
         cache-control = ['no-cache', '/*.html max-age=9']",
        ["--header=X-A: a", "--header=*.html X-B: b: c", "--cache-control=/*.html max-age=9"],
    );
    std::fs::write(&file, toml).unwrap();
    for arguments in [&flags[..], &["--config", utf8(&file)]] {
        let answer = get(&start(&[&[utf8(dir.path())], arguments].concat()), "/");
        for line in ["x-a: a", "x-b: b: c", "cache-control: max-age=9"] {
            assert!(answer.contains(&format!("\r\n{line}\r\n")), "{arguments:?}: {answer}");
        }
    }
    std::fs::write(&file, "header = ['X-A: a', 'Date: now']").unwrap();
    let wrong = underpass(&["serve", "--config", utf8(&file)]);
    let place = format!("{}:1:21: invalid value 'Date: now' for 'header'", file.display());
    let reason = "'date' is the server's own";
    let stderr = String::from_utf8(wrong.stderr).unwrap();
    assert!(stderr.contains(&place) && stderr.contains(reason), "{stderr}");
}

#[test]
fn what_describes_a_file_is_chosen_by_flags_or_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let content = "a".repeat(2000);
    for (name, content) in [("a.md", &*content), ("a.md.gz", "coded"), ("a.md.br", "coded too")] {
        std::fs::write(dir.path().join(name), content).unwrap();
    }
    let modified = std::time::UNIX_EPOCH + Duration::from_secs(0xabc);
    let file = std::fs::File::options().append(true).open(dir.path().join("a.md")).unwrap();
    file.set_modified(modified).unwrap();
    let settings = dir.path().join("serve.toml");
    for (flag, toml, lines, expected) in [
        ("--etag=mtime-size", "etag = 'mtime-size'", "", "\"abc-7d0\"\r\n"),
        (
            "--mime=md text/x-md",
            "mime = ['md text/x-md']",
            "",
            "content-type: text/x-md; charset=utf-8",
        ),
        ("--charset=off", "charset = 'off'", "", "content-type: text/markdown\r\n"),
        (
            "--precompressed=gzip",
            "precompressed = 'gzip'",
            "Accept-Encoding: br, gzip\r\n",
            "content-encoding: gzip\r\n",
        ),
        (
            "--max-ranges=1",
            "max-ranges = 1",
            "Range: bytes=0-0,900-\r\n",
            "content-length: 2000\r\n",
        ),
        (
            "--cors-allow-origins=*",
            "cors-allow-origins = '*'",
            "Origin: https://a.example\r\n",
            "access-control-allow-origin: *\r\n",
        ),
    ] {
        std::fs::write(&settings, toml).unwrap();
        let usual = get_with(&start(&[utf8(dir.path())]), "/a.md", lines);
        assert!(!usual.contains(expected), "{expected}: {usual}");
        for arguments in [&[flag][..], &["--config", utf8(&settings)]] {
            let server = start(&[&[utf8(dir.path())], arguments].concat());
            let answer = get_with(&server, "/a.md", lines);
            assert!(answer.contains(expected), "{arguments:?}: {answer}");
        }
    }
    for (flag, reason) in [
        ("--mime=md", "an extension and its media type, such as 'md text/plain'"),
        ("--charset=utf 8", "'utf 8' is not a charset such as utf-8, or off"),
        ("--etag=none", "full, mtime-size"),
    ] {
        let stderr = String::from_utf8(underpass(&["serve", flag]).stderr).unwrap();
        assert!(stderr.contains(reason), "{stderr}");
    }
}

#[test]
fn a_start_that_fails_ends_with_1_and_one_line_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let none = dir.path().join("none");
    let log = dir.path().join("none/log");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (dir, file, none, log) = (utf8(dir.path()), utf8(&file), utf8(&none), utf8(&log));
    let other = "choose another port or path, or port 0 for any free one";
    let enter = "give a directory you may enter: underpass serve DIR";
    for (arguments, line) in [
        (
            vec![none],
            format!(
                "cannot open directory {none}: No such file or directory (os error 2); {enter}"
            ),
        ),
        (
            vec![file],
            format!("cannot open directory {file}: Not a directory (os error 20); {enter}"),
        ),
        (
            vec![dir, "--listen", &taken],
            format!("cannot listen on {taken}: Address already in use (os error 98); {other}"),
        ),
        (
            vec![dir, "--listen", "192.0.2.1:0"],
            "cannot listen on 192.0.2.1:0: Cannot assign requested address (os error 99); \
             listen on an address of this machine, or on 0.0.0.0"
                .into(),
        ),
        (
            vec![dir, "--listen", "0", "--access-log", log],
            format!(
                "cannot open the log {log}: No such file or directory (os error 2); \
                 give a file that can be written, '-' or 'off'"
            ),
        ),
    ] {
        let output = underpass(&[&["serve"], &arguments[..]].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("underpass serve: {line}\n"));
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_response_under_way_is_ended_after_the_signal_and_nobody_else_is_let_in() {
    const LEN_BYTES: u64 = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    std::fs::File::create(dir.path().join("sparse")).unwrap().set_len(LEN_BYTES).unwrap();
    let server = start(&[utf8(dir.path()), "--workers", "1"]);
    let mut peer = TcpStream::connect(server.address()).unwrap();
    peer.write_all(b"GET /sparse HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::new(peer);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).unwrap();
    }
    server.signal(Signal::TERM);
    let is_closed = || TcpStream::connect(server.address()).is_err().then_some(());
    wait::until(Duration::from_secs(10), is_closed).expect("the listener closes");
    let mut content = std::io::sink();
    let read = std::io::copy(&mut reader.take(LEN_BYTES), &mut content).unwrap();
    assert_eq!(read, LEN_BYTES);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn metrics_are_scraped_by_curl() {
    require!(Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    let mut server = start(&[utf8(dir.path()), "--metrics", "127.0.0.1:0"]);
    let line = server.next_line();
    let url = line.strip_prefix("metrics at ").unwrap().trim_end();
    let sent = get(&server, "/a").len() + get(&server, "/none").len();
    let idle = TcpStream::connect(server.address()).unwrap();
    let scrape = || {
        let output = Command::new("curl").args(["--silent", "--show-error", url]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // The idle connection is accepted in its own time, and others are counted once they are closed.
    let is_settled = |text: &String| text.contains("_open 1\n") && text.contains("_parked 1\n");
    let text = wait::until(PATIENCE, || Some(scrape()).filter(is_settled)).expect("it settles");
    for line in [
        "underpass_serve_requests_total{status=\"2xx\"} 1",
        "underpass_serve_requests_total{status=\"3xx\"} 0",
        "underpass_serve_requests_total{status=\"4xx\"} 1",
        "underpass_serve_requests_total{status=\"5xx\"} 0",
        &format!("underpass_serve_sent_bytes_total {sent}"),
        "underpass_serve_accepted_total 3",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");
    drop(idle);
}

#[test]
fn a_server_is_well_until_it_drains() {
    let dir = tempfile::tempdir().unwrap();
    let big = std::fs::File::create(dir.path().join("big")).unwrap();
    big.set_len(64 << 20).unwrap();
    let mut server = start(&[utf8(dir.path()), "--metrics", "127.0.0.1:0"]);
    let line = server.next_line();
    let metrics = line.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_owned();
    let health = || {
        let mut peer = TcpStream::connect(&metrics).unwrap();
        peer.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(health().starts_with("HTTP/1.1 200 OK\r\n"));
    let client = sent(&server, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n", true);
    server.signal(Signal::TERM);
    let is_draining = || health().starts_with("HTTP/1.1 503 ").then_some(());
    wait::until(PATIENCE, is_draining).expect("the load balancer is told");
    drop(client);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn without_descriptors_the_longest_idle_connections_make_room_and_serving_recovers() {
    const CLIENTS: usize = 20;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    let mut server = start(&[utf8(dir.path()), "--workers", "1"]);
    assert!(get(&server, "/a").ends_with("four"));
    let id = Pid::from_raw(server.id().try_into().unwrap());
    let open = || std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count() as u64;
    let before = getrlimit(Resource::Nofile);
    // accept(2) fails past half of the clients.
    let current = Some(open() + CLIENTS as u64 / 2);
    prlimit(id, Resource::Nofile, Rlimit { current, ..before }).unwrap();
    let mut clients: Vec<_> =
        (0..CLIENTS).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let last = clients.last_mut().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    last.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    last.read_exact(&mut [0; 12]).expect("the last client is served");
    let first = &mut clients[0];
    first.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap(), 0, "the first was given up");
    assert!(server.next_line().contains("accepting pauses for 100ms: Too many open files"));
    prlimit(id, Resource::Nofile, before).unwrap();
    drop(clients);
    assert!(get(&server, "/a").ends_with("four"));
}

/// A connection that sent this, and got an answer if `is_answered`.
fn sent(server: &Running, bytes: &[u8], is_answered: bool) -> TcpStream {
    let mut peer = TcpStream::connect(server.address()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.write_all(bytes).unwrap();
    if is_answered {
        peer.read_exact(&mut [0; 200]).unwrap();
    }
    peer
}

#[test]
fn connections_on_which_no_response_is_under_way_hold_up_no_stop_and_cut_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    let server = start(&[utf8(dir.path()), "--workers", "2", "--grace", "1h"]);
    let request = "GET /a HTTP/1.1\r\nHost: x\r\n";
    let _peers = [
        sent(&server, format!("{request}Content-Length: 2\r\n\r\nhi").as_bytes(), true),
        sent(&server, format!("{request}Content-Length: 9\r\n\r\nhi").as_bytes(), true),
        sent(&server, format!("{request}\r\n{request}").as_bytes(), true),
        sent(&server, request.as_bytes(), false),
        sent(&server, b"GET /a HTTP/3.0\r\n\r\n", true),
        sent(&server, b"", false),
    ];
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn a_response_that_is_cut_short_is_told_with_its_path_and_client_and_a_reset_is_not() {
    const LEN_BYTES: u64 = 64 << 20;
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("big")).unwrap();
    file.set_len(LEN_BYTES).unwrap();
    let log = dir.path().join("log");
    let mut server = start(&[utf8(dir.path()), "--access-log", utf8(&log)]);
    let request = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
    // Bytes that are not read make the end a reset.
    (0..20).for_each(|_| drop(sent(&server, request, true)));
    let has_all = || (std::fs::read_to_string(&log).unwrap().lines().count() == 20).then_some(());
    wait::until(PATIENCE, has_all).expect("each has its line");
    let mut peer = sent(&server, request, true);
    file.set_len(5_000).unwrap();
    std::io::copy(&mut peer, &mut std::io::sink()).unwrap_or_default();
    let line = server.next_line();
    assert!(line.contains(" WARN GET /big to 127.0.0.1, "), "{line}");
    assert!(line.contains(" bytes sent, was cut short: source ended at byte "), "{line}");
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn an_error_of_this_end_is_told_with_its_path_and_client() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = start(&[utf8(dir.path()), "--stability", "lease"]);
    // A file that is open for writing cannot be leased (fcntl(2)).
    let _writer = std::fs::File::create(dir.path().join("a")).unwrap();
    std::fs::write(dir.path().join("a"), "four").unwrap();
    assert!(get(&server, "/a").starts_with("HTTP/1.1 503 "));
    let line = server.next_line();
    assert!(line.contains(" WARN /a to 127.0.0.1: 503 Service Unavailable: "), "{line}");
}
