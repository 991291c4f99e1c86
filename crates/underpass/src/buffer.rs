//! Bytes of the copying path between their read(2) and their write(2).
//!
//! The memory is laid out so that the kernel's copies are fast: where destination and source
//! differ by 1 to 63 bytes modulo 4096, `rep movsb` runs at a twentieth of its speed on Zen 3
//! (2.5 GB/s against 48). Reading to the place within a page that the bytes have in the file
//! avoids that; where the sink is a file too and both are not possible, half a page off both does.

use std::cell::Cell;
use std::ops::Range;

/// The most that is read at a time: twice this fits the second-level cache of the processors
/// measured, and larger calls gain nothing.
pub(crate) const BUFFER_MAX: usize = 256 * 1024;

const PAGE: usize = 4096;

thread_local! {
    /// The buffer of the last transfer on this thread, for the next one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A buffer, and the part of it that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    memory: Vec<u8>,
    live: Range<usize>,
}

impl Buffer {
    /// What has been read and not yet written.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.live.clone()]
    }

    pub(crate) fn len(&self) -> u64 {
        self.live.len() as u64
    }

    /// Room for `len` bytes, at most [`BUFFER_MAX`], that come from `from` and go to `to`, both
    /// offsets in files where there are any. Only for a buffer with nothing in it.
    pub(crate) fn room(&mut self, from: u64, to: Option<u64>, len: u64) -> &mut [u8] {
        debug_assert!(self.live.is_empty(), "{:?} are still buffered", self.live);
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(BUFFER_MAX);
        if self.memory.is_empty() {
            self.memory = SPARE.take();
        }
        if self.memory.len() < len + 2 * PAGE {
            self.memory.resize(len + 2 * PAGE, 0);
        }
        let start = self.memory.as_ptr().align_offset(PAGE) + place(from, to);
        self.live = start..start;
        &mut self.memory[start..start + len]
    }

    /// The first `n` bytes of the room have been read.
    pub(crate) fn filled(&mut self, n: u64) {
        self.live.end = self.live.start + usize::try_from(n).expect("no more than the room");
    }

    /// The first `n` bytes have been written.
    pub(crate) fn consume(&mut self, n: u64) {
        self.live.start += usize::try_from(n).expect("no more than is buffered");
        debug_assert!(self.live.start <= self.live.end);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.memory.is_empty() {
            // A thread that is ending has no spare any more; the memory is then freed.
            SPARE.try_with(|spare| spare.set(std::mem::take(&mut self.memory))).unwrap_or(());
        }
    }
}

/// The offset within a page to read to.
fn place(from: u64, to: Option<u64>) -> usize {
    let page = PAGE as u64;
    let slow = |to: u64, from: u64| (1..64).contains(&(to.wrapping_sub(from) % page));
    let place = match to {
        Some(to) if slow(to, from) => from.wrapping_add(page / 2) % page,
        Some(_) | None => from % page,
    };
    usize::try_from(place).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_copy_is_at_a_slow_distance() {
        for from in 0..4_096_u64 {
            for to in [None, Some(0), Some(1), Some(63), Some(64), Some(2_048), Some(4_095)] {
                let place = place(from, to) as u64;
                assert!(!(1..64).contains(&(place.wrapping_sub(from) % 4_096)), "{from} {to:?}");
                let out = to.map_or(0, |to| to.wrapping_sub(place) % 4_096);
                assert!(!(1..64).contains(&out), "{from} {to:?}");
            }
        }
    }

    #[test]
    fn the_room_lies_in_its_page_as_asked_and_is_consumed_from_the_front() {
        let mut buffer = Buffer::default();
        let room = buffer.room(8_191, None, 10);
        assert_eq!((room.as_ptr().addr() % PAGE, room.len()), (4_095, 10));
        room.copy_from_slice(b"0123456789");
        buffer.filled(8);
        buffer.consume(3);
        assert_eq!((buffer.bytes(), buffer.len()), (&b"34567"[..], 5));
        buffer.consume(5);
        assert_eq!(buffer.room(4_095, None, u64::MAX).len(), BUFFER_MAX);
    }
}
