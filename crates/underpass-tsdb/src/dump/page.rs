//! Memory that text is put into, and that is handed on when it is full.

use super::pipeline::{Count, Outlet, Stopped};

/// A page, and how far it is filled.
pub(super) struct Page<'o, 'd, L> {
    bytes: Vec<u8>,
    at: usize,
    outlet: &'o mut Outlet<'d, L>,
}

/// Bytes of a page. With what is read and decoded, it stays in an L2 cache.
pub(super) const PAGE_LEN: usize = 256 << 10;

impl<'o, 'd, L> Page<'o, 'd, L> {
    /// A page in the memory of one that was used before, or in none.
    pub(super) const fn new(bytes: Vec<u8>, outlet: &'o mut Outlet<'d, L>) -> Self {
        Self { bytes, at: 0, outlet }
    }

    /// Room for `count` bytes, which [`fill`](Self::fill) then counts.
    #[inline]
    pub(super) fn room(&mut self, count: usize) -> Result<&mut [u8], Stopped> {
        if self.bytes.len() - self.at < count {
            self.make_room(count)?;
        }
        Ok(&mut self.bytes[self.at..self.at + count])
    }

    /// Counts bytes that were put into the room.
    #[inline]
    pub(super) const fn fill(&mut self, count: usize) {
        self.at += count;
    }

    pub(super) fn push(&mut self, text: &[u8]) -> Result<(), Stopped> {
        self.room(text.len())?.copy_from_slice(text);
        self.fill(text.len());
        Ok(())
    }

    #[cold]
    fn make_room(&mut self, count: usize) -> Result<(), Stopped> {
        self.hand_on()?;
        // Labels of such a length make a page longer, and nothing else does.
        if self.bytes.len() < count {
            self.bytes.resize(count.max(PAGE_LEN), 0);
        }
        Ok(())
    }

    fn hand_on(&mut self) -> Result<(), Stopped> {
        if self.at > 0 {
            let len = std::mem::take(&mut self.at);
            self.bytes = self.outlet.page(std::mem::take(&mut self.bytes), len)?;
        }
        Ok(())
    }

    /// Hands on what is there, and gives the memory back.
    pub(super) fn end(mut self) -> Result<Vec<u8>, Stopped> {
        self.hand_on()?;
        Ok(self.bytes)
    }

    /// Tells of something that could not be read.
    pub(super) fn loss(&mut self, loss: L) -> Result<(), Stopped> {
        self.outlet.loss(loss)
    }

    /// Tells what was done.
    pub(super) fn done(&mut self, count: Count) -> Result<(), Stopped> {
        self.outlet.done(count)
    }
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::Piece;
    use super::*;

    #[test]
    fn pages_hold_what_was_put_into_them_in_order() {
        let mut text = Vec::new();
        let mut deliver = |piece: Piece<'_, ()>| {
            if let Piece::Text(piece) = piece {
                text.push(piece.to_vec());
            }
            Ok(())
        };
        let mut outlet = Outlet::Direct(&mut deliver);
        let mut page = Page::new(vec![b'?'; 8], &mut outlet);
        page.push(b"12345").unwrap();
        let room = page.room(3).unwrap();
        room.copy_from_slice(b"678");
        page.fill(2);
        page.push(&[b'9'; 2 * PAGE_LEN]).unwrap();
        page.push(b"10").unwrap();
        page.end().unwrap();
        let expected = [b"1234567", vec![b'9'; 2 * PAGE_LEN].as_slice(), b"10"].concat();
        assert!(text.concat() == expected);
    }

    #[test]
    fn what_nothing_takes_is_an_error_at_once() {
        let mut deliver = |_: Piece<'_, ()>| Err(Stopped);
        let mut outlet = Outlet::Direct(&mut deliver);
        let mut page = Page::new(vec![0; 4], &mut outlet);
        page.push(b"1234").unwrap();
        assert_eq!(page.push(b"5"), Err(Stopped));
    }
}
