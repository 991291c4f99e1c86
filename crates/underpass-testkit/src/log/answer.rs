//! Reading an answer field by field, with every length checked, to its last byte.

use std::io;

/// The bytes of an answer, behind its correlation id.
#[derive(Debug)]
pub struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] if the answer ends first, as everywhere here.
    pub fn i8(&mut self) -> io::Result<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// The next two bytes.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`].
    pub fn i16(&mut self) -> io::Result<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// The next four bytes.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`].
    pub fn i32(&mut self) -> io::Result<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// The next eight bytes.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`].
    pub fn i64(&mut self) -> io::Result<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A string with a length of two bytes; empty if it is null.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`].
    pub fn string(&mut self) -> io::Result<String> {
        let len = self.i16()?;
        let bytes = self.take(usize::try_from(len).unwrap_or(0))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Bytes with a length of four; empty if they are null.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`].
    pub fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = self.i32()?;
        self.take(usize::try_from(len).unwrap_or(0)).map(<[u8]>::to_vec)
    }

    /// The elements of an array; a null one has none.
    ///
    /// # Errors
    ///
    /// As [`Answer::i8`], and what `element` fails with.
    pub fn array_of<T>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let count = self.i32()?;
        (0..count).map(|_| element(self)).collect()
    }

    /// The only element of an array, where one was asked for.
    ///
    /// # Errors
    ///
    /// As [`Answer::array_of`], and if there is another number of elements.
    pub fn one_of<T>(&mut self, element: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<T> {
        let mut elements = self.array_of(element)?;
        match (elements.pop(), elements.len()) {
            (Some(element), 0) => Ok(element),
            (_, others) => Err(invalid(format!("{others} elements and not one"))),
        }
    }

    /// Makes sure that it has been read to its last byte.
    ///
    /// # Errors
    ///
    /// If bytes follow.
    pub fn end(&self) -> io::Result<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            more => Err(invalid(format!("{more} bytes follow the answer"))),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        let from = self.at;
        let there = self.bytes.get(from..).and_then(|rest| rest.get(..len));
        self.at += there.map_or(0, <[u8]>::len);
        there.ok_or_else(|| invalid(format!("the answer ends before {len} bytes at {from}")))
    }
}

/// An answer, or a batch in it, that cannot be.
pub(super) fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
