//! The chunked coding, next to hyper's decoder, and there and back again.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use underpass_client::fuzzing;
use underpass_fuzz::hyper_reads;

fuzz_target!(|bytes: &[u8]| {
    let (Some(content), Some(again)) = (decode(bytes, 1 << 16), decode(bytes, 3)) else {
        assert_eq!(decode(bytes, 1 << 16), decode(bytes, 3), "the size of a read matters");
        return written(bytes);
    };
    assert_eq!(content, again, "the size of a read matters");
    assert!(content.len() <= bytes.len());
    let response = [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], bytes].concat();
    if let Some((_, other)) = hyper_reads(&response) {
        assert_eq!(content, other, "hyper reads something else");
    }
    written(bytes);
});

/// The content, read in pieces of `most` bytes.
fn decode(wire: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut reader = fuzzing::chunked(wire);
    let (mut content, mut piece) = (Vec::new(), vec![0; most]);
    loop {
        match reader.read(&mut piece).ok()? {
            0 => return Some(content),
            n => content.extend_from_slice(&piece[..n]),
        }
    }
}

/// What is written is read back, by both.
fn written(content: &[u8]) {
    let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let head = wire.len();
    let pieces = content.split(|&byte| byte == b'\n');
    fuzzing::into_chunks(pieces, &mut wire).expect("a Vec takes everything");
    let expected: Vec<u8> = content.iter().copied().filter(|&byte| byte != b'\n').collect();
    assert_eq!(decode(&wire[head..], 4096).as_ref(), Some(&expected));
    let cut = head + content.len() % (wire.len() - head);
    assert_eq!(decode(&wire[head..cut], 4096), None, "cut at {cut}");
    assert_eq!(hyper_reads(&wire).map(|(_, content)| content), Some(expected));
}
