//! The ways bytes can go, and their names.
//!
//! A closed set: tests, tables and the ledger loop over [`Method::ALL`], so a new method that is
//! not tested does not go unnoticed.

use std::fmt;
use std::str::FromStr;

/// One way of moving bytes from a source to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// read(2) and write(2) through user memory. Works between any two ends; the fallback of
    /// all others and the yardstick they are tested against.
    Copy,
    /// write(2) or send(2) from a mapping of the file: one copy, made by the kernel.
    MmapWrite,
    /// sendfile(2): pages of the page cache by reference.
    Sendfile,
    /// splice(2) through a pipe: by reference where the source has pages to lend.
    Splice,
    /// copy_file_range(2), between files; shares extents where the file system can.
    CopyFileRange,
    /// ioctl_ficlonerange(2), between files: shares extents or fails.
    Clone,
    /// send(2) with `MSG_ZEROCOPY`, from owned memory or from a mapping of the file.
    ZeroCopySend,
    /// io_uring's `SEND_ZC`. Needs the feature `uring`.
    UringSendZc,
    /// io_uring's `SPLICE` from a file to a pipe to a socket. Needs the feature `uring`.
    UringSplice,
}

impl Method {
    /// Every method, in the order of the enum.
    pub const ALL: &'static [Self] = &[
        Self::Copy,
        Self::MmapWrite,
        Self::Sendfile,
        Self::Splice,
        Self::CopyFileRange,
        Self::Clone,
        Self::ZeroCopySend,
        Self::UringSendZc,
        Self::UringSplice,
    ];

    /// The word for it, as flags and tables spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::MmapWrite => "mmap-write",
            Self::Sendfile => "sendfile",
            Self::Splice => "splice",
            Self::CopyFileRange => "copy-file-range",
            Self::Clone => "clone",
            Self::ZeroCopySend => "zero-copy-send",
            Self::UringSendZc => "uring-send-zc",
            Self::UringSplice => "uring-splice",
        }
    }

    /// Its place in [`Method::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(word: &str) -> Result<Self, UnknownMethod> {
        Self::ALL.iter().copied().find(|method| method.name() == word).ok_or(UnknownMethod)
    }
}

/// A word that names no method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a method; one of copy, mmap-write, sendfile, splice, copy-file-range, clone, \
     zero-copy-send, uring-send-zc, uring-splice"
)]
pub struct UnknownMethod;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_is_read_back_from_its_name_and_named_in_the_refusal() {
        for (index, method) in Method::ALL.iter().copied().enumerate() {
            assert_eq!(method.index(), index);
            assert_eq!(method.to_string().parse(), Ok(method));
            assert!(UnknownMethod.to_string().contains(method.name()), "{method}");
        }
        assert_eq!("Sendfile".parse::<Method>(), Err(UnknownMethod));
    }
}
