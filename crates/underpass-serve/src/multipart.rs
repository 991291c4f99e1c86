//! Several parts of a file in one answer: multipart/byteranges.
//!
//! The parts leave as a range of the file does, by address; the lines between them are in memory.
//!
//! Source: RFC 9110 §14.6 (multipart/byteranges), §15.3.7.2; RFC 2046 §5.1.1 (boundary).

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::range;
use crate::representation::Representation;
use crate::sequence::{Segment, Sequence};

/// The media type of an answer in parts.
pub(crate) fn media_type() -> HeaderValue {
    HeaderValue::try_from(format!("multipart/byteranges; boundary={}", boundary()))
        .expect("hexadecimal digits are visible ASCII")
}

/// These parts of a file of `len` bytes, with a head before each.
pub(crate) fn of(file: &Arc<Representation>, parts: &[Range<u64>], len: u64) -> Sequence {
    let media_type = file.headers().get(CONTENT_TYPE);
    let mut before = "";
    let mut segments = Vec::with_capacity(2 * parts.len() + 1);
    for part in parts {
        let mut head = format!("{before}--{}\r\n", boundary()).into_bytes();
        // RFC 9110 §15.3.7.2: in each part, what it would have been in the 200.
        if let Some(media_type) = media_type {
            head.extend([b"Content-Type: ", media_type.as_bytes(), b"\r\n"].concat());
        }
        let place = range::content_range(part, len);
        head.extend([b"Content-Range: ", place.as_bytes(), b"\r\n\r\n"].concat());
        segments.push(Segment::Memory(Bytes::from(head)));
        segments.push(Segment::File(Arc::clone(file), part.clone()));
        before = "\r\n";
    }
    segments.push(Segment::Memory(Bytes::from(format!("\r\n--{}--\r\n", boundary()))));
    segments.into_iter().collect()
}

/// 128 random bits, the same for as long as the process runs: no file has them by chance.
fn boundary() -> &'static str {
    static BOUNDARY: OnceLock<String> = OnceLock::new();
    BOUNDARY.get_or_init(|| {
        let mut bits = [0; 16];
        // It never gives less than 256 bytes, and fails only where the kernel lacks it.
        let _filled = getrandom(&mut bits, GetRandomFlags::empty());
        format!("{:032x}", u128::from_ne_bytes(bits))
    })
}
