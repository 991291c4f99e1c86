//! Network namespaces, and what is done in them: on a thread that goes there and ends there, so
//! that all others stay where they are.
//!
//! Source: network_namespaces(7), setns(2), proc_pid_ns(5).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use rustix::thread::LinkNameSpaceType;

const OWN: &str = "/proc/thread-self/ns/net";

/// Makes one, held by the descriptor.
pub(crate) fn new() -> io::Result<File> {
    apart(|| {
        underpass_sys::namespace::enter_new_network()?;
        File::open(OWN)
    })
}

/// The inode of this thread's own.
pub(crate) fn own() -> Option<u64> {
    std::fs::metadata(OWN).ok().map(|own| own.ino())
}

/// Does something in one. In this thread's own that takes no privilege.
pub(crate) fn within<T: Send>(space: &File, act: impl FnOnce() -> T + Send) -> io::Result<T> {
    if own() == Some(space.metadata()?.ino()) {
        return Ok(act());
    }
    apart(|| {
        let network = Some(LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(space.as_fd(), network)?;
        Ok(act())
    })
}

fn apart<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let joined = thread::scope(|scope| scope.spawn(act).join());
    joined.unwrap_or_else(|_| Err(io::Error::other("a thread in a namespace panicked")))
}
