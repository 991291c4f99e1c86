//! Frames that are cut, slow, endless or not frames, next to a client that goes about its business.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::log::batch::{self, Sequence};

use super::Broker;

/// A request: key, version, a number, no client id, and a body.
fn request(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut head = [key.to_be_bytes(), version.to_be_bytes()].concat();
    head.extend([0, 0, 0, 9, 0xff, 0xff]);
    let length = i32::try_from(head.len() + body.len()).unwrap();
    [&length.to_be_bytes()[..], &head, body].concat()
}

/// Whether a client stays when it has sent its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Stays,
    Leaves,
}

/// What comes until the server ends a connection on which these bytes are sent.
fn told(broker: &Broker, sent: &[u8], client: Client) -> Vec<u8> {
    let mut stream = TcpStream::connect(broker.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut read = Vec::new();
    stream.write_all(sent).unwrap();
    if client == Client::Leaves {
        stream.shutdown(Shutdown::Write).unwrap();
    }
    match stream.read_to_end(&mut read) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("it waits"),
        _ => read,
    }
}

/// Fails unless the server still appends.
fn assert_serves(broker: &Broker) {
    let batch = batch::of(&["after"], 1, Sequence::NONE);
    assert_eq!(broker.client().produce("t", 0, -1, &batch).unwrap().error, 0);
}

/// Memory of the server that is not of a file, in KiB.
fn anonymous_kib(broker: &Broker) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.running.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn what_is_not_a_request_ends_its_connection_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    // No transactional id, acks 1, 1,000 ms, and 2^31 - 1 topics: kafka-protocol 0.18 aborts.
    let twelve = [0xff, 0xff, 0, 1, 0, 0, 3, 0xe8, 0x7f, 0xff, 0xff, 0xff];
    let before = anonymous_kib(&broker);
    let frames: [&[u8]; 11] = [
        &request(0, 3, &twelve),
        &request(0, 8, &twelve),
        // Fetch 4, ListOffsets 1, Metadata 1 and CreateTopics 2 of as many topics or partitions.
        &request(1, 4, &[&[0xff; 4][..], &[0; 13], &[0x7f, 0xff, 0xff, 0xff]].concat()),
        &request(2, 1, &[0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        &request(3, 1, &[0x7f, 0xff, 0xff, 0xff]),
        &request(19, 2, &[0x7f, 0xff, 0xff, 0xff]),
        // A key and a version that there are not.
        &request(999, 0, &[]),
        &request(0, 99, &twelve),
        // Lengths: the largest, a negative.
        &[0x7f, 0xff, 0xff, 0xff, 0],
        &[0xff, 0xff, 0xff, 0xff, 0],
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for frame in frames {
        assert_eq!(told(&broker, frame, Client::Stays), b"", "{frame:x?}");
    }
    assert_serves(&broker);
    let grown = anonymous_kib(&broker).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn what_is_shorter_than_a_header_is_refused_by_its_length_and_the_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("lines");
    let broker = Broker::start_with(&dir.path().join("data"), &["--log", log.to_str().unwrap()]);
    for length in 0..8 {
        // No byte of it is waited for.
        assert_eq!(told(&broker, &[0, 0, 0, length], Client::Stays), b"", "{length}");
    }
    broker.running.signal(Signal::TERM);
    assert_eq!(broker.running.end_of_text(), (Some(0), String::new(), String::new()));
    let lines = std::fs::read_to_string(log).unwrap();
    for (length, line) in lines.lines().enumerate() {
        let why = format!("a request cannot have {length} bytes; its header alone has 8");
        let end = format!(" requests=0 received=0 sent=0 end=cut why=\"{why}\"");
        assert!(line.ends_with(&end), "{line}");
    }
    assert_eq!(lines.lines().count(), 8, "{lines}");
}

#[test]
fn every_cut_of_a_request_is_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let batch = batch::of(&["cut"], 1, Sequence::NONE);
    let length = i32::try_from(batch.len()).unwrap().to_be_bytes();
    let head = [0xff, 0xff, 0, 1, 0, 0, 3, 0xe8, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0];
    let whole = request(0, 3, &[&head[..], &length, &batch].concat());
    for len in 0..whole.len() {
        assert_eq!(
            told(&broker, &whole[..len], Client::Leaves),
            b"",
            "{len} of {} bytes",
            whole.len()
        );
    }
    // As a whole frame, the same cut is one that cannot be read.
    for len in 4..whole.len() {
        let mut frame = whole[..len].to_vec();
        let length = u32::try_from(len - 4).unwrap();
        frame[..4].copy_from_slice(&length.to_be_bytes());
        assert_eq!(told(&broker, &frame, Client::Stays), b"", "a frame of {length} bytes");
    }
    // Length, number, one topic, `t`, one partition, 0, no error, offset 0.
    let answer = told(&broker, &whole, Client::Leaves);
    assert_eq!(answer[4..8], [0, 0, 0, 9]);
    assert_eq!(
        answer[8..33],
        [0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn slow_and_silent_clients_hold_no_memory_and_no_one_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.create("t", &[]);
    let before = anonymous_kib(&broker);
    // Each claims 100 MiB, and sends some of it, then more.
    let claimed = (100_i32 << 20).to_be_bytes();
    let slow: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(broker.address).unwrap();
            stream.write_all(&[&claimed[..], &[0; 100]].concat()).unwrap();
            stream
        })
        .collect();
    assert_serves(&broker);
    for mut stream in &slow {
        stream.write_all(&[0; 100]).unwrap();
    }
    let mut byte_by_byte = TcpStream::connect(broker.address).unwrap();
    byte_by_byte.set_nodelay(true).unwrap();
    // ApiVersions 0.
    for byte in request(18, 0, &[]) {
        byte_by_byte.write_all(&[byte]).unwrap();
        assert_serves(&broker);
    }
    let mut answer = [0; 10];
    byte_by_byte.read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [0, 0, 0, 9, 0, 0]);
    let grown = anonymous_kib(&broker).saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more for {} connections", slow.len());
}
