//! write(2) from a mapping of the file: the page cache is the buffer, and one copy is saved.
//!
//! The file may shrink under the mapping at any time. Pages behind its end make the kernel
//! answer `EFAULT`; but the page that holds its end reads as zeros after it, so the size is
//! looked at before every call and nothing behind it is sent.
//!
//! Source: mmap(2), NOTES ("the remaining bytes in the partial page at the end of the mapping
//! are zeroed").

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::Errno;
use underpass_sys::map::{Map, WINDOW_MAX};

use crate::kind::Kind;
use crate::sink::Outlet;

const PAGE: u64 = 4096;

/// The part of the file that is mapped at the moment.
#[derive(Debug)]
pub(crate) struct Window {
    map: Arc<Map>,
    start: u64,
    end: u64,
}

impl Window {
    /// Where up to `max` bytes at `at` are in `window`, which is moved there if need be.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the file ends at or before `at`; those of fstat(2) and mmap(2).
    pub(crate) fn part<'w>(
        window: &'w mut Option<Self>,
        file: BorrowedFd<'_>,
        at: u64,
        left: u64,
        max: u64,
    ) -> Result<(&'w Arc<Map>, Range<usize>), Errno> {
        let size = u64::try_from(rustix::fs::fstat(file)?.st_size).unwrap_or(0);
        let there = max.min(size.saturating_sub(at));
        if there == 0 {
            return Err(Errno::FAULT);
        }
        let moved = match window.take() {
            Some(kept) if kept.start <= at && at < kept.end => kept,
            _ => Self::over(file, at, left.min(size - at))?,
        };
        let Self { map, start, end } = window.insert(moved);
        let (from, len) = (at - *start, there.min(*end - at));
        let place = |offset| usize::try_from(offset).map_err(|_| Errno::INVAL);
        Ok((map, place(from)?..place(from + len)?))
    }

    fn over(file: BorrowedFd<'_>, at: u64, len: u64) -> Result<Self, Errno> {
        let start = at - at % PAGE;
        let len = usize::try_from(at - start + len).unwrap_or(usize::MAX).min(WINDOW_MAX);
        Ok(Self { map: Arc::new(Map::new(file, start, len)?), start, end: start + len as u64 })
    }
}

pub(crate) fn through(
    (map, part): (&Arc<Map>, Range<usize>),
    sink: BorrowedFd<'_>,
    outlet: &Outlet,
    more: bool,
) -> Result<u64, Errno> {
    match outlet.kind {
        Kind::Socket => map.send(sink, part, more, false),
        Kind::File => map.write_at(sink, part, outlet.at),
        Kind::Pipe | Kind::Memory | Kind::Tls | Kind::Other => map.write_to(sink, part),
    }
    .map(|n| n as u64)
}
