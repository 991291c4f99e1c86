//! Messages of the Kafka protocol, next to the crate kafka-protocol.
//!
//! Input: a frame of a request behind its length; or a byte of 128 plus a key, a version, and the
//! response to it.
#![no_main]

use std::alloc::System;

use bytes::Bytes;
use cap::Cap;
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use libfuzzer_sys::fuzz_target;
use underpass_log::fuzzing::{self, Decoded};

/// No input needs more than this.
const MEMORY_BYTES: usize = 512 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY_BYTES);

/// What decoding may take for each byte of a frame, and for a short one.
const BYTES_PER_BYTE: usize = 16;
const BYTES_MIN: usize = 1024;

/// The frame itself, and what counts its owners.
const FRAME_BYTES: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    if let [key @ 128..=255, version, body @ ..] = bytes {
        let (key, version) = (i16::from(key & 127), i16::from(*version));
        let read = fuzzing::response(key, version, body);
        return read.iter().for_each(|read| compare(body, read, true));
    }
    let before = ALLOCATOR.total_allocated();
    let read = fuzzing::request(bytes, false);
    let took = ALLOCATOR.total_allocated() - before;
    let most = (BYTES_PER_BYTE * bytes.len()).max(BYTES_MIN) + bytes.len() + FRAME_BYTES;
    assert!(took <= most, "{took} bytes of memory for {} of a frame: {read:?}", bytes.len());
    if read.is_some() {
        let read = fuzzing::request(bytes, true).expect("the same again");
        compare(bytes, &read, false);
    }
});

/// What was read here the other crate reads too, to the same byte; unless there are tagged fields
/// that are not known here.
fn compare(bytes: &[u8], read: &Decoded, is_response: bool) {
    if read.head_bytes + read.written + read.left != bytes.len() {
        return;
    }
    let mut rest = Bytes::copy_from_slice(&bytes[read.head_bytes..]);
    let key = ApiKey::try_from(read.key).expect("a key of Kafka");
    let theirs = if is_response {
        ResponseKind::decode(key, &mut rest, read.version).map(drop)
    } else {
        RequestKind::decode(key, &mut rest, read.version).map(drop)
    };
    theirs.unwrap_or_else(|error| panic!("{error:?}: {read:?}"));
    assert_eq!(rest.len(), read.left, "{read:?}");
}
