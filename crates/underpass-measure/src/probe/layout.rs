//! Keys and values of the probe's maps, member by member, in the order of probe.bpf.c.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::evidence::{
    Calls, FileId, FileKind, Lent, Mapped, Memory, Origin, Pages, Process, Socket,
};

/// In the flags of calls.
const IS_ZERO_COPY: u32 = 1;
const IS_DIRECT: u32 = 2;
const BEFORE_SENDING: u32 = 4;

/// In place of the mode of a call's memory.
const OWN: u32 = 1;
const NOT_SEEN: u32 = 2;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// Length of a process's program's name, and of one name in an entry of the map of paths.
const PROGRAM: usize = 64;
const PART: usize = 128;

/// What is left of a structure.
struct Members<'a>(&'a [u8]);

impl Members<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (first, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *first
    }

    fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.bytes())
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes())
    }

    /// The kernel keeps 20 bits of minor number.
    fn device(&mut self) -> (u32, u32) {
        let encoded = self.u32();
        (encoded >> 20, encoded & 0xf_ffff)
    }

    /// A file's mode, or what is in place of it; and the file, if there is one.
    fn moded(&mut self) -> (u32, Option<FileId>) {
        let (mode, (major, minor), inode) = (self.u32(), self.device(), self.u64());
        let kind = match mode & 0o170_000 {
            0 => return (mode, None),
            0o100_000 => FileKind::Regular,
            0o140_000 => FileKind::Socket,
            0o010_000 => FileKind::Pipe,
            _ => FileKind::Other,
        };
        (mode, Some(FileId { kind, major, minor, inode }))
    }

    fn file(&mut self) -> Option<FileId> {
        self.moded().1
    }

    fn text<const N: usize>(&mut self) -> String {
        String::from_utf8_lossy(terminated(&self.bytes::<N>())).into_owned()
    }

    fn address(&mut self, family: u16) -> Option<IpAddr> {
        let bytes: [u8; 16] = self.bytes();
        match family {
            AF_INET => Some(Ipv4Addr::from(Members(&bytes).bytes::<4>()).into()),
            AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()),
            _ => None,
        }
    }
}

/// The number that a key or a value begins with.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    Members(bytes).u64()
}

/// The process that a key begins with.
pub(crate) fn process_in(key: &[u8]) -> u32 {
    Members(key).u32()
}

/// An entry of the calls' map.
pub(crate) fn calls(key: &[u8], value: &[u8]) -> Calls {
    let (mut key, mut value) = (Members(key), Members(value));
    let (process, number) = (key.u32(), key.u32());
    let (source, target, memory, flags) = (key.file(), key.file(), key.moded(), key.u32());
    Calls {
        process,
        number,
        source,
        target,
        memory: match memory {
            (OWN, _) => Memory::Own,
            (NOT_SEEN, _) => Memory::NotSeen,
            (_, file) => file.map_or(Memory::None, Memory::File),
        },
        is_zero_copy: flags & IS_ZERO_COPY != 0,
        is_direct: flags & IS_DIRECT != 0,
        before_sending: flags & BEFORE_SENDING != 0,
        calls: value.u64(),
        failures: value.u64(),
        bytes: value.u64(),
        head: value.bytes(),
    }
}

/// An entry of the map of files that were mapped.
pub(crate) fn mapped(key: &[u8], value: &[u8]) -> Mapped {
    let (mut key, mut value) = (Members(key), Members(value));
    let (process, _, file) = (key.u32(), key.u32(), key.file().unwrap_or(FileId::NOT_SEEN));
    let (bytes, is_program, is_written) = (value.u64(), value.u32() != 0, value.u32() != 0);
    Mapped { process, file, bytes, is_program, is_written }
}

/// An entry of a map of pages: whose they are, and what; or how many bytes left again.
pub(crate) fn pages(key: &[u8], value: &[u8]) -> (u64, Result<Pages, u64>) {
    let bytes = number(value);
    let mut key = Members(key);
    let (owner, interface, lent, origin) = (key.u64(), key.u32(), key.u32(), key.u32());
    let ((major, minor), inode) = (key.device(), key.u64());
    let origin = match origin {
        0 => Origin::Linear,
        2 => Origin::PageCache { major, minor, inode },
        3 => Origin::Anonymous,
        _ => Origin::Kernel,
    };
    let lent = match lent {
        0 => Ok(Lent::No),
        1 => Ok(Lent::Shared),
        2 => Ok(Lent::ZeroCopy),
        _ => Err(bytes),
    };
    (owner, lent.map(|lent| Pages { interface, origin, lent, bytes }))
}

/// An entry of the map of sockets' names; its process is 0 if none was seen to use it.
pub(crate) fn socket(inode: u64, value: &[u8]) -> Socket {
    let mut value = Members(value);
    let (process, family, local_port) = (value.u32(), value.u16(), value.u16());
    // In network order, as the kernel keeps it.
    let (peer_port, _, network) = (u16::from_be(value.u16()), value.u16(), value.u32().into());
    let (peer, local) = (value.address(family), value.address(family));
    Socket {
        inode,
        process,
        network,
        local: local.map(|ip| SocketAddr::new(ip, local_port)),
        peer: peer.map(|ip| SocketAddr::new(ip, peer_port)),
        upper_layer: Some(value.text::<16>()).filter(|name| !name.is_empty()),
        ..Socket::default()
    }
}

/// The same for one that a process is found to use.
pub(crate) fn name_used(process: u32, value: &[u8]) -> Vec<u8> {
    [&process.to_ne_bytes(), &value[4..]].concat()
}

fn terminated(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// What left: in pages of files, and otherwise.
pub(crate) fn left(value: &[u8]) -> [u64; 2] {
    let mut value = Members(value);
    [value.u64(), value.u64()]
}

/// The inode of a socket that is alive and what left by it, if no process is known to use it.
pub(crate) fn unclaimed(value: &[u8]) -> Option<(u64, [u64; 2])> {
    let mut members = Members(value);
    let (inode, _next, process) = (members.u64(), members.u32(), members.u32());
    let (_named, _begun, _upper, _device) =
        (members.u32(), members.u32(), members.u64(), members.u64());
    (process == 0).then(|| (inode, [members.u64(), members.u64()]))
}

/// An entry of the processes' map.
pub(crate) fn process(key: &[u8], value: &[u8]) -> Process {
    let mut value = Members(value);
    Process {
        process: process_in(key),
        user_faults: value.u64(),
        is_32_bit: value.u64() != 0,
        program: value.text::<PROGRAM>(),
        ..Process::default()
    }
}

/// A value of the processes' map for one whose program is known otherwise.
pub(crate) fn process_named(program: &[u8], mut zeros: Vec<u8>) -> Vec<u8> {
    let len = program.len().min(PROGRAM - 1);
    let at = zeros.len() - PROGRAM;
    zeros[at..][..len].copy_from_slice(&program[..len]);
    zeros
}

/// The key of a file in the map of paths.
pub(crate) fn path_key(file: FileId) -> Vec<u8> {
    let device = u64::from(file.major << 20 | file.minor);
    [device.to_ne_bytes(), file.inode.to_ne_bytes()].concat()
}

/// Where a file is in which file system, by device: the entry has its names from the last to the
/// first.
pub(crate) fn path(value: &[u8]) -> ((u32, u32), PathBuf) {
    let mut value = Members(value);
    let (count, device) = (value.u32() as usize, value.device());
    let parts: Vec<&[u8]> = value.0.chunks(PART).take(count).map(terminated).collect();
    let names = parts.iter().rev().map(|part| OsStr::from_bytes(part));
    (device, Path::new("/").join(names.collect::<PathBuf>()))
}
