//! Reads that stop at the end of a record, so that nothing of the next has left the socket.
//!
//! The kernel can never decrypt what a TLS library has read ahead.
//!
//! Source: RFC 8446 §5.1 (TLSPlaintext.length).

use std::io;

const HEADER_LEN: usize = 5;

/// Where a connection is between records. It keeps none of their content.
#[derive(Debug, Default)]
pub(super) struct ByRecord {
    header: [u8; HEADER_LEN],
    header_len: usize,
    /// Bytes that are left of the record whose header has been read.
    left: usize,
}

impl ByRecord {
    /// Whether whole records have been read and nothing of the next.
    pub(super) const fn is_between_records(&self) -> bool {
        self.left == 0 && self.header_len == 0
    }

    /// Reads with `read`, which gets a buffer that ends where the record does.
    pub(super) fn read(
        &mut self,
        into: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.left > 0 {
            let max = into.len().min(self.left);
            let n = read(&mut into[..max])?;
            self.left -= n;
            return Ok(n);
        }
        let max = into.len().min(HEADER_LEN - self.header_len);
        let n = read(&mut into[..max])?;
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

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Three records: of three bytes, of none, of one.
    const WIRE: [u8; 19] = [22, 3, 3, 0, 3, 7, 8, 9, 20, 3, 3, 0, 0, 23, 3, 3, 0, 1, 5];

    #[test]
    fn no_read_takes_bytes_of_two_records() {
        for room in 1..30 {
            let (mut wire, mut by_record) = (&WIRE[..], ByRecord::default());
            let (mut all, mut ends) = (Vec::new(), Vec::new());
            loop {
                let mut block = vec![0; room];
                let n = by_record.read(&mut block, |into| wire.read(into)).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&block[..n]);
                if by_record.is_between_records() {
                    ends.push(all.len());
                }
            }
            assert_eq!((all.as_slice(), ends.as_slice()), (&WIRE[..], &[8, 13, 19][..]), "{room}");
        }
    }
}
