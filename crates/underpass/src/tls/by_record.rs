//! Reads that stop at the end of a record, so that nothing of the next has left the socket.
//!
//! What a TLS library has read ahead the kernel can never decrypt.
//!
//! Source: RFC 8446 §5.1 (TLSPlaintext.length).

use std::io::{self, Read, Write};

const HEADER_LEN: usize = 5;

/// A stream that TLS is spoken over, of which no read takes bytes of two records.
///
/// It keeps no bytes: [`Self::into_inner`] loses nothing wherever it stands.
#[derive(Debug)]
pub struct ByRecord<S> {
    stream: S,
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes that are left of the record whose header has been read.
    left: usize,
}

impl<S> ByRecord<S> {
    /// Of a stream that has not been read from.
    pub const fn new(stream: S) -> Self {
        Self { stream, header: [0; HEADER_LEN], header_len: 0, left: 0 }
    }

    /// The stream.
    pub const fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream, to be read in larger pieces.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Whether whole records have been read and nothing of the next.
    #[must_use]
    pub const fn is_between_records(&self) -> bool {
        self.left == 0 && self.header_len == 0
    }
}

impl<S: Read> Read for ByRecord<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left > 0 {
            let max = into.len().min(self.left);
            let n = self.stream.read(&mut into[..max])?;
            self.left -= n;
            return Ok(n);
        }
        let max = into.len().min(HEADER_LEN - self.header_len);
        let n = self.stream.read(&mut into[..max])?;
        self.header[self.header_len..self.header_len + n].copy_from_slice(&into[..n]);
        self.header_len += n;
        if self.header_len == HEADER_LEN {
            let [_, _, _, high, low] = self.header;
            self.left = usize::from(u16::from_be_bytes([high, low]));
            self.header_len = 0;
        }
        Ok(n)
    }
}

impl<S: Write> Write for ByRecord<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three records: of three bytes, of none, of one.
    const WIRE: [u8; 19] = [22, 3, 3, 0, 3, 7, 8, 9, 20, 3, 3, 0, 0, 23, 3, 3, 0, 1, 5];

    #[test]
    fn no_read_takes_bytes_of_two_records() {
        for room in 1..30 {
            let mut stream = ByRecord::new(&WIRE[..]);
            let (mut all, mut ends) = (Vec::new(), Vec::new());
            loop {
                let mut block = vec![0; room];
                let n = stream.read(&mut block).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&block[..n]);
                if stream.is_between_records() {
                    ends.push(all.len());
                }
            }
            assert_eq!((all.as_slice(), ends.as_slice()), (&WIRE[..], &[8, 13, 19][..]), "{room}");
        }
    }
}
