//! The answer to a plain request for a whole file: its head, and behind it the content of a small
//! one, in one buffer that one send(2) takes.

use bytes::{Bytes, BytesMut};
use http::header::HeaderMap;

use crate::date::Second;

const STATUS_LINE: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// What follows the date in a head.
const END: &[u8] = b"\r\n\r\n";

/// A head with the date of one second, and what is known of the content.
#[derive(Debug)]
pub(super) struct PlainAnswer {
    second: u64,
    head_bytes: usize,
    bytes: Bytes,
}

impl PlainAnswer {
    /// With these fields, and no content yet.
    pub(super) fn new(headers: &HeaderMap, now: &Second) -> Self {
        let head = Self::head_of(headers, now);
        Self { second: now.number(), head_bytes: head.len(), bytes: head.into() }
    }

    fn head_of(headers: &HeaderMap, now: &Second) -> Vec<u8> {
        let mut head = STATUS_LINE.to_vec();
        for (name, value) in headers {
            let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"];
            head.extend(line.concat());
        }
        head.extend([b"date: ", now.imf_fixdate().as_bytes(), END].concat());
        head
    }

    /// Whether it is that of this second.
    pub(super) const fn is_of(&self, now: &Second) -> bool {
        self.second == now.number()
    }

    /// Makes it that of another second.
    pub(super) fn set_date(&mut self, now: &Second) {
        let (end, date) = (self.head_bytes - END.len(), now.imf_fixdate().as_bytes());
        // Without a copy, unless a response of another second is still being sent.
        self.change(|bytes| bytes[end - date.len()..end].copy_from_slice(date));
        self.second = now.number();
    }

    /// The same where other fields depend on the second, too.
    pub(super) fn set_head(&mut self, headers: &HeaderMap, now: &Second) {
        let mut bytes = Self::head_of(headers, now);
        let head_bytes = bytes.len();
        bytes.extend_from_slice(&self.bytes[self.head_bytes..]);
        *self = Self { second: now.number(), head_bytes, bytes: bytes.into() };
    }

    pub(super) fn set_content(&mut self, content: &[u8]) {
        let head_bytes = self.head_bytes;
        self.change(|bytes| {
            bytes.truncate(head_bytes);
            bytes.extend_from_slice(content);
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut BytesMut)) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        change(&mut bytes);
        self.bytes = bytes.freeze();
    }

    pub(super) fn head(&self) -> Bytes {
        self.bytes.slice(..self.head_bytes)
    }

    /// Head and content, if the content is known.
    pub(super) fn whole(&self) -> Option<Bytes> {
        (self.bytes.len() > self.head_bytes).then(|| self.bytes.clone())
    }

    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_LENGTH;

    use super::*;

    const FIRST: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\
                           date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
    const NEXT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\
                          date: Sun, 06 Nov 1994 08:49:38 GMT\r\n\r\n";

    #[test]
    fn each_second_has_its_date_and_what_is_being_sent_keeps_its_own() {
        let headers = [(CONTENT_LENGTH, HeaderValue::from(2))].into_iter().collect();
        let mut answer = PlainAnswer::new(&headers, &Second::of(784_111_777));
        assert_eq!((answer.head(), answer.whole()), (FIRST.into(), None));
        answer.set_content(b"ab");
        let sent = answer.whole().unwrap();
        for is_being_sent in [true, false] {
            let held = is_being_sent.then(|| sent.clone());
            answer.set_date(&Second::of(784_111_778));
            assert_eq!(answer.whole().unwrap(), [NEXT, b"ab"].concat());
            assert_eq!(answer.head(), NEXT);
            drop(held);
            answer.set_date(&Second::of(784_111_777));
            assert_eq!(answer.whole().unwrap(), [FIRST, b"ab"].concat());
        }
        assert_eq!(sent, [FIRST, b"ab"].concat());
    }
}
