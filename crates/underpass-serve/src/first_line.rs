//! The first line of a request's head, kept for the case that the head is malformed: hyper keeps
//! nothing of one that it refuses.

use std::fmt;

/// How much of a line is kept: a path, and enough to tell what spoke.
const BYTES_MAX: usize = 256;

/// A line of which the front is kept.
pub(crate) struct FirstLine {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl Default for FirstLine {
    fn default() -> Self {
        Self { bytes: [0; BYTES_MAX], len: 0 }
    }
}

impl fmt::Debug for FirstLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FirstLine").field(&self.as_bytes().escape_ascii().to_string()).finish()
    }
}

impl FirstLine {
    pub(crate) const fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds bytes of the head.
    pub(crate) fn add(&mut self, more: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let len = more.len().min(room.len());
        room[..len].copy_from_slice(&more[..len]);
        self.len += len;
    }

    /// The line without its end. Empty lines before a request are ignored (RFC 9112 §2.2).
    pub(crate) fn as_bytes(&self) -> &[u8] {
        let head = self.bytes[..self.len].trim_ascii_start();
        let end = head.iter().position(|&byte| matches!(byte, b'\r' | b'\n'));
        &head[..end.unwrap_or(head.len())]
    }

    /// Whether the line ends with a version of HTTP other than those that are spoken here.
    pub(crate) fn has_other_version(&self) -> bool {
        let version = self.as_bytes().rsplit(|&byte| byte == b' ').next();
        let digits = version.and_then(|version| version.strip_prefix(b"HTTP/"));
        matches!(digits, Some([major, b'.', minor]) if major.is_ascii_digit()
            && minor.is_ascii_digit() && !matches!((major, minor), (b'1', b'0' | b'1')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pieces: &[&[u8]]) -> FirstLine {
        let mut line = FirstLine::default();
        pieces.iter().for_each(|piece| line.add(piece));
        line
    }

    #[test]
    fn a_line_is_put_together_from_its_pieces_and_ends_where_it_ends() {
        for (pieces, expected) in [
            (&[b"GET / HT".as_slice(), b"TP/1.1\r\nHost: x\r\n"][..], b"GET / HTTP/1.1".as_slice()),
            (&[b"\r\n\r\nGET /", b" HTTP/1.1\n"], b"GET / HTTP/1.1"),
            (&[b"\x16\x03\x01"], b"\x16\x03\x01"),
            (&[], b""),
            (&[&[b'x'; 300], b"yz"], &[b'x'; BYTES_MAX]),
        ] {
            assert_eq!(line(pieces).as_bytes(), expected);
        }
    }

    #[test]
    fn other_versions_of_http_are_told_from_what_is_not_one() {
        for (first, is_other) in [
            ("GET / HTTP/1.2", true),
            ("PRI * HTTP/2.0", true),
            ("GET / HTTP/0.9", true),
            ("GET / HTTP/1.1", false),
            ("GET / HTTP/1.0", false),
            ("GET / HTTP/1", false),
            ("GET / HTTP/11.1", false),
            ("GET / http/2.0", false),
            ("GET /HTTP/2.0", false),
            ("GET /", false),
            ("", false),
        ] {
            assert_eq!(line(&[first.as_bytes()]).has_other_version(), is_other, "{first}");
        }
    }
}
