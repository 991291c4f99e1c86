//! The networks that watched processes are in, and what they say of their interfaces.
//!
//! A network is held by one descriptor, however many processes are in it: a server that forks for
//! each request would take them all.
//!
//! Source: network_namespaces(7), netdevice(7);
//! `Documentation/networking/proc_net_tcp.rst`.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::net::{AddressFamily, SocketType};
use underpass_sys::ethtool;

use crate::evidence::FileId;
use crate::explain::context::{Interface, InterfaceKey};
use crate::namespace;
use crate::proc::Proc;

/// linux/include/net/flow.h: `LOOPBACK_IFINDEX`.
const LOOPBACK_INDEX: u32 = 1;

/// Networks whose interfaces can be asked for; each takes a descriptor.
const NETWORKS_MAX: usize = 128;

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// By the inode of the namespace: all are of one file system.
    files: BTreeMap<u64, File>,
}

impl Networks {
    /// Notes the network of a process.
    pub(crate) fn learn(&mut self, seen: &Proc) {
        let Some((FileId { inode, .. }, _)) = seen.at("ns/net") else { return };
        if !self.files.contains_key(&inode) && self.files.len() < NETWORKS_MAX {
            self.files.extend(seen.file("ns/net").map(|file| (inode, file)));
        }
    }

    /// An interface. Of a network that no process was seen in, its index is all there is.
    pub(crate) fn interface(&self, key: InterfaceKey) -> Interface {
        let index = key.index;
        let ask = || {
            let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).ok()?;
            let name = rustix::net::netdevice::index_to_name(&socket, index).ok()?;
            let has_scatter_gather = ethtool::has_scatter_gather(socket.as_fd(), &name).ok();
            Some((name, has_scatter_gather))
        };
        let unknown = || (format!("interface {index}"), None);
        let (name, has_scatter_gather) = self.ask(key.network, ask).unwrap_or_else(unknown);
        Interface { name, is_loopback: index == LOOPBACK_INDEX, has_scatter_gather }
    }

    /// The TCP sockets of a network that no program has any more, and what is in their queues.
    pub(crate) fn orphans(&self, network: u64) -> Vec<Queue> {
        let read = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let ask = || Some(["tcp", "tcp6"].map(|name| read(name).unwrap_or_default()).concat());
        let text = self.ask(network, ask).unwrap_or_default();
        text.lines().filter_map(orphan).collect()
    }

    /// Asks in a network, if a process was seen in it.
    fn ask<T: Send>(&self, network: u64, ask: impl FnOnce() -> Option<T> + Send) -> Option<T> {
        match self.files.get(&network) {
            Some(file) => namespace::within(file, ask).ok()?,
            None if namespace::own() == Some(network) => ask(),
            None => None,
        }
    }
}

/// A socket with bytes that its other end has not acknowledged: its own address, that of the other
/// end, and how many.
pub(crate) type Queue = (SocketAddr, SocketAddr, u64);

/// A line of /proc/net/tcp: what belongs to no program has no inode, and has its end in the queue,
/// which counts as a byte.
fn orphan(line: &str) -> Option<Queue> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (sent, _) = fields.get(4)?.split_once(':')?;
    let bytes = u64::from_str_radix(sent, 16).ok()?.saturating_sub(1);
    let is_orphan = *fields.get(9)? == "0" && bytes > 0;
    is_orphan.then_some((address(fields[1])?, address(fields[2])?, bytes))
}

/// Words of the address as the processor reads them, in hexadecimal, and the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(words.get(at..at + 8)?, 16).ok();
    let bytes = |at| word(at).map(u32::to_ne_bytes);
    let ip = match words.len() {
        8 => IpAddr::from(Ipv4Addr::from(bytes(0)?)),
        _ => {
            let all = [bytes(0)?, bytes(8)?, bytes(16)?, bytes(24)?].concat();
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(all).ok()?)).to_canonical()
        }
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_program_has_any_more_is_told_with_its_queue() {
        let rest = "00:00000000 00000000     0        0";
        let line = |ends: &str, queue: &str, inode: u64| {
            format!("   0: {ends} 04 {queue}:00000000 {rest} {inode} 2 0000 20 4 1 10 -1")
        };
        let ends = "0100007F:1F90 0200007F:ABCD";
        let (local, peer) = (([127, 0, 0, 1], 8080).into(), ([127, 0, 0, 2], 0xabcd).into());
        assert_eq!(orphan(&line(ends, "00123456", 0)), Some((local, peer, 0x12_3455)));
        assert_eq!(orphan(&line(ends, "00123456", 7)), None);
        assert_eq!(orphan(&line(ends, "00000001", 0)), None);
        let six = "00000000000000000000000001000000:0050 B80D0120000000000000000001000000:0051";
        let (local, peer, _) = orphan(&line(six, "00000002", 0)).unwrap();
        let texts = [local, peer].map(|end: SocketAddr| end.to_string());
        assert_eq!(texts, ["[::1]:80", "[2001:db8::1]:81"]);
        assert_eq!(orphan("  sl  local_address rem_address   st tx_queue rx_queue tr"), None);
    }

    #[test]
    fn processes_of_one_network_take_one_descriptor() {
        let (mut networks, own) = (Networks::default(), Proc::open(std::process::id()).unwrap());
        for _ in 0..1_000 {
            networks.learn(&own);
        }
        assert_eq!(networks.files.len(), 1);
        let key = InterfaceKey { network: namespace::own().unwrap(), index: LOOPBACK_INDEX };
        let loopback = networks.interface(key);
        assert_eq!((loopback.name.as_str(), loopback.is_loopback), ("lo", true));
        // Of another network nothing is asked.
        let elsewhere = InterfaceKey { network: key.network + 1, ..key };
        assert_eq!(networks.interface(elsewhere).name, "interface 1");
    }
}
