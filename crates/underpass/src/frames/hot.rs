//! Copies into buffers of the caller's, for tasks that must not wait.

use std::io::IoSliceMut;

use rustix::io::{Errno, ReadWriteFlags};

use super::{Cold, Frames, Held};
use crate::error::{Error, ErrorKind};
use crate::stability::Stability;

/// How much is fetched at a time where a copy was refused; as a stream fetches.
const COLD_FETCH_BYTES: usize = 256 * 1024;

/// What came of [`Frames::copy_hot`].
#[derive(Debug)]
pub enum Copied {
    /// This many bytes; none at the end, or where there is no room.
    Bytes(usize),
    /// None: this has to be fetched first.
    Cold(Cold),
}

impl Frames {
    /// Copies the next bytes into `into`, as many as there is room for and as can be read without
    /// waiting for the disk, and then looks at the file: for tasks that must not wait, and buffers
    /// that are used again. No byte of the mapping is touched.
    ///
    /// Asked again after [`Copied::Cold`], it waits for what was to be fetched. Reading an
    /// [`UnmappedFile`](crate::UnmappedFile) may always wait.
    ///
    /// # Errors
    ///
    /// As those of the items; it is the last answer.
    pub fn copy_hot(&mut self, into: &mut [u8]) -> Result<Copied, Error> {
        let copied = self.copy(into);
        self.is_over |= copied.is_err();
        copied
    }

    /// Where in the file the next piece starts.
    #[must_use]
    pub fn file_position(&self) -> u64 {
        self.offset()
    }

    /// A number of the mapping, which no other has or had, if its policy looks for changes of the
    /// file: then bytes of an earlier copy of it may stand for those of a later one; see
    /// [`Frames::pass_over`].
    #[must_use]
    pub fn watched(&self) -> Option<u64> {
        let note = self.file.note()?;
        matches!(note.stability, Stability::Guard | Stability::Lease).then_some(note.number)
    }

    /// Passes over `len` bytes at most that the caller has of an earlier copy of the same mapping,
    /// once it was found that the file is what it was.
    ///
    /// # Errors
    ///
    /// As those of the items; it is the last answer.
    pub fn pass_over(&mut self, len: usize) -> Result<usize, Error> {
        let len = usize::try_from(self.remaining()).map_or(len, |it| it.min(len));
        let looked = self.look();
        self.is_over |= looked.is_err();
        looked.map(|()| self.advance(len))
    }

    fn advance(&mut self, len: usize) -> usize {
        self.note_sent(len);
        self.at += len as u64;
        len
    }

    fn copy(&mut self, into: &mut [u8]) -> Result<Copied, Error> {
        let most = usize::try_from(self.remaining()).map_or(into.len(), |it| it.min(into.len()));
        let fetched = usize::try_from(self.fetched.saturating_sub(self.at)).unwrap_or(0);
        let is_mapped = matches!(self.file, Held::Mapped(_));
        let (len, flags) = match fetched {
            _ if most == 0 => return Ok(Copied::Bytes(0)),
            0 if is_mapped => (most, ReadWriteFlags::NOWAIT),
            0 => (most, ReadWriteFlags::empty()),
            fetched => (most.min(fetched), ReadWriteFlags::empty()),
        };
        let n = match self.read_at_once(&mut into[..len], flags) {
            Ok(0) => return Err(self.truncated(self.offset().min(self.file.end()))),
            Ok(n) => n,
            Err(Errno::AGAIN) => return self.missing().map(Copied::Cold),
            Err(errno) => return Err(self.error(ErrorKind::Io(errno))),
        };
        self.look()?;
        Ok(Copied::Bytes(self.advance(n)))
    }

    /// Whether the file is what it was. That it has the bytes, reading them has told.
    fn look(&self) -> Result<(), Error> {
        match self.file.note().map(|note| note.vouches(self.file.file())) {
            None | Some(Ok(true)) => Ok(()),
            Some(_) => self.check(),
        }
    }

    fn read_at_once(&self, into: &mut [u8], flags: ReadWriteFlags) -> Result<usize, Errno> {
        let mut into = [IoSliceMut::new(into)];
        let mut read = |flags| {
            rustix::io::retry_on_intr(|| {
                rustix::io::preadv2(self.file.file(), &mut into, self.offset(), flags)
            })
        };
        match read(flags) {
            // Memory file systems have no NOWAIT and no disk; 5.9 and 5.10 may answer 0 before
            // the end of the file (readv(2), BUGS).
            Err(Errno::OPNOTSUPP) | Ok(0) if flags == ReadWriteFlags::NOWAIT => {
                read(ReadWriteFlags::empty())
            }
            answer => answer,
        }
    }

    /// What has to be fetched for the next copy.
    fn missing(&mut self) -> Result<Cold, Error> {
        let len = self.remaining().min(COLD_FETCH_BYTES as u64);
        self.fetched = self.at + len;
        let range = usize::try_from(self.at).ok().zip(usize::try_from(self.fetched).ok());
        let piece = match &self.file {
            Held::Mapped(file) => range.and_then(|(start, end)| file.slice(start..end)),
            Held::Unmapped(_) => None,
        };
        piece.map(Cold).ok_or_else(|| self.error(ErrorKind::Io(Errno::AGAIN)))
    }
}
