//! What a client of HTTP/2 cannot do: frames as they are, byte by byte.
//!
//! Source: RFC 9113 §4.1, §6, §10.5; CVE-2023-44487 (resets), CVE-2024-27316 (continuations),
//! CVE-2019-9512 (pings), CVE-2019-9515 (settings).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use h2::Reason;
use underpass_testkit::wait;

use crate::fixture::{Fixture, LARGE_BYTES, fixture};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for `/large.bin`, in literals and entries of the static table.
fn get(stream: u32) -> Vec<u8> {
    let path = b"/large.bin";
    let head = [&[0x82, 0x86, 0x01, 1, b'x', 0x04, 10][..], path].concat();
    frame(HEADERS, WHOLE, stream, &head)
}

/// A client that has said that it speaks HTTP/2.
pub(crate) fn begin(server: &Fixture) -> TcpStream {
    let mut peer = server.connect();
    peer.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    peer
}

/// Kind, stream and payload of the next frame; nothing at the end.
pub(crate) fn next(peer: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    match peer.read_exact(&mut head) {
        Ok(()) => {}
        Err(error) if is_end(error.kind()) => return None,
        Err(error) => panic!("{error}"),
    }
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    match peer.read_exact(&mut payload) {
        Ok(()) => Some((head[3], u32::from_be_bytes(head[5..].try_into().unwrap()), payload)),
        Err(error) if is_end(error.kind()) => None,
        Err(error) => panic!("{error}"),
    }
}

fn is_end(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// The reason of the GOAWAY that the connection ends with.
fn reason_at_end(peer: &mut TcpStream) -> Option<Reason> {
    let mut reason = None;
    while let Some((kind, _, payload)) = next(peer) {
        if kind == GOAWAY {
            reason = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()).into());
        }
    }
    reason
}

/// Sends it again and again without reading; how many bytes until the server takes no more.
fn flood(mut peer: &TcpStream, frames: &[u8], most: usize) -> usize {
    peer.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut sent = 0;
    while sent < most {
        match peer.write(frames) {
            Ok(n) => sent += n,
            Err(_) => break,
        }
    }
    sent
}

fn is_serving(server: &Fixture) -> bool {
    let mut peer = begin(server);
    peer.write_all(&get(1)).unwrap();
    while let Some((kind, stream, _)) = next(&mut peer) {
        if (kind, stream) == (HEADERS, 1) {
            return true;
        }
    }
    false
}

#[test]
fn a_preface_may_come_byte_by_byte() {
    let mut peer = fixture().connect();
    peer.set_nodelay(true).unwrap();
    for byte in PREFACE {
        peer.write_all(&[*byte]).unwrap();
        std::thread::yield_now();
    }
    peer.write_all(&[frame(SETTINGS, 0, 0, &[]), get(1)].concat()).unwrap();
    assert_eq!(next(&mut peer).unwrap().0, SETTINGS);
    while next(&mut peer).unwrap().0 != HEADERS {}
}

#[test]
fn what_only_begins_like_a_preface_is_a_request_of_http_1() {
    for (text, status) in [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "505"),
        ("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "505"),
        ("PR", "400"),
        ("PRI /digits.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "405"),
        ("GET /empty.txt HTTP/1.1\r\nHost: x\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505"),
    ] {
        let mut peer = fixture().connect();
        peer.write_all(text.as_bytes()).unwrap();
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{text:?}: {answer}");
    }
}

#[test]
fn a_connection_that_began_with_http_1_stays_with_it() {
    let mut peer = fixture().connect();
    peer.write_all(b"GET /empty.txt HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    peer.write_all(PREFACE).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
}

#[test]
fn a_client_that_asks_and_does_not_want_is_told_to_calm_down() {
    let server = Fixture::alone();
    let mut peer = begin(&server);
    // Each is begun, and then reset: h2 counts only those that wait to be begun.
    for round in 0..100 {
        let streams: Vec<u32> = (0..100).map(|nth| 200 * round + 2 * nth + 1).collect();
        let asking: Vec<u8> = streams.iter().flat_map(|stream| get(*stream)).collect();
        peer.write_all(&asking).unwrap();
        let mut begun = 0;
        while begun < streams.len() {
            match next(&mut peer) {
                Some((HEADERS, ..)) => begun += 1,
                Some((GOAWAY, _, payload)) => {
                    assert_eq!(payload[4..8], [0, 0, 0, 11], "ENHANCE_YOUR_CALM");
                    assert!((5..50).contains(&round), "in round {round}");
                    return assert!(is_serving(&server));
                }
                Some(_) => {}
                None => panic!("an end in round {round}"),
            }
        }
        let reset = streams.iter().flat_map(|it| frame(RST_STREAM, 0, *it, &[0, 0, 0, 8]));
        peer.write_all(&reset.collect::<Vec<_>>()).unwrap();
    }
    panic!("it was served all the time");
}

#[test]
fn more_streams_than_may_be_are_refused_and_the_others_served() {
    let mut peer = begin(fixture());
    let many: Vec<u8> = (0..200).flat_map(|nth| get(2 * nth + 1)).collect();
    peer.write_all(&many).unwrap();
    let (mut begun, mut refused) = (0, 0);
    while begun + refused < 200 {
        match next(&mut peer).unwrap() {
            (HEADERS, ..) => begun += 1,
            (RST_STREAM, _, reason) => {
                assert_eq!(reason, [0, 0, 0, 7], "REFUSED_STREAM");
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!((begun, refused), (128, 72));
}

#[test]
fn content_that_is_not_wanted_is_stopped_after_the_whole_answer() {
    let mut peer = begin(fixture());
    let post = frame(HEADERS, 4, 1, &[0x83, 0x86, 0x01, 1, b'x', 0x84]);
    let content = frame(DATA, 0, 1, &[7; 16_000]).repeat(4);
    peer.write_all(&[post, content].concat()).unwrap();
    let (mut kinds, mut window) = (Vec::new(), 0);
    while kinds.last() != Some(&RST_STREAM) || window < 32_000 {
        match next(&mut peer).unwrap() {
            // That of the connection is not used up by it.
            (WINDOW_UPDATE, 0, payload) => {
                window += u32::from_be_bytes(payload.try_into().unwrap());
            }
            (kind, 1, payload) => {
                kinds.push(kind);
                assert!(kind != RST_STREAM || payload == [0; 4], "NO_ERROR, not {payload:?}");
            }
            _ => {}
        }
    }
    assert_eq!(kinds, [HEADERS, DATA, RST_STREAM]);
}

#[test]
fn a_head_without_end_is_given_up() {
    let server = Fixture::alone();
    let peer = begin(&server);
    let mut reader = peer.try_clone().unwrap();
    let reading = std::thread::spawn(move || reason_at_end(&mut reader));
    (&peer).write_all(&frame(HEADERS, 1, 1, &[0x82, 0x86])).unwrap();
    // A field of 1 KiB that no table has, over and over.
    let field = [&[0x00, 1, b'a', 0x7f, 0x81, 0x07][..], &[b'x'; 1024]].concat();
    let more = frame(CONTINUATION, 0, 1, &field.repeat(15));
    // What comes after the end is discarded for a while.
    flood(&peer, &more, 8 << 20);
    drop(peer);
    assert_eq!(reading.join().unwrap(), Some(Reason::ENHANCE_YOUR_CALM));
    assert!(is_serving(&server));
}

#[test]
fn what_is_to_be_answered_is_not_read_while_the_answers_are_not() {
    let server = Fixture::alone();
    for frames in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])] {
        let peer = begin(&server);
        let sent = flood(&peer, &frames.repeat(1000), 256 << 20);
        assert!(sent < 128 << 20, "{sent} bytes of {frames:?} were taken");
        assert!(is_serving(&server));
    }
}

#[test]
fn frames_that_break_the_rules_end_the_connection() {
    let upper = [&[0x82, 0x86, 0x01, 1, b'x', 0x84, 0x00, 1, b'A', 1, b'b'][..]].concat();
    let connection =
        [&[0x82, 0x86, 0x01, 1, b'x', 0x84, 0x00, 10][..], b"connection", &[1, b'b']].concat();
    for (told, frames, is_of_connection) in [
        ("a stream of the server's", get(2), true),
        ("a frame that is too large", frame(0, 0, 1, &[0; 16_385]), true),
        ("content of no stream", frame(0, 0, 1, &[0; 10]), true),
        ("a ping that is too short", frame(PING, 0, 0, &[0; 7]), true),
        ("a window of nothing", frame(8, 0, 0, &[0; 4]), true),
        ("an unknown table entry", frame(HEADERS, WHOLE, 1, &[0xff, 0xff, 0x7f]), true),
        ("a name in capitals", frame(HEADERS, WHOLE, 1, &upper), true),
        ("a field of the connection", frame(HEADERS, WHOLE, 1, &connection), false),
    ] {
        let mut peer = begin(fixture());
        peer.write_all(&frames).unwrap();
        if is_of_connection {
            let reason = reason_at_end(&mut peer);
            assert!(reason.is_some_and(|reason| reason != Reason::NO_ERROR), "{told}: {reason:?}");
            continue;
        }
        loop {
            let (kind, ..) = next(&mut peer).unwrap_or_else(|| panic!("{told}: an end"));
            assert_ne!(kind, HEADERS, "{told}");
            if kind == RST_STREAM {
                break;
            }
        }
    }
}

/// What h2 refuses by itself has its line too, and its place in the metrics.
#[test]
fn what_never_became_a_request_is_logged_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let connection =
        [&[0x82, 0x86, 0x01, 1, b'x', 0x84, 0x00, 10][..], b"connection", &[1, b'b']].concat();
    // More than is read of a head: fields of 16,000 bytes, five times.
    let field = [&[0x00, 1, b'a', 0x7f, 0x81, 0x7c][..], &[b'x'; 16_000]].concat();
    let continued = (1..5).map(|nth| frame(CONTINUATION, if nth == 4 { 4 } else { 0 }, 3, &field));
    let begun = frame(HEADERS, 1, 3, &[0x82, 0x86, 0x01, 1, b'x', 0x84]);
    let large = [begun, frame(CONTINUATION, 0, 3, &field), continued.collect::<Vec<_>>().concat()];
    let mut peer = begin(&server);
    peer.write_all(&frame(HEADERS, WHOLE, 1, &connection)).unwrap();
    while next(&mut peer).unwrap().0 != RST_STREAM {}
    peer.write_all(&large.concat()).unwrap();
    while next(&mut peer).unwrap().0 != HEADERS {}
    peer.write_all(&frame(PING, 0, 0, &[0; 7])).unwrap();
    assert_eq!(reason_at_end(&mut peer), Some(Reason::PROTOCOL_ERROR));
    let text = wait::until(Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.lines().count() >= 3).then_some(text)
    });
    let lines = text.unwrap();
    let lines: Vec<_> = lines.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    let line = |status| format!("\"PRI * HTTP/2.0\" {status} 0 \"-\" \"-\"");
    assert_eq!(lines, [line(400), line(431), line(400)]);
    for (series, expected) in [
        ("requests_total{status=\"4xx\"}", 3),
        ("http2_errors_total{code=\"PROTOCOL_ERROR\"}", 2),
        ("http2_errors_total{code=\"STREAM_CLOSED\"}", 0),
    ] {
        assert_eq!(server.metric(series), expected, "{series}");
    }
}

/// A client with wide windows that has asked for three large files, and takes nothing; how many
/// bytes its socket and the server's have.
fn full(server: &Fixture) -> (TcpStream, u64) {
    let mut peer = server.connect();
    let wide = frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    let wider = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    peer.write_all(&[PREFACE, &wide, &wider, &get(1), &get(3), &get(5)].concat()).unwrap();
    let (mut last, mut same) = (0, 0);
    let is_full = || {
        let sent = server.metric("sent_bytes_total");
        same = if sent == last { same + 1 } else { 0 };
        last = sent;
        (same == 100 && sent > 100_000).then_some(())
    };
    wait::until(Duration::from_secs(20), is_full).expect("the socket is full");
    (peer, last)
}

/// What it would have next is not read.
#[test]
fn of_a_file_that_a_client_does_not_take_a_frame_is_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Fixture::logging(&log);
    let (peer, sent) = full(&server);
    drop(peer);
    let text = wait::until(Duration::from_secs(20), || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        (text.lines().count() == 3).then_some(text)
    });
    let text = text.unwrap();
    let bytes = |line: &str| line.rsplit(' ').nth(2).unwrap().parse::<u64>().unwrap();
    let handed_on: u64 = text.lines().map(bytes).sum();
    assert!(handed_on < sent + (40 << 10), "{handed_on} of {sent}: {text}");
    assert!(handed_on < 3 * LARGE_BYTES as u64, "all of it was taken");
}

#[test]
fn a_client_that_takes_long_to_read_gets_all() {
    let (mut peer, _) = full(&Fixture::alone());
    let mut left = 3 * LARGE_BYTES;
    while left > 0 {
        let (kind, _, payload) = next(&mut peer).expect("more comes");
        assert_ne!(kind, RST_STREAM);
        left -= if kind == DATA { payload.len() } else { 0 };
    }
}

#[test]
fn an_idle_connection_gives_up_its_place_and_says_so() {
    let server = Fixture::small(1);
    let mut idle = begin(&server);
    idle.write_all(&get(1)).unwrap();
    // It reads nothing of the rest: it wants no more of it.
    while next(&mut idle).unwrap().0 != HEADERS {}
    idle.write_all(&frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])).unwrap();
    let mut other = server.connect();
    other.write_all(b"GET /digits.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    other.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("0123456789"), "{answer}");
    assert_eq!(reason_at_end(&mut idle), Some(Reason::NO_ERROR));
}
