//! What a network interface is able to do: `ioctl(2)` with `SIOCETHTOOL`, which everybody may ask.
//!
//! Source: netdevice(7); linux/ethtool.h (`struct ethtool_gfeatures`); net/ethtool/ioctl.c.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::last_errno;

/// linux/ethtool.h.
const ETHTOOL_GFEATURES: u32 = 0x3a;

/// linux/netdev_features.h: `NETIF_F_SG_BIT`, the first.
const SCATTER_GATHER: u32 = 1;

/// `struct ethtool_gfeatures`, with room for the first 32 features.
#[repr(C)]
#[derive(Default)]
struct Features {
    cmd: u32,
    /// How many blocks of 32 there is room for.
    size: u32,
    available: u32,
    requested: u32,
    active: u32,
    never_changed: u32,
}

/// Whether the interface of a name, in the socket's network, has `tx-scatter-gather` on.
///
/// # Errors
///
/// `ENODEV` if there is no such interface, `EOPNOTSUPP` if it has no features.
pub fn has_scatter_gather(socket: BorrowedFd<'_>, interface: &str) -> Result<bool, Errno> {
    // `ETHTOOL_GSG` would answer for tx-scatter-gather-fraglist as well.
    let mut features = Features { cmd: ETHTOOL_GFEATURES, size: 1, ..Features::default() };
    // SAFETY: netdevice(7), struct ifreq: numbers, addresses and pointers, all of which may be 0.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays the end of the name.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return Err(Errno::NODEV);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut features).cast();
    // SAFETY: net/ethtool/ioctl.c::ethtool_get_features: reads cmd and size at ifr_data, fills in
    // as many blocks as size says, which is the one that is there, and keeps nothing.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } < 0 {
        return Err(last_errno());
    }
    Ok(features.active & SCATTER_GATHER != 0)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_loopback_interface_takes_scattered_pieces_and_no_interface_is_no_answer() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(has_scatter_gather(socket.as_fd(), "lo"), Ok(true));
        for name in ["no-such-one", "a name that is longer than any"] {
            assert_eq!(has_scatter_gather(socket.as_fd(), name), Err(Errno::NODEV));
        }
    }
}
