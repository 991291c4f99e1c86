//! The chunked transfer coding, both ways.
//!
//! A connection that closes before the last chunk has truncated the content, which is an error.
//! Trailer fields are skipped.
//!
//! Source: RFC 9112 §7.1.

use std::io::{self, BufRead, BufReader, Read, Write};

/// The limit of a chunk's first line and of a trailer field.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// How many trailer fields may follow the last chunk.
const TRAILERS_MAX: u32 = 128;

/// Reads content out of chunks.
pub(crate) struct Chunked<R> {
    inner: BufReader<R>,
    /// Bytes left of the current chunk.
    left: u64,
    is_first: bool,
    is_over: bool,
}

impl<R: Read> Chunked<R> {
    pub(crate) fn new(inner: R) -> Self {
        let inner = BufReader::with_capacity(64 * 1024, inner);
        Self { inner, left: 0, is_first: true, is_over: false }
    }

    /// What the chunks are read from.
    pub(crate) fn get_ref(&self) -> &R {
        self.inner.get_ref()
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        (&mut self.inner).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        match line.strip_suffix(b"\r\n").or_else(|| line.strip_suffix(b"\n")) {
            Some(line) => Ok(String::from_utf8_lossy(line).into_owned()),
            None => Err(cut()),
        }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.is_first) && !self.line()?.is_empty() {
            return Err(wrong("a chunk is longer than its size says"));
        }
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or(&line).trim();
        if !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("a chunk without a size"));
        }
        self.left = u64::from_str_radix(size, 16).map_err(|_| wrong("a chunk without a size"))?;
        if self.left == 0 {
            for _ in 0..=TRAILERS_MAX {
                if self.line()?.is_empty() {
                    self.is_over = true;
                    return Ok(());
                }
            }
            return Err(wrong("too many trailer fields after the last chunk"));
        }
        Ok(())
    }
}

impl<R: Read> Read for Chunked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        if self.left == 0 && !self.is_over {
            self.next_chunk()?;
        }
        if self.is_over {
            return Ok(0);
        }
        let max = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.inner.read(&mut into[..max])?;
        if n == 0 {
            return Err(cut());
        }
        self.left -= n as u64;
        Ok(n)
    }
}

/// Writes content as chunks, one for each write.
#[derive(Debug)]
pub struct ChunkedWriter<W>(pub W);

impl<W: Write> ChunkedWriter<W> {
    /// Writes the last chunk.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.write_all(b"0\r\n\r\n")
    }
}

impl<W: Write> Write for ChunkedWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            // An empty chunk would be the last.
            return Ok(0);
        }
        write!(self.0, "{:x}\r\n", bytes.len())?;
        self.0.write_all(bytes)?;
        self.0.write_all(b"\r\n")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection closed before the last chunk")
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &str) -> io::Result<String> {
        let mut text = String::new();
        Chunked::new(wire.as_bytes()).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn content_comes_out_of_its_chunks() {
        // The example of RFC 9112 is without one; these are by hand.
        let wire = "4\r\nunde\r\n5;name=value\r\nrpass\r\n0\r\nExpires: never\r\n\r\nnot read";
        assert_eq!(read(wire).unwrap(), "underpass");
        let mut out = Vec::new();
        let mut writer = ChunkedWriter(&mut out);
        writer.write_all(b"underpass-relay!").unwrap();
        writer.write_all(b"").unwrap();
        writer.finish().unwrap();
        assert_eq!(out, b"10\r\nunderpass-relay!\r\n0\r\n\r\n");
    }

    #[test]
    fn a_cut_is_an_error_wherever_it_falls() {
        let wire = "4\r\nunde\r\n5\r\nrpass\r\n0\r\n\r\n";
        for end in 0..wire.len() {
            let error = read(&wire[..end]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
        }
        for wire in ["x\r\n", "-1\r\n", "4\r\nunderpass\r\n", "\r\n\r\n", "11111111111111111\r\n"] {
            assert_eq!(read(wire).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wire}");
        }
    }
}
