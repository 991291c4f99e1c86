//! Moves bytes through this process's memory, where it has to see them: digests, framing, TLS,
//! chunks.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;

use crate::digest::Digest;
use crate::drive::Drive;
use crate::stop::Stop;

/// How much is read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// Moves everything, or `len` bytes; returns how many arrived.
pub(crate) fn through_memory(
    drive: &mut Drive<'_>,
    from: &mut dyn Read,
    len: Option<u64>,
    to: &mut dyn Write,
    mut digest: Option<&mut Digest>,
) -> Result<u64, Stop> {
    let mut moved = 0;
    let mut block = vec![0; drive.block_bytes(BLOCK_BYTES)];
    while len.is_none_or(|len| moved < len) {
        let left = len.map_or(usize::MAX, |len| usize::try_from(len - moved).unwrap_or(usize::MAX));
        let max = block.len().min(left);
        let n = match from.read(&mut block[..max]).map_err(Stop::when("reading the source"))? {
            0 => match len {
                Some(len) => return Err(Stop::short(moved, len)),
                None => break,
            },
            n => n,
        };
        if let Some(digest) = &mut digest {
            digest.update(&block[..n]);
        }
        drive.count_outside(0, 1)?;
        write(drive, to, &block[..n])?;
        moved += n as u64;
    }
    Ok(moved)
}

fn write(drive: &mut Drive<'_>, to: &mut dyn Write, mut bytes: &[u8]) -> Result<(), Stop> {
    while !bytes.is_empty() {
        let n = match to.write(bytes) {
            Ok(0) => return Err(Stop::writing(ErrorKind::WriteZero.into())),
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Stop::writing(error)),
        };
        bytes = &bytes[n..];
        drive.done += n as u64;
        drive.count_outside(n as u64, 1)?;
    }
    Ok(())
}

/// Writes a file from an offset on, and leaves its own offset alone.
pub(crate) struct FileWriter<'f> {
    pub(crate) file: &'f File,
    pub(crate) at: u64,
}

impl Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write_at(bytes, self.at)?;
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
