//! Reads a range of a file, without the file's own offset.
//!
//! A file that ends before the range does is an error: nothing is made up for what is missing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// What is left of a range of a file.
#[derive(Debug)]
pub(crate) struct RangeReader<'f> {
    pub(crate) file: &'f File,
    pub(crate) at: u64,
    pub(crate) end: u64,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let max = into.len().min(left);
        if max == 0 {
            return Ok(0);
        }
        let n = self.file.read_at(&mut into[..max], self.at)?;
        if n == 0 {
            let missing = self.end - self.at;
            let why = format!("the file ends {missing} bytes before the range does");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.at += n as u64;
        Ok(n)
    }
}
