//! Files whose size says nothing of what can be read: they are read until there is no more.
//!
//! Those of procfs say 0, those of sysfs one page, and those of FUSE with direct I/O what their
//! server likes.
//!
//! Source: proc(5); Linux, Documentation/filesystems/sysfs.rst, fuse/fuse-io.rst.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

/// The longest piece; a file that is shorter is sent with its length.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What the front of a file shows.
#[derive(Debug)]
pub(crate) enum Front {
    /// These bytes are all of it.
    Whole(Bytes),
    /// There may be more.
    Part(UntilEnd),
}

/// The pieces of a file, of which the first was read. Reading the others may wait.
#[derive(Debug, Clone)]
pub(crate) struct UntilEnd {
    file: Arc<OwnedFd>,
    front: Option<Bytes>,
    at: u64,
    is_over: bool,
}

impl Front {
    /// Reads the first piece of a file. May wait.
    ///
    /// # Errors
    ///
    /// Those of pread(2): `EIO` where there is nothing to be read, as of /proc/PID/mem.
    pub(crate) fn read(file: OwnedFd) -> Result<Self, Errno> {
        let front = read_piece(&file, 0)?;
        if front.len() < PIECE_BYTES_MAX {
            return Ok(Self::Whole(front));
        }
        let (file, front) = (Arc::new(file), Some(front));
        Ok(Self::Part(UntilEnd { file, front, at: 0, is_over: false }))
    }
}

impl Iterator for UntilEnd {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.is_over {
            return None;
        }
        let piece = match self.front.take() {
            Some(front) => Ok(front),
            None => read_piece(&self.file, self.at),
        };
        let len = piece.as_ref().map_or(0, Bytes::len);
        self.is_over = len < PIECE_BYTES_MAX;
        self.at += len as u64;
        match piece {
            Ok(piece) => (!piece.is_empty()).then_some(Ok(piece)),
            Err(errno) => Some(Err(errno.into())),
        }
    }
}

/// Bytes from `offset` on: less than a piece only at the end.
fn read_piece(file: &OwnedFd, offset: u64) -> Result<Bytes, Errno> {
    let mut piece = vec![0; PIECE_BYTES_MAX];
    let mut len = 0;
    while len < piece.len() {
        match rustix::io::pread(file, &mut piece[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    piece.truncate(len);
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn pieces(len: usize) -> (Vec<usize>, Vec<u8>, Vec<u8>) {
        let content: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&content, 0).unwrap();
        let pieces: Vec<Bytes> = match Front::read(file.into()).unwrap() {
            Front::Whole(whole) => vec![whole],
            Front::Part(pieces) => pieces.map(Result::unwrap).collect(),
        };
        (pieces.iter().map(Bytes::len).collect(), pieces.concat(), content)
    }

    #[test]
    fn a_file_is_read_to_its_end_whatever_its_length() {
        for (len, lens) in [
            (0, &[0][..]),
            (1, &[1]),
            (65_535, &[65_535]),
            (65_536, &[65_536]),
            (65_537, &[65_536, 1]),
            (200_000, &[65_536, 65_536, 65_536, 3_392]),
        ] {
            let (got_lens, got, content) = pieces(len);
            assert_eq!(got_lens, lens);
            assert!(got == content, "{len}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_at_once() {
        let directory = File::open("/").unwrap();
        assert_eq!(Front::read(directory.into()).unwrap_err(), Errno::ISDIR);
    }

    #[test]
    fn a_file_of_procfs_is_read_although_it_says_that_it_is_empty() {
        let file = File::open("/proc/self/status").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        let Front::Whole(whole) = Front::read(file.into()).unwrap() else { panic!("one piece") };
        assert!(whole.starts_with(b"Name:\t"), "{whole:?}");
    }
}
