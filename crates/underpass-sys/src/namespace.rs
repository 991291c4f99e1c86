//! A network namespace of the calling thread's own: `unshare(2)` with `CLONE_NEWNET`.
//!
//! The namespace lives as long as a thread is in it, a socket was made in it or a descriptor
//! names it; when the last of these goes, with the process at the latest, it goes with all its
//! devices.
//!
//! Source: unshare(2), network_namespaces(7), namespaces(7).

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Moves the calling thread to a new network namespace, which has a loopback device that is down
/// and nothing else.
///
/// # Errors
///
/// `EPERM` without `CAP_SYS_ADMIN`, `ENOSPC` at the limit of namespaces, `EINVAL` from a kernel
/// without them.
pub fn enter_new_network() -> Result<(), Errno> {
    // SAFETY: unshare(2): CLONE_NEWNET changes the calling thread's network namespace alone;
    // descriptors, which `unshare_unsafe` warns of, stay shared.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thread_has_another_network_and_the_process_keeps_its_own() {
        let own = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = own();
        let inside = std::thread::spawn(move || enter_new_network().map(|()| own())).join();
        match inside.unwrap() {
            Ok(inside) => assert_ne!(inside, before),
            Err(errno) => assert_eq!(errno, Errno::PERM, "only privilege may be missing"),
        }
        assert_eq!(own(), before);
    }
}
