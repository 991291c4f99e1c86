//! What the server does with a file's bytes, call by call.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;

use rustix::process::{Signal, getpid, kill_process};
use underpass_serve::access_log::Sink;
use underpass_serve::{Archives, Options, Server, Settings, SiteOptions};
use underpass_testkit::disk::disk_dir;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Call, Strace};
use underpass_testkit::{require, test_name};

/// Names under which strace's record shows the files.
const LARGE: &str = "underpass-large";
const SMALL: &str = "underpass-small";

const LARGE_BYTES: u64 = 20_000_003;
const SMALL_BYTES: u64 = 4_096;

/// Requests of one connection, so that the second of each finds the file open.
const PATHS: [&str; 4] = [SMALL, SMALL, LARGE, LARGE];

fn serve_between_marks(converse: impl FnOnce(&mut TcpStream, &mut BufReader<TcpStream>)) {
    let dir = tempfile::tempdir_in(disk_dir().unwrap()).unwrap();
    for (name, len) in [(SMALL, SMALL_BYTES), (LARGE, LARGE_BYTES)] {
        std::fs::write(dir.path().join(name), pattern(0..len)).unwrap();
        let file = std::fs::File::options().write(true).open(dir.path().join(name)).unwrap();
        // Of this second, its description would not be kept.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
    }
    // ctime cannot be set; it has to grow old.
    let age = std::time::Duration::from_millis(1_100);
    underpass_testkit::wait::until(age, || None::<()>);
    let daemon = Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: NonZeroUsize::MIN,
        grace: None,
        connections_max: None,
        connections_per_address: None,
        metrics: None,
        log: Sink::Off,
    };
    let archives = Some(Archives::new("tar".parse().unwrap(), None));
    let site = SiteOptions { archives, ..SiteOptions::new(dir.path().into()) };
    let server = Server::bind(Options { daemon, site }).unwrap();
    let mut peer = TcpStream::connect(server.endpoints()[0].tcp().unwrap()).unwrap();
    let serving = std::thread::spawn(move || server.run());
    // Each call of the client's takes its time under strace, too.
    let mut answers = BufReader::new(peer.try_clone().unwrap());
    strace::mark();
    converse(&mut peer, &mut answers);
    strace::mark();
    kill_process(getpid(), Signal::TERM).unwrap();
    serving.join().unwrap().unwrap();
}

fn fetch_files(peer: &mut TcpStream, answers: &mut BufReader<TcpStream>) {
    for path in PATHS {
        write!(peer, "GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let len = if path == SMALL { SMALL_BYTES } else { LARGE_BYTES };
        read_head(answers);
        let mut body = vec![0; usize::try_from(len).unwrap()];
        answers.read_exact(&mut body).unwrap();
        assert_eq!(difference(&body, 0, len), None, "{path}");
    }
}

/// Three heads of 512 bytes, of which the first is the directory's; the end is two more.
fn fetch_archive(peer: &mut TcpStream, answers: &mut BufReader<TcpStream>) {
    peer.write_all(b"GET /?archive=tar HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_head(answers);
    let len = 3 * 512 + LARGE_BYTES.next_multiple_of(512) + SMALL_BYTES + 1_024;
    let mut body = vec![0; usize::try_from(len).unwrap()];
    answers.read_exact(&mut body).unwrap();
    let large = &body[1_024..][..usize::try_from(LARGE_BYTES).unwrap()];
    assert_eq!(difference(large, 0, LARGE_BYTES), None);
}

fn read_head(answers: &mut impl BufRead) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(answers.read_until(b'\n', &mut head).unwrap(), 0, "a head ends");
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
}

#[test]
fn a_large_file_leaves_by_sendfile_and_a_small_one_in_one_call_with_its_head() {
    if strace::is_inside() {
        return serve_between_marks(fetch_files);
    }
    require!(Capability::Strace);
    let looks = |calls: &[Call]| strace::count(calls, "openat2");
    let traced = || {
        let trace = Strace::of_test(test_name!()).unwrap().run().unwrap();
        trace.assert_success();
        let of = |name: &str| -> Vec<Call> {
            trace.marked().iter().filter(|call| call.arguments.contains(name)).cloned().collect()
        };
        (of(LARGE), of(SMALL))
    };
    // Between two requests that are 100 ms apart, as they may under strace, it looks again.
    let mut attempts = (0..5).map(|_| traced());
    let (large, small) = attempts.find(|(_, small)| looks(small) <= 2).expect("one is quick");
    assert_eq!(strace::bytes(&large, "sendfile"), 2 * LARGE_BYTES);
    let read: u64 =
        ["read", "pread64", "readv"].iter().map(|name| strace::bytes(&large, name)).sum();
    assert_eq!(read, 0, "no byte of it is read");
    let probes = large.iter().filter(|call| call.name == "preadv2");
    // What `Stability::Guard` remembers of a file are up to eight times 32 bytes.
    assert!(probes.clone().all(|call| call.returned <= Some(32)), "{probes:?}");
    assert!(probes.filter(|call| call.returned == Some(32)).count() <= 8);
    let reads = small.iter().filter(|call| call.name == "preadv2" && call.returned != Some(32));
    let reads: Vec<_> = reads.map(|call| call.returned).collect();
    let small_bytes = i64::try_from(SMALL_BYTES).unwrap();
    assert_eq!(reads, [Some(small_bytes); 2], "one read a response");
    assert_eq!(looks(&small), 2, "looked at and opened once, for both");
}

#[test]
fn a_large_file_in_a_tar_leaves_by_sendfile_and_no_byte_of_it_is_read() {
    if strace::is_inside() {
        return serve_between_marks(fetch_archive);
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).unwrap().run().unwrap();
    trace.assert_success();
    let large = |call: &&Call| call.arguments.contains(LARGE);
    let calls: Vec<Call> = trace.marked().iter().filter(large).cloned().collect();
    assert_eq!(strace::bytes(&calls, "sendfile"), LARGE_BYTES);
    for name in ["read", "pread64", "readv"] {
        assert_eq!(strace::bytes(&calls, name), 0, "{name}");
    }
    let probes = calls.iter().filter(|call| call.name == "preadv2");
    assert!(probes.clone().all(|call| call.returned <= Some(32)), "{probes:?}");
}
