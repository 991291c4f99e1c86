//! Bytes on their way from an origin into an object's file.

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;

use crate::error::ObjectError;
use crate::extents::Piece;
use crate::object::Object;
use crate::plan::Filling;

/// A range of an object that was asked for, or is about to be. When it is dropped, those who wait
/// for its bytes look what to do now.
pub(crate) struct Fill {
    object: Arc<Object>,
    filling: Filling,
    /// When its first bytes came, and how many came before that: a rate is of what came since.
    began: Option<(Instant, u64)>,
}

impl Fill {
    pub(crate) const fn new(object: Arc<Object>, filling: Filling) -> Self {
        Self { object, filling, began: None }
    }

    pub(crate) const fn object(&self) -> &Arc<Object> {
        &self.object
    }

    /// What is still to come: to be asked for, at the beginning and when an answer broke off.
    pub(crate) const fn range(&self) -> Range<u64> {
        self.filling.at..self.filling.end
    }

    /// How many of the next bytes there is room for: none where it meets what another fill brought,
    /// or is about to bring.
    pub(crate) fn room(&self) -> u64 {
        let at = self.filling.at;
        let state = self.object.state();
        let others = state.fills.iter().filter(|other| other.number != self.filling.number);
        let next = others.map(|other| other.at).filter(|other| *other >= at).min();
        let gap = state.there.gap_from(at);
        let end = gap.end.min(self.filling.end).min(next.unwrap_or(u64::MAX));
        if gap.start == at { end - at } else { 0 }
    }

    /// Takes the next bytes: not more than there is room for.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        write_all(self.object.file(), bytes, self.filling.at).map_err(ObjectError::Disk)?;
        let pieces = self.pieces(bytes);
        self.filling.at += bytes.len() as u64;
        let (began, before) = *self.began.get_or_insert((Instant::now(), self.filling.at));
        let micros = began.elapsed().as_micros().max(1);
        let rate = u128::from(self.filling.at - before) * 1_000_000 / micros;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        self.object.publish(&pieces, self.filling.number, rate);
        Ok(())
    }

    /// The next bytes, cell by cell, with their checksums.
    fn pieces(&self, mut bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start = self.filling.at;
        while !bytes.is_empty() {
            let cell = self.object.cell(start);
            let len = usize::try_from(cell.end - start).unwrap_or(usize::MAX).min(bytes.len());
            let (piece, rest) = bytes.split_at(len);
            let len = u32::try_from(len).expect("a cell has less than 4 GiB");
            pieces.push(Piece { start, len, crc32c: crc32c::crc32c(piece) });
            (start, bytes) = (start + u64::from(len), rest);
        }
        pieces
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.object.end_fill(self.filling.number);
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => (bytes, at) = (&bytes[n..], at + n as u64),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
