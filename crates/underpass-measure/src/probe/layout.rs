//! Keys and values of the probe's maps, byte by byte, as probe.bpf.c has them.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::evidence::{Calls, FileId, FileKind, Lent, Mapped, Memory, Origin, Pages, Process};

/// A file within a key: mode, device, inode.
pub(crate) mod file {
    pub(crate) const MODE: i16 = 0;
    pub(crate) const DEVICE: i16 = 4;
    pub(crate) const INODE: i16 = 8;
    pub(crate) const LEN: i16 = 16;
}

/// Key of the calls' map.
pub(crate) mod call {
    use super::file;
    pub(crate) const PROCESS: i16 = 0;
    pub(crate) const NUMBER: i16 = 4;
    pub(crate) const SOURCE: i16 = 8;
    pub(crate) const TARGET: i16 = SOURCE + file::LEN;
    pub(crate) const MEMORY: i16 = TARGET + file::LEN;
    pub(crate) const FLAGS: i16 = MEMORY + file::LEN;

    /// In [`FLAGS`]: `MSG_ZEROCOPY`.
    pub(crate) const IS_ZERO_COPY: i32 = 1;
    /// In [`FLAGS`]: a file opened with `O_DIRECT`.
    pub(crate) const IS_DIRECT: i32 = 2;
    /// In [`FLAGS`]: before the process's first byte.
    pub(crate) const BEFORE_SENDING: i32 = 4;

    /// In place of the mode of [`MEMORY`].
    pub(crate) const OWN: u32 = 1;
    pub(crate) const NOT_SEEN: u32 = 2;

    pub(crate) const CALLS: i16 = 0;
    pub(crate) const FAILURES: i16 = 8;
    pub(crate) const BYTES: i16 = 16;
    pub(crate) const HEAD: i16 = 24;
}

/// Key of the maps that count pages; the value is a number of bytes.
pub(crate) mod page {
    /// A socket's inode, or a process.
    pub(crate) const OWNER: i16 = 0;
    pub(crate) const INTERFACE: i16 = 8;
    pub(crate) const LENT: i16 = 12;
    pub(crate) const ORIGIN: i16 = 16;
    pub(crate) const DEVICE: i16 = 20;
    pub(crate) const INODE: i16 = 24;

    pub(crate) const LINEAR: i32 = 0;
    pub(crate) const PAGE_CACHE: i32 = 2;
    pub(crate) const ANONYMOUS: i32 = 3;

    pub(crate) const NOT_LENT: i32 = 0;
    pub(crate) const SHARED: i32 = 1;
    pub(crate) const ZERO_COPY: i32 = 2;
}

/// Value of the map from a socket's inode to its name.
pub(crate) mod name {
    pub(crate) const PROCESS: i16 = 0;
    pub(crate) const FAMILY: i16 = 4;
    pub(crate) const LOCAL_PORT: i16 = 6;
    /// In network order, as the kernel keeps it.
    pub(crate) const PEER_PORT: i16 = 8;
    /// The inode of the network it is in.
    pub(crate) const NETWORK: i16 = 12;
    pub(crate) const PEER: i16 = 16;
    pub(crate) const LOCAL: i16 = 32;
    pub(crate) const UPPER: i16 = 48;
}

/// Files that were mapped, by process and file.
pub(crate) mod mapped {
    pub(crate) const FILE: i16 = 8;
    pub(crate) const BYTES: i16 = 0;
    pub(crate) const IS_PROGRAM: i16 = 8;
}

/// Value of the processes' map.
pub(crate) mod process {
    pub(crate) const USER_FAULTS: i16 = 0;
    pub(crate) const IS_32_BIT: i16 = 8;
    pub(crate) const PROGRAM: usize = 16;
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

fn word<const N: usize>(bytes: &[u8], at: i16) -> [u8; N] {
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8], at: i16) -> u16 {
    u16::from_ne_bytes(word(bytes, at))
}

fn u32_at(bytes: &[u8], at: i16) -> u32 {
    u32::from_ne_bytes(word(bytes, at))
}

/// The eight bytes at an offset.
pub(crate) fn u64_at(bytes: &[u8], at: i16) -> u64 {
    u64::from_ne_bytes(word(bytes, at))
}

/// The kernel keeps 20 bits of minor number.
fn device(encoded: u32) -> (u32, u32) {
    (encoded >> 20, encoded & 0xf_ffff)
}

fn file_at(key: &[u8], at: i16) -> Option<FileId> {
    let kind = match u32_at(key, at + file::MODE) & 0o170_000 {
        0 => return None,
        0o100_000 => FileKind::Regular,
        0o140_000 => FileKind::Socket,
        0o010_000 => FileKind::Pipe,
        _ => FileKind::Other,
    };
    let (major, minor) = device(u32_at(key, at + file::DEVICE));
    Some(FileId { kind, major, minor, inode: u64_at(key, at + file::INODE) })
}

/// An entry of the calls' map.
pub(crate) fn calls(key: &[u8], value: &[u8]) -> Calls {
    let flags = u32_at(key, call::FLAGS).cast_signed();
    Calls {
        process: u32_at(key, call::PROCESS),
        number: u32_at(key, call::NUMBER),
        source: file_at(key, call::SOURCE),
        target: file_at(key, call::TARGET),
        memory: match u32_at(key, call::MEMORY + file::MODE) {
            call::OWN => Memory::Own,
            call::NOT_SEEN => Memory::NotSeen,
            _ => file_at(key, call::MEMORY).map_or(Memory::None, Memory::File),
        },
        is_zero_copy: flags & call::IS_ZERO_COPY != 0,
        is_direct: flags & call::IS_DIRECT != 0,
        before_sending: flags & call::BEFORE_SENDING != 0,
        calls: u64_at(value, call::CALLS),
        failures: u64_at(value, call::FAILURES),
        bytes: u64_at(value, call::BYTES),
        head: word(value, call::HEAD),
    }
}

/// An entry of the map of files that were mapped.
pub(crate) fn mapped(key: &[u8], value: &[u8]) -> Option<Mapped> {
    let (process, file) = (process_in(key), file_at(key, mapped::FILE)?);
    let is_program = u64_at(value, mapped::IS_PROGRAM) != 0;
    Some(Mapped {
        process,
        file,
        bytes: u64_at(value, mapped::BYTES),
        is_program,
        is_written: false,
    })
}

/// An entry of a map of pages: whose they are, and what; nothing for bytes that left again.
pub(crate) fn pages(key: &[u8], bytes: u64) -> (u64, Option<Pages>) {
    let (major, minor) = device(u32_at(key, page::DEVICE));
    let origin = match u32_at(key, page::ORIGIN).cast_signed() {
        page::LINEAR => Origin::Linear,
        page::PAGE_CACHE => Origin::PageCache { major, minor, inode: u64_at(key, page::INODE) },
        page::ANONYMOUS => Origin::Anonymous,
        _ => Origin::Kernel,
    };
    let lent = match u32_at(key, page::LENT).cast_signed() {
        page::NOT_LENT => Some(Lent::No),
        page::SHARED => Some(Lent::Shared),
        page::ZERO_COPY => Some(Lent::ZeroCopy),
        _ => None,
    };
    let interface = u32_at(key, page::INTERFACE);
    let pages = lent.map(|lent| Pages { interface, origin, lent, bytes });
    (u64_at(key, page::OWNER), pages)
}

/// A socket's own address, and the other end's.
pub(crate) fn addresses(value: &[u8]) -> (Option<SocketAddr>, Option<SocketAddr>) {
    let family = u16_at(value, name::FAMILY);
    let ip = |at| match family {
        AF_INET => Some(IpAddr::from(Ipv4Addr::from(word::<4>(value, at)))),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(word::<16>(value, at))).to_canonical()),
        _ => None,
    };
    let local = ip(name::LOCAL).map(|ip| (ip, u16_at(value, name::LOCAL_PORT)).into());
    let peer_port = u16::from_be_bytes(word(value, name::PEER_PORT));
    (local, ip(name::PEER).map(|ip| (ip, peer_port).into()))
}

/// The first followed process that used a socket.
pub(crate) fn user(value: &[u8]) -> u32 {
    u32_at(value, name::PROCESS)
}

/// The network namespace that a socket is in.
pub(crate) fn network(value: &[u8]) -> u64 {
    u32_at(value, name::NETWORK).into()
}

/// Name of the protocol above TCP.
pub(crate) fn upper_layer(value: &[u8]) -> Option<String> {
    Some(text(&word::<16>(value, name::UPPER))).filter(|name| !name.is_empty())
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(terminated(field)).into_owned()
}

fn terminated(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// A value of the processes' map for one whose program is known otherwise.
pub(crate) fn process_named(program: &[u8], mut zeros: Vec<u8>) -> Vec<u8> {
    let room = zeros.len() - process::PROGRAM - 1;
    let len = program.len().min(room);
    zeros[process::PROGRAM..][..len].copy_from_slice(&program[..len]);
    zeros
}

/// Length of one name in an entry of the map of paths.
const PART: usize = 64;

/// The key of a file in the map of paths.
pub(crate) fn path_key(file: FileId) -> [u8; 16] {
    let device = u64::from(file.major << 20 | file.minor);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&device.to_ne_bytes());
    key[8..].copy_from_slice(&file.inode.to_ne_bytes());
    key
}

/// Where a file is in its file system: the entry has its names from the last to the first.
pub(crate) fn path(value: &[u8]) -> PathBuf {
    let count = usize::try_from(u64_at(value, 0)).unwrap_or(0);
    let parts: Vec<&[u8]> = value[8..].chunks(PART).take(count).map(terminated).collect();
    let names = parts.iter().rev().map(|part| OsStr::from_bytes(part));
    Path::new("/").join(names.collect::<PathBuf>())
}

/// The process that is a key.
pub(crate) fn process_in(key: &[u8]) -> u32 {
    u32_at(key, 0)
}

/// An entry of the processes' map.
pub(crate) fn process(key: &[u8], value: &[u8]) -> Process {
    Process {
        process: process_in(key),
        user_faults: u64_at(value, process::USER_FAULTS),
        is_32_bit: u64_at(value, process::IS_32_BIT) != 0,
        program: text(&value[process::PROGRAM..]),
        ..Process::default()
    }
}
