//! Frames of HTTP/2 for `serve`: what comes back are frames, and the server still serves.
//!
//! The input is a list of frames: kind, flags, stream and length in a byte each, and the payload.
#![no_main]

use std::io::{Read, Write};
use std::net::Shutdown;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::http1::read_all;
use underpass_fuzz::server::{DIGITS, connect};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0the last";
const PONG: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0the last";

const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fuzz_target!(|input: &[u8]| {
    let mut wire = PREFACE.to_vec();
    let mut rest = input;
    while let [kind, flags, stream, len, more @ ..] = rest {
        let len = usize::from(*len).min(more.len());
        let (payload, next) = more.split_at(len);
        wire.extend([0, 0, u8::try_from(len).expect("a byte"), *kind, *flags, 0, 0, 0, *stream]);
        wire.extend(payload);
        rest = next;
    }
    // Where the client leaves, nothing more is answered.
    wire.extend(PING);
    check(&converse(&wire, PONG));
    let request = b"GET /digits.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = converse(request, b"");
    assert!(answer.ends_with(DIGITS), "it serves others");
});

/// Each frame is whole, but for the last.
fn check(mut answer: &[u8]) {
    while answer.len() >= 9 {
        let (head, rest) = answer.split_at(9);
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let kind = head[3];
        assert!(len <= 16_384 && kind <= CONTINUATION, "{head:?}");
        assert!(kind != GOAWAY || len >= 8, "{head:?}");
        if rest.len() < len {
            return;
        }
        answer = &rest[len..];
    }
}

/// What the server answers to all of this, if the client leaves once it has seen the `last`.
fn converse(wire: &[u8], last: &[u8]) -> Vec<u8> {
    let mut peer = connect(|server| server);
    // It may have closed.
    drop(peer.write_all(wire));
    let mut answer = Vec::new();
    while !last.is_empty() && !answer.windows(last.len()).any(|part| part == last) {
        let mut more = [0; 4096];
        match peer.read(&mut more) {
            Ok(0) | Err(_) => break,
            Ok(n) => answer.extend_from_slice(&more[..n]),
        }
    }
    drop(peer.shutdown(Shutdown::Write));
    answer.extend(read_all(peer));
    answer
}
