//! The maps by which programs and reader talk; probe.bpf.c says what is in them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use underpass_sys::bpf::{self, MapLens, MapShape};

use super::layout;

/// A key and its value.
pub(crate) type Entry = (Vec<u8>, Vec<u8>);

/// A map and the lengths of its keys and values.
#[derive(Debug)]
pub(crate) struct Map {
    fd: OwnedFd,
    lens: MapLens,
}

impl Map {
    pub(crate) fn new(shape: &MapShape) -> Result<Self, Errno> {
        let fd = bpf::create_map(shape)?;
        let lens = MapLens { key: shape.key_len as usize, value: shape.value_len as usize };
        Ok(Self { fd, lens })
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        bpf::update(self.as_fd(), self.lens, key, value)
    }

    /// A value that nothing was written to.
    pub(crate) fn zeros(&self) -> Vec<u8> {
        vec![0; self.lens.value]
    }

    /// Takes a key out, if it is there.
    pub(crate) fn remove(&self, key: &[u8]) -> Result<(), Errno> {
        match bpf::delete(self.as_fd(), self.lens, key) {
            Err(Errno::NOENT) => Ok(()),
            removed => removed,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let mut value = self.zeros();
        match bpf::lookup(self.as_fd(), self.lens, key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The number of a map of one.
    pub(crate) fn number(&self) -> Result<u64, Errno> {
        Ok(self.get(&0_u32.to_ne_bytes())?.map_or(0, |value| layout::number(&value)))
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
