//! send(2) with `MSG_ZEROCOPY`, from memory or from a mapping of the file.
//!
//! Pays above some 10 KB on devices that can gather; on loopback the kernel copies after all, and
//! says so in the completion.
//!
//! Source: Documentation/networking/msg_zerocopy.rst.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::SendFlags;
use underpass_sys::map::Map;
use underpass_sys::zerocopy::MSG_ZEROCOPY;

use crate::zero_copy::ZeroCopy;

pub(crate) fn from_map(
    zero_copy: &ZeroCopy,
    (map, part): (&Arc<Map>, Range<usize>),
    sink: BorrowedFd<'_>,
    more: bool,
) -> Result<u64, Errno> {
    zero_copy.send(None, || map.send(sink, part, more, true).map(|n| n as u64))
}

pub(crate) fn from_memory(
    zero_copy: &ZeroCopy,
    memory: Bytes,
    sink: BorrowedFd<'_>,
    more: bool,
) -> Result<u64, Errno> {
    let mut flags = SendFlags::NOSIGNAL | SendFlags::from_bits_retain(MSG_ZEROCOPY);
    flags.set(SendFlags::MORE, more);
    let kept = memory.clone();
    zero_copy.send(Some(kept), || rustix::net::send(sink, &memory, flags).map(|n| n as u64))
}
