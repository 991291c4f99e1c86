//! Connections of several transfers at one end that listens, and ends of another version.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;

use crate::running::Running;

use super::verified::end_of_nine;
use super::{Waiting, assert_payload, command, failure, names, patterned, utf8};

const LEN: u64 = 9_876_543;

/// A greeting over a connection of this transfer.
fn greeting(word: &str, transfer: u8) -> Vec<u8> {
    [format!("underpass-{word} 2\n").as_bytes(), &[transfer; 16]].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().copied().flat_map(u64::to_be_bytes).collect()
}

/// Reads these bytes, and no others.
fn hear(peer: &mut TcpStream, wanted: &[u8]) {
    let mut got = vec![0; wanted.len()];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(got.escape_ascii().to_string(), wanted.escape_ascii().to_string());
}

/// One connection's share of a transfer by hand: half of its 18 bytes.
fn share(offset: u64) -> Vec<u8> {
    let head = [b"underpass-ranges 2\n".to_vec(), numbers(&[2, offset, 18, 9])].concat();
    [head, b"123456789".to_vec(), end_of_nine()].concat()
}

#[test]
fn two_senders_with_several_connections_each_are_both_served() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let (to, inbox) = (dir.path().join("to"), dir.path().join("inbox"));
    std::fs::create_dir(&inbox).unwrap();
    for sink in [&to, &inbox] {
        let arguments = ["--keep-listening", "--parallel", "4", "tcp-listen://0", utf8(sink)];
        let waiting = Waiting::start(&arguments);
        for _ in 0..5 {
            let arguments = ["-q", "--parallel", "4", utf8(&from), &waiting.address];
            let senders: Vec<_> = (0..4)
                .map(|_| command(&arguments).stderr(Stdio::piped()).spawn().unwrap())
                .collect();
            for sender in senders {
                let output = sender.wait_with_output().unwrap();
                let line = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(0), "{line}");
            }
        }
        waiting.signal(Signal::TERM);
        let (code, _, lines) = waiting.end();
        assert_eq!((code, lines.lines().count()), (Some(0), 20), "{lines}");
    }
    assert_payload(&to, 0, LEN);
    assert_eq!(names(&inbox).len(), 20);
    for name in names(&inbox) {
        assert_payload(&inbox.join(name), 0, LEN);
    }
}

/// Begins a transfer of two connections by hand, and sends the first's share.
fn begin(address: &str) -> TcpStream {
    let mut first = TcpStream::connect(address).unwrap();
    first.write_all(&greeting("verify", 7)).unwrap();
    hear(&mut first, &[b"underpass-verify 2\n", &[0; 16][..], b"underpass-entire 2\n"].concat());
    first.write_all(&share(0)).unwrap();
    first
}

/// Ends it with the second connection.
fn end(mut first: TcpStream, address: &str) {
    let mut second = TcpStream::connect(address).unwrap();
    second.write_all(&greeting("joined", 7)).unwrap();
    second.write_all(&share(9)).unwrap();
    hear(&mut second, &[b"underpass-verify 2\n", &[0; 16][..], &end_of_nine()[8..]].concat());
    hear(&mut first, &end_of_nine()[8..]);
}

/// A sender that has been told to wait for its turn.
fn queued(from: &Path, address: &str) -> Running {
    let mut sender = command(&["--parallel", "4", utf8(from), address]);
    let running = Running::start(sender.stdout(Stdio::null()));
    assert_eq!(running.line, "the other end serves others first; waiting\n");
    running
}

#[test]
fn who_comes_between_two_connections_of_another_waits_and_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let waiting = Waiting::start(&["--keep-listening", "--verify", "tcp-listen://0", utf8(&to)]);
    let (host, port) = waiting.host_and_port();
    let address = format!("{host}:{port}");
    let silent = TcpStream::connect(&address).unwrap();
    let first = begin(&address);
    let between = queued(&from, &waiting.address);
    end(first, &address);
    let (code, _, line) = between.end();
    assert_eq!(code, Some(0), "{line}");
    assert!(line.contains("; confirmed by the other end"), "{line}");
    waiting.signal(Signal::TERM);
    let (_, _, lines) = waiting.end();
    // The sender hears that all has arrived before that has its name.
    assert_payload(&to, 0, LEN);
    assert!(lines.contains(": 18 bytes in "), "{lines}");
    // The silent peer was waited for until the end, and delayed no other.
    assert!(lines.contains(&format!("({})", silent.local_addr().unwrap())), "{lines}");
}

#[test]
fn who_comes_when_too_many_wait_is_told_to_come_later() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let waiting = Waiting::start(&["--keep-listening", "--verify", "tcp-listen://0", utf8(&to)]);
    let (host, port) = waiting.host_and_port();
    let address = format!("{host}:{port}");
    let first = begin(&address);
    let comes = |transfer, word: &[u8]| {
        let mut peer = waiting.connect();
        peer.write_all(&greeting("verify", transfer)).unwrap();
        hear(&mut peer, &[b"underpass-verify 2\n", &[0; 16][..], word].concat());
        peer
    };
    let queue: Vec<_> = (100..164).map(|it| comes(it, b"underpass-queued 2\n")).collect();
    let mut late = comes(164, b"underpass-refuse 2\n");
    assert_eq!(late.read(&mut [0]).unwrap(), 0);
    // The connections of a transfer that has a place still come.
    end(first, &address);
    drop(queue);
}

#[test]
fn receivers_of_a_sender_that_listens_are_not_mixed_either() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", 3 << 20), dir.path().join("to"));
    let arguments = ["-q", "--keep-listening", "--parallel", "2", utf8(&from), "tcp-listen://0"];
    let mut waiting = Waiting::start(&arguments);
    let mut ours = [waiting.connect(), waiting.connect()];
    ours[0].write_all(&greeting("verify", 7)).unwrap();
    ours[0].write_all(b"underpass-entire 2\n").unwrap();
    hear(&mut ours[0], &greeting("verify", 7));
    let half = 3 << 19;
    let head = |from| [b"underpass-ranges 2\n".to_vec(), numbers(&[2, from, 3 << 20, half])];
    hear(&mut ours[0], &head(0).concat());
    let (code, line) = failure(&["--parallel", "2", &waiting.address, utf8(&to)]);
    assert_eq!(code, Some(0), "{line}");
    assert_payload(&to, 0, 3 << 20);
    ours[1].write_all(&greeting("joined", 7)).unwrap();
    hear(&mut ours[1], &greeting("joined", 7));
    hear(&mut ours[1], &head(half).concat());
    let stranger = &mut waiting.connect();
    stranger.write_all(&greeting("joined", 8)).unwrap();
    let mut line = String::new();
    while !line.contains("it belongs to a transfer that this end does not") {
        line = waiting.running.next_line();
        assert!(!line.is_empty(), "it says no more");
    }
}

#[test]
fn an_end_for_one_peer_tells_others_that_it_serves_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let waiting = Waiting::start(&["--verify", "tcp-listen://0", utf8(&to)]);
    let (host, port) = waiting.host_and_port();
    let address = format!("{host}:{port}");
    let first = begin(&address);
    let silent = TcpStream::connect(&address).unwrap();
    for flags in [&["--verify"][..], &["--parallel", "4"]] {
        let (code, line) = failure(&[flags, &[utf8(&from), &waiting.address]].concat());
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
        let why = "it serves others and has no room for one more; copy again later, or start it \
                   with --keep-listening";
        assert!(line.contains(why) && line.contains(&waiting.address), "{line}");
    }
    end(first, &address);
    waiting.succeed();
    assert_eq!(std::fs::read(&to).unwrap(), b"123456789123456789");
    drop(silent);
}

#[test]
fn ends_of_another_version_get_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let old = b"underpass-verify 1\n";
    let clear = "it speaks version 1 of the exchange and this end version 2; run the same \
                 underpass at both ends";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let (read, write) = ([utf8(&from), &address], [&address, utf8(&to)]);
    for ends in [read, write] {
        let child = command(&[&["--verify"], &ends[..]].concat());
        let child = { child }.stderr(Stdio::piped()).spawn().unwrap();
        let mut peer = listener.accept().unwrap().0;
        peer.write_all(old).unwrap();
        let output = child.wait_with_output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.contains(clear), "{line}");
    }
    for ends in [[utf8(&from), "tcp-listen://0"], ["tcp-listen://0", utf8(&to)]] {
        let waiting = Waiting::start(&[&["--verify"], &ends[..]].concat());
        let mut peer = waiting.connect();
        peer.write_all(old).unwrap();
        let (code, _, line) = waiting.end();
        assert_eq!((code, line.lines().count()), (Some(1), 1), "{line}");
        assert!(line.contains(clear), "{line}");
    }
    assert!(!to.exists());
}
