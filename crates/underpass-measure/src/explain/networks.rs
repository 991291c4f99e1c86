//! The networks that watched processes are in, and what they say of their interfaces.
//!
//! A network is held by one descriptor, however many processes are in it: a server that forks for
//! each request would take them all.
//!
//! Source: network_namespaces(7), setns(2), netdevice(7).

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use rustix::net::{AddressFamily, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::explain::context::{Interface, InterfaceKey};
use crate::explain::ethtool;

/// linux/include/net/flow.h: `LOOPBACK_IFINDEX`.
const LOOPBACK_INDEX: u32 = 1;

/// Networks whose interfaces can be asked for; each takes a descriptor.
const NETWORKS_MAX: usize = 128;

/// A namespace, by device and inode.
type Key = (u64, u64);

/// What is known so far.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    files: BTreeMap<Key, File>,
}

impl Networks {
    /// Notes the network of a process, whose `ns/net` this is.
    pub(crate) fn learn(&mut self, path: &Path) {
        let Ok(metadata) = std::fs::metadata(path) else { return };
        let key = (metadata.dev(), metadata.ino());
        if !self.files.contains_key(&key) {
            if self.files.len() >= NETWORKS_MAX {
                return;
            }
            let Ok(file) = File::open(path) else { return };
            self.files.insert(key, file);
        }
    }

    /// An interface. Of a network that no process was seen in, its index is all there is.
    pub(crate) fn interface(&self, key: InterfaceKey) -> Interface {
        let index = key.index;
        let ask = move || {
            let name = rustix::net::netdevice::index_to_name(socket()?, index)?;
            Ok((name, ethtool::has_scatter_gather(index).ok()))
        };
        let known = self.files.iter().find(|((_, inode), _)| *inode == key.network);
        let answer = match known {
            Some((_, file)) => in_network(Some(file), ask),
            None if own_inode() == Some(key.network) => in_network(None, ask),
            None => None,
        };
        let unknown = || (format!("interface {index}"), None);
        let (name, has_scatter_gather) = answer.unwrap_or_else(unknown);
        Interface { name, is_loopback: index == LOOPBACK_INDEX, has_scatter_gather }
    }
}

fn socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
}

/// Asks in the network of a process, from a separate thread, which then is in that network.
fn in_network<T: Send + 'static>(
    network: Option<&File>,
    ask: impl FnOnce() -> rustix::io::Result<T> + Send + 'static,
) -> Option<T> {
    let network = network.and_then(|network| network.try_clone().ok());
    let asking = thread::spawn(move || {
        if let Some(network) = network
            && !is_ours(&network)
        {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        ask()
    });
    match asking.join() {
        Ok(Ok(answer)) => Some(answer),
        Ok(Err(_)) | Err(_) => None,
    }
}

fn is_ours(network: &File) -> bool {
    network.metadata().is_ok_and(|network| Some(network.ino()) == own_inode())
}

fn own_inode() -> Option<u64> {
    std::fs::metadata("/proc/thread-self/ns/net").ok().map(|network| network.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_network_take_one_descriptor() {
        let mut networks = Networks::default();
        for _ in 0..1_000 {
            networks.learn(Path::new("/proc/self/ns/net"));
        }
        assert_eq!(networks.files.len(), 1);
        let key = InterfaceKey { network: own_inode().unwrap(), index: LOOPBACK_INDEX };
        let loopback = networks.interface(key);
        assert_eq!((loopback.name.as_str(), loopback.is_loopback), ("lo", true));
        // Of another network nothing is asked.
        let elsewhere = InterfaceKey { network: key.network + 1, ..key };
        assert_eq!(networks.interface(elsewhere).name, "interface 1");
    }
}
