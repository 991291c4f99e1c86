//! Without the feature `tls` no source is a TLS connection, and there is nothing to ask.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use crate::error::ErrorKind;

#[derive(Debug, Clone)]
pub(crate) enum Records {}

impl Records {
    pub(crate) fn is_ended(&self) -> bool {
        match *self {}
    }

    pub(crate) fn read(&self, _: BorrowedFd<'_>, _: &mut [u8]) -> Result<u64, Errno> {
        match *self {}
    }

    pub(crate) fn write(&self, _: BorrowedFd<'_>, _: &[IoSlice<'_>]) -> Result<u64, Errno> {
        match *self {}
    }

    pub(crate) fn finish(&self, _: BorrowedFd<'_>) -> Result<(), Errno> {
        match *self {}
    }

    pub(crate) fn past(
        &self,
        _: BorrowedFd<'_>,
        _: Result<u64, Errno>,
    ) -> Result<Result<u64, Errno>, ErrorKind> {
        match *self {}
    }
}
