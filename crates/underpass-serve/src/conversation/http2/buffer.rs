//! Buffers that files are read into, used again and again: fresh memory costs more than the copy.

use std::cell::RefCell;

use bytes::Bytes;

/// Four frames of the size that clients accept.
pub(super) const BUFFER_BYTES: usize = 64 << 10;

/// As many as a worker keeps that no one uses: 2 MiB.
const SPARE_MAX: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer, which others may use once it is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// An empty one.
    pub(super) fn new() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        let bytes = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES].into());
        Self { bytes, len: 0 }
    }

    /// Its room, which holds what the last user has left there.
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The first `len` bytes, which were filled.
    pub(super) fn into_bytes(mut self, len: usize) -> Bytes {
        self.len = len;
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // Fails where the thread ends, and its buffers with it.
        let kept = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
        kept.unwrap_or_default();
    }
}
