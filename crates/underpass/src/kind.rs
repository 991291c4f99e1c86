//! What an end of a transfer is, as far as the choice of a method depends on it.
//!
//! Source: inode(7), "The file type and mode"; fstat(2).

use std::fmt;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

/// The kind of a source or a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A range of a regular file, at explicit offsets.
    File,
    /// Bytes in this process.
    Memory,
    /// A socket.
    Socket,
    /// A pipe or FIFO.
    Pipe,
    /// A TLS connection whose records this process makes and reads. One that the kernel encrypts
    /// is a `Socket`.
    Tls,
    /// Anything else that read(2) and write(2) work on: a terminal, /dev/null, a regular file
    /// used as a stream at its descriptor's own offset.
    Other,
}

impl Kind {
    /// The kind of a descriptor used as a stream. One fstat(2).
    ///
    /// A descriptor that fstat(2) refuses is `Other`; the first call on it reports why.
    pub(crate) fn of_stream(fd: BorrowedFd<'_>) -> Self {
        let Ok(stat) = rustix::fs::fstat(fd) else { return Self::Other };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => Self::Socket,
            FileType::Fifo => Self::Pipe,
            FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => Self::Other,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Memory => "memory",
            Self::Socket => "socket",
            Self::Pipe => "pipe",
            Self::Tls => "TLS in user space",
            Self::Other => "other",
        })
    }
}
