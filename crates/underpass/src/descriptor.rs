//! An end's descriptor, and how tokio watches it.

use std::fmt;
use std::os::fd::BorrowedFd;

#[cfg(feature = "tokio")]
use crate::tokio::readiness::Readiness;

/// A descriptor that a transfer uses.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    /// `None` for what tokio does not watch.
    #[cfg(feature = "tokio")]
    pub(crate) readiness: Option<&'a dyn Readiness>,
}

impl<'a> From<BorrowedFd<'a>> for Descriptor<'a> {
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self {
            fd,
            #[cfg(feature = "tokio")]
            readiness: None,
        }
    }
}

#[cfg(feature = "tokio")]
impl<'a> From<&'a dyn Readiness> for Descriptor<'a> {
    fn from(stream: &'a dyn Readiness) -> Self {
        Self { fd: stream.as_fd(), readiness: Some(stream) }
    }
}

impl fmt::Debug for Descriptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fd.fmt(f)
    }
}
