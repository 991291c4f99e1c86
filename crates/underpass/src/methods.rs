//! The methods: a system call each, with explicit offsets and nothing decided.
//!
//! sendfile(2) and splice(2) take no `MSG_NOSIGNAL`: to a peer that is gone they raise SIGPIPE in
//! processes that have it at its default. The Rust runtime ignores it at start-up; a C host, or a
//! program built with another `-Zon-broken-pipe`, must do so itself.

pub(crate) mod clone;
pub(crate) mod copy;
pub(crate) mod copy_file_range;
pub(crate) mod mmap_write;
pub(crate) mod sendfile;
pub(crate) mod splice;
pub(crate) mod zero_copy_send;

/// A count that a call takes; more than fits is as good as all that fits.
pub(crate) fn count(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
