//! What /proc tells of threads and descriptors, for those that no call was seen to make.
//!
//! Source: proc_pid_fd(5), proc_pid_task(5), proc_pid_net(5);
//! `Documentation/networking/proc_net_tcp.rst`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::descriptors::{Connection, Descriptor, End};
use crate::evidence::{FileId, FileKind};
use crate::explain::proc;

/// Both ends of a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
}

/// What was found behind a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) end: End,
    /// Of a TCP socket.
    pub(crate) addresses: Option<Addresses>,
}

/// The descriptors of a process.
pub(crate) fn descriptors(process: u32) -> Vec<(u64, Found)> {
    let numbers = proc::numbers(&format!("/proc/{process}/fd"));
    let mut sockets = Sockets::default();
    numbers.filter_map(|number| Some((number, sockets.found((process, number))?))).collect()
}

/// What is behind descriptors now, as far as /proc tells. The table of sockets may be older than
/// a question for a connection, which then is asked again.
pub(crate) fn answers(
    questions: &[(Descriptor, End)],
    sockets: &mut Sockets,
) -> Vec<(Descriptor, End, Found)> {
    let mut answer = |(descriptor, end): &(Descriptor, End)| {
        Some((*descriptor, *end, sockets.found(*descriptor)?))
    };
    questions.iter().filter_map(&mut answer).collect()
}

/// TCP sockets, by the network that processes are in: read at the first socket that is asked for.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    tcp: HashMap<Option<(u64, u64)>, HashMap<u64, Addresses>>,
}

impl Sockets {
    fn found(&mut self, (process, number): Descriptor) -> Option<Found> {
        let path = format!("/proc/{process}/fd/{number}");
        let metadata = std::fs::metadata(Path::new(&path)).ok()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let kind = metadata.file_type();
        let id = |kind| FileId {
            kind,
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
            inode,
        };
        let mut addresses = None;
        let end = match () {
            () if kind.is_socket() => {
                let tcp = self.tcp.entry(network(process));
                let tcp = tcp.or_insert_with(|| tcp_sockets(process));
                addresses = tcp.get(&inode).copied();
                match addresses {
                    Some(_) => End::Tcp(Connection::Inode(inode)),
                    None => End::Socket(inode),
                }
            }
            () if kind.is_fifo() => End::Pipe(inode),
            () if kind.is_file() => End::File(id(FileKind::Regular)),
            () if kind.is_dir() => End::File(id(FileKind::Directory)),
            () if kind.is_char_device() => End::File(id(FileKind::CharacterDevice)),
            () if kind.is_block_device() => End::File(id(FileKind::BlockDevice)),
            () => End::File(id(FileKind::Other)),
        };
        Some(Found { end, addresses })
    }
}

/// The network a process is in.
fn network(process: u32) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(format!("/proc/{process}/ns/net")).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// The TCP sockets in the network of a process, by inode.
fn tcp_sockets(process: u32) -> HashMap<u64, Addresses> {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{process}/net/{table}"));
    let read = |path: &String| std::fs::read_to_string(path).unwrap_or_default();
    tables
        .iter()
        .flat_map(|path| read(path).lines().filter_map(socket).collect::<Vec<_>>())
        .collect()
}

/// A line: number, own address, the peer's, and the tenth word, an inode.
fn socket(line: &str) -> Option<(u64, Addresses)> {
    let words: Vec<&str> = line.split_whitespace().take(10).collect();
    let [_, local, peer, .., inode] = words[..] else { return None };
    Some((inode.parse().ok()?, Addresses { local: address(local)?, peer: address(peer)? }))
}

/// `0100007F:1F90`: words of 32 bits as this processor reads them, and the port as one writes it.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(words.get(8 * at..8 * at + 8)?, 16).ok();
    let bytes = |at: usize| word(at).map(u32::to_ne_bytes);
    let ip = match words.len() {
        8 => IpAddr::V4(Ipv4Addr::from(bytes(0)?)),
        32 => {
            let all = [bytes(0)?, bytes(1)?, bytes(2)?, bytes(3)?].concat();
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(all).ok()?);
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_an_inode_and_two_addresses_of_either_family() {
        let four = "   1: 0100007F:1F90 0200A8C0:D431 01 00000000:00000000 00:00000000 00000000 \
                    33 0 52341 1 0000000000000000 20 4 30 10 -1";
        let six = "   0: 00000000000000000000000001000000:0050 \
                   B80D01200000000000000000 01 00000000:00000000 00:00000000 00000000 0 0 7 1";
        let mapped = "   0: 0000000000000000FFFF00000100007F:0050 \
                      0000000000000000FFFF00000200007F:0051 01 0:0 00:0 0 0 0 8 1";
        let read = |line: &str| {
            let (inode, Addresses { local, peer }) = socket(line)?;
            Some((inode, local.to_string(), peer.to_string()))
        };
        if cfg!(target_endian = "little") {
            let expected = (52_341, "127.0.0.1:8080".into(), "192.168.0.2:54321".into());
            assert_eq!(read(four), Some(expected));
            assert_eq!(read(mapped), Some((8, "127.0.0.1:80".into(), "127.0.0.2:81".into())));
        }
        assert_eq!(read(six), None, "an address that is cut short");
        assert_eq!(read("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        assert_eq!(read(""), None);
    }
}
