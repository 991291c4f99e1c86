//! The kernel interfaces underpass needs and rustix does not bind.
//!
//! This crate alone makes unsafe calls. Each module is one interface; what to do with its
//! answers is the engine's part. Errors are bare errnos.

mod arena;
pub mod bpf;
pub mod cachestat;
pub mod clone;
pub mod descriptor;
pub mod ethtool;
pub mod extents;
pub mod lease;
pub mod look;
pub mod map;
pub mod namespace;
pub mod region;
mod sigbus;
pub mod signal;
mod slots;
pub mod socket;
pub mod tls;
#[cfg(feature = "uring")]
pub mod uring;
pub mod usage;
pub mod zerocopy;

use rustix::io::Errno;

/// The calling thread's errno, as the failed libc call left it.
fn last_errno() -> Errno {
    std::io::Error::last_os_error().raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
