//! `--verify` between two ends, and with ends that know nothing of it or alter what passes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::wait;

use super::{Waiting, assert_payload, command, failure, names, patterned, utf8};

const LEN: u64 = 2_345_678;

#[test]
fn both_ends_confirm_a_file_and_a_stream() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    for source in [utf8(&from), "-"] {
        let waiting = Waiting::start(&["--verify", "tcp-listen://0", utf8(&to)]);
        let mut command = command(&["--verify", source, &waiting.address]);
        let output = command.stdin(std::fs::File::open(&from).unwrap()).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && line.contains("confirmed by the other end"), "{line}");
        let (code, _, line) = waiting.end();
        assert_eq!(code, Some(0), "{line}");
        assert!(line.contains("; splice, ") && line.contains(" 0 bytes through user"), "{line}");
        assert_payload(&to, 0, LEN);
        std::fs::remove_file(&to).unwrap();
    }
}

/// Passes bytes on, with the one at `at` of the sender's changed; ends after `len` of them.
fn meddle(at: usize, len: usize, receiver: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let mut onward = TcpStream::connect(receiver.strip_prefix("tcp://").unwrap()).unwrap();
    std::thread::spawn(move || {
        let mut sender = listener.accept().unwrap().0;
        let (mut back, mut forth) = (onward.try_clone().unwrap(), sender.try_clone().unwrap());
        let returning = std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = back.read(&mut block) {
                if forth.write_all(&block[..n]).is_err() {
                    break;
                }
            }
        });
        let (mut block, mut seen) = ([0; 4096], 0);
        while let Ok(n @ 1..) = sender.read(&mut block) {
            if (seen..seen + n).contains(&at) {
                block[at - seen] ^= 1;
            }
            seen += n;
            if onward.write_all(&block[..n]).is_err() || seen >= len {
                break;
            }
        }
        if seen >= len {
            // An end that waits for more finds out.
            drop(onward.shutdown(std::net::Shutdown::Both));
            drop(sender.shutdown(std::net::Shutdown::Both));
        }
        returning.join().unwrap();
    });
    address
}

#[test]
fn an_altered_or_cut_transfer_fails_at_both_ends_and_gets_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let inside = dir.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let to = inside.join("to");
    for (at, len, part) in [
        (1_000_000, usize::MAX, "altered or truncated: 2345678 bytes with BLAKE3"),
        (usize::MAX, 1_000_000, " of 2345678 bytes"),
    ] {
        let waiting = Waiting::start(&["--verify", "tcp-listen://0", utf8(&to)]);
        let between = meddle(at, len, &waiting.address);
        let (code, line) = failure(&["--verify", utf8(&from), &between]);
        assert_eq!(code, Some(1), "{line}");
        let (theirs, _, other) = waiting.end();
        assert_eq!(theirs, Some(1), "{other}");
        assert!(other.contains(part), "{other}");
        assert_eq!(names(&inside), [""; 0]);
    }
}

#[test]
fn a_peer_that_does_not_verify_gets_no_byte_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let from = patterned(dir.path(), "from", LEN);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let child =
        command(&["--verify", utf8(&from), &address]).stderr(Stdio::piped()).spawn().unwrap();
    let mut peer = listener.accept().unwrap().0;
    peer.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        line.contains("it sent something else than a greeting; is it underpass copy --verify?"),
        "{line}"
    );
    let mut got = Vec::new();
    // The unread bytes of the greeting make the end a reset.
    drop(peer.read_to_end(&mut got));
    assert!(got.is_empty(), "{} bytes", got.len());
}

#[test]
fn one_file_goes_over_several_connections_whoever_listens() {
    const LEN: u64 = 9_876_543;
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let (read, write) = ([utf8(&from), "tcp-listen://0"], ["tcp-listen://0", utf8(&to)]);
    for (listening, is_sender) in [(write, false), (read, true)] {
        let waiting = Waiting::start(&[&["--parallel", "4"], &listening[..]].concat());
        let address = waiting.address.clone();
        let ends = if is_sender { [&*address, utf8(&to)] } else { [utf8(&from), &*address] };
        let output =
            command(&[&["--parallel", "4", "--json"], &ends[..]].concat()).output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}");
        let account: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&account["bytes"], &account["verified"]), (&LEN.into(), &true.into()));
        assert_eq!(account["through_user_space"], 0);
        let (code, _, line) = waiting.end();
        assert_eq!(code, Some(0), "{line}");
        assert_payload(&to, 0, LEN);
        std::fs::remove_file(&to).unwrap();
    }
}

/// What a sender says first: that it sends this transfer.
fn begins(transfer: u8) -> Vec<u8> {
    [&b"underpass-verify 2\n"[..], &[transfer; 16]].concat()
}

/// A receiver's first words, of which it says the last when the sender has greeted.
const RECEIVERS: &[u8] =
    b"underpass-verify 2\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0underpass-entire 2\n";

/// Greets a receiver that listens, with the name of a transfer that it takes.
fn greet(peer: &mut TcpStream, transfer: u8) {
    peer.write_all(&begins(transfer)).unwrap();
    let mut words = [0; RECEIVERS.len()];
    peer.read_exact(&mut words).unwrap();
    assert_eq!(words.escape_ascii().to_string(), RECEIVERS.escape_ascii().to_string());
}

/// What a sender says behind "123456789": no further frame, 9 bytes, and their digest.
pub(super) fn end_of_nine() -> Vec<u8> {
    // BLAKE3 of "123456789", by Python's blake3.
    let digest = "b7d65b48420d1033cb2595293263b6f72eabee20d55e699d0df1973b3c9deed1";
    let digits = digest.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let numbers = [0, 9].into_iter().flat_map(u64::to_be_bytes);
    numbers.chain(digits.map(byte)).collect()
}

#[test]
fn a_sender_that_stalls_holds_up_no_other_that_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let (from, inbox) = (patterned(dir.path(), "from", LEN), dir.path().join("inbox"));
    std::fs::create_dir(&inbox).unwrap();
    let arguments = ["--keep-listening", "--verify", "tcp-listen://0", utf8(&inbox)];
    let waiting = Waiting::start(&arguments);
    let (host, port) = waiting.host_and_port();
    let address = format!("{host}:{port}");
    let mut stalled = TcpStream::connect(&address).unwrap();
    greet(&mut stalled, 7);
    stalled.write_all(b"underpass-entire 2\n").unwrap();
    stalled.write_all(&9_u64.to_be_bytes()).unwrap();
    stalled.write_all(b"1234").unwrap();
    for connections in ["1", "4"] {
        let arguments = ["--verify", "--parallel", connections, utf8(&from), &waiting.address];
        let (code, lines) = failure(&arguments);
        assert_eq!(code, Some(0), "{lines}");
        assert!(lines.contains("confirmed by the other end"), "{lines}");
    }
    let end = end_of_nine();
    stalled.write_all(b"56789").unwrap();
    stalled.write_all(&end).unwrap();
    let mut answer = [0; 40];
    stalled.read_exact(&mut answer).unwrap();
    assert_eq!(answer, end[8..]);
    let arrived = || (names(&inbox).len() == 3).then_some(());
    wait::until(Duration::from_secs(10), arrived).expect("all have arrived");
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.end().0, Some(0));
    assert_payload(&inbox.join("peer-1"), 0, LEN);
    assert_payload(&inbox.join("peer-2"), 0, LEN);
    assert_eq!(std::fs::read(inbox.join("peer-3")).unwrap(), b"123456789");
}

#[test]
fn a_sender_that_goes_before_all_its_connections_have_come_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let waiting = Waiting::start(&["--verify", "tcp-listen://0", utf8(&to)]);
    let mut peer = waiting.connect();
    greet(&mut peer, 7);
    let mut wire = b"underpass-ranges 2\n".to_vec();
    wire.extend([2_u64, 0, 10, 5].into_iter().flat_map(u64::to_be_bytes));
    peer.write_all(&wire).unwrap();
    drop(peer);
    let (code, _, line) = waiting.end();
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("it closed before all of its connections were there"), "{line}");
    assert!(!to.exists());
}

#[test]
fn shares_that_do_not_make_a_file_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    // One connection of one, with a range that begins at 1 of 10.
    for (connections, why) in [(1_u64, "do not add up to the 10 bytes"), (65, "65 connections")] {
        let waiting = Waiting::start(&["--verify", "tcp-listen://0", utf8(&to)]);
        let mut peer = waiting.connect();
        greet(&mut peer, 7);
        let mut wire = b"underpass-ranges 2\n".to_vec();
        for number in [connections, 1, 10, 9] {
            wire.extend_from_slice(&number.to_be_bytes());
        }
        wire.extend_from_slice(b"123456789");
        wire.extend(end_of_nine());
        peer.write_all(&wire).unwrap();
        let (code, _, line) = waiting.end();
        assert_eq!(code, Some(1), "{line}");
        assert!(line.contains(why), "{line}");
        assert!(!to.exists());
    }
}
