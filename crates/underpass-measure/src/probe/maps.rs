//! The maps by which programs and reader talk.
//!
//! Sizes are limits on what can be told apart, stated here; what does not fit is counted as lost.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use underpass_sys::bpf::{self, MapKind, MapLens};

use super::layout::{call, name, page, process, socket, toll, u64_at};

/// Processes followed at a time, and those whose counts are kept: of those that end, the last.
const PROCESSES_MAX: u32 = 4_096;
/// TCP sockets alive at a time.
const SOCKETS_MAX: u32 = 65_536;
/// Kinds of call by process and files.
const CALLS_MAX: u32 = 131_072;
/// Socket, interface, origin.
const PAGES_MAX: u32 = 131_072;

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// A map and the lengths of its keys and values.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    lens: MapLens,
}

impl Map {
    fn new(kind: MapKind, key: i16, value: i16, entries_max: u32) -> Result<Self, Errno> {
        let [key, value] = [key, value].map(i16::unsigned_abs);
        let fd = bpf::create_map(kind, key.into(), value.into(), entries_max)?;
        Ok(Self { fd, lens: MapLens { key: key.into(), value: value.into() } })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        bpf::update(self.as_fd(), self.lens, key, value)
    }

    /// Takes a key out, if it is there.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        match bpf::delete(self.as_fd(), self.lens, key) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut value = vec![0; self.lens.value];
        match bpf::lookup(self.as_fd(), self.lens, key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The number of a map of one.
    pub(crate) fn number(&self) -> Result<u64, Errno> {
        Ok(self.get(&0_u32.to_ne_bytes())?.map_or(0, |value| u64_at(&value, 0)))
    }

    /// Every key with its value. What is added meanwhile may or may not be among them.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, Errno> {
        // A key that no map has: the walk begins with the first.
        let mut key = vec![0xff; self.lens.key];
        let mut entries = Vec::new();
        loop {
            match bpf::next_key(self.as_fd(), self.lens, &mut key) {
                Ok(()) => {}
                Err(Errno::NOENT) => return Ok(entries),
                Err(errno) => return Err(errno),
            }
            if let Some(value) = self.get(&key)? {
                entries.push((key.clone(), value));
            }
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Maps {
    /// Processes to look at.
    pub(crate) followed: Map,
    /// Calls by process, number, files.
    pub(crate) calls: Map,
    /// TCP sockets alive, by address in the kernel.
    pub(crate) sockets: Map,
    /// Their names, by inode; they outlive the sockets.
    pub(crate) names: Map,
    /// Payload that left, by socket's inode.
    pub(crate) sent: Map,
    /// Bytes copied to processes.
    pub(crate) received: Map,
    /// Faults and switches.
    pub(crate) processes: Map,
    /// One number: what found a map full.
    pub(crate) lost: Map,
    /// One number: which look this is, from 1.
    pub(crate) look: Map,
    /// What was paid for looking, by processor.
    pub(crate) tolls: Map,
}

impl Maps {
    /// Makes them, empty.
    pub(crate) fn new() -> Result<Self, Errno> {
        let hash = |key, value, max| Map::new(MapKind::Hash, key, value, max);
        Ok(Self {
            followed: hash(4, 4, PROCESSES_MAX)?,
            calls: hash(call::KEY, call::VALUE, CALLS_MAX)?,
            sockets: hash(8, socket::VALUE, SOCKETS_MAX)?,
            names: hash(8, name::VALUE, SOCKETS_MAX)?,
            sent: hash(page::KEY, page::VALUE, PAGES_MAX)?,
            received: hash(page::KEY, page::VALUE, PAGES_MAX)?,
            processes: Map::new(MapKind::LruHash, 4, process::VALUE, PROCESSES_MAX)?,
            lost: Map::new(MapKind::Array, 4, 8, 1)?,
            look: Map::new(MapKind::Array, 4, 8, 1)?,
            tolls: Map::new(MapKind::Array, 4, toll::VALUE, toll::PROCESSORS.unsigned_abs())?,
        })
    }
}
