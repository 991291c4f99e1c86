//! `Frames`: file-backed bytes piece by piece, for bodies that something reads on their way out.
//!
//! A [`Bytes`] cannot fail: where the file lost its bytes, a reader of the mapping gets zeros, and
//! does not know it. So a body is handed out in pieces, and the file is looked at again between
//! them and before the end: what reads the body in order either gets its end, and then every byte
//! before it was in the file, or an error.

mod hot;

use std::io;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind};
use crate::file_bytes::{Broken, FileBytes};
use crate::limits::QUANTUM;
use crate::method::Method;
use crate::note::Note;
use crate::stability::Stability;
use crate::unmapped::UnmappedFile;
use crate::warm::{self, Warmth};

pub use hot::Copied;

/// The longest copied piece: malloc(3) gives longer ones back to the system each time.
const COPIED_BYTES_MAX: usize = 64 * 1024;

/// A piece of a file as an iterator of [`Bytes`]: by reference, of up to 2 MiB each, or copied, of
/// up to 64 KiB each.
///
/// Made by [`FileBytes::into_copied_frames`], [`FileBytes::into_frames_if_immutable`], the unsafe
/// [`FileBytes::into_frames`], and [`UnmappedFile::into_copied_frames`].
///
/// Before each piece, and before the end, two questions are asked: whether the file still has
/// every byte of the range, and whether its [`Stability`] policy still vouches for it. If not, the
/// next item is an [`Error`] with [`ErrorKind::Truncated`] or [`ErrorKind::Changed`], and it is
/// the last.
///
/// # Limits
///
/// The end counts only if it is asked for: after the last piece, `None` says that the pieces
/// before it were whole. HTTP/1 with a `Content-Length` does not ask, so a layer *beneath* the
/// HTTP library that reads the bytes (TLS in user space) can still meet zeros in the last piece by
/// reference. Copied pieces have no such gap, nor has a [`CopyStream`](crate::CopyStream).
///
/// # Examples
///
/// ```no_run
/// # use std::io::Write;
/// # use underpass::{FileBytes, Stability};
/// # fn main() -> std::io::Result<()> {
/// # let mut compressor = Vec::new();
/// let file = std::fs::File::open("large.txt")?;
/// let mapped = FileBytes::map(file, .., Stability::Guard)?;
/// for piece in mapped.into_copied_frames() {
///     compressor.write_all(&piece?)?; // an error, rather than bytes that were not in the file
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Frames {
    file: Held,
    /// The whole piece, if it is handed out by reference.
    mapped: Option<Bytes>,
    /// Where in `file` the next piece starts.
    at: u64,
    /// Up to where it was said what to fetch: copies wait there, lest they be refused for ever.
    fetched: u64,
    is_over: bool,
}

/// The file that pieces are taken of.
#[derive(Debug)]
enum Held {
    Mapped(FileBytes),
    Unmapped(UnmappedFile),
}

impl Held {
    fn file(&self) -> BorrowedFd<'_> {
        match self {
            Self::Mapped(file) => file.file(),
            Self::Unmapped(file) => file.file(),
        }
    }

    fn file_offset(&self) -> u64 {
        match self {
            Self::Mapped(file) => file.file_offset(),
            Self::Unmapped(file) => file.file_offset(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Mapped(file) => file.len() as u64,
            Self::Unmapped(file) => file.len(),
        }
    }

    /// Where the file ends now, or the first byte that it was found to lack.
    fn end(&self) -> u64 {
        self.check().map_or_else(|broken| broken.offset, |()| u64::MAX)
    }

    fn note(&self) -> Option<&Note> {
        match self {
            Self::Mapped(file) => file.note(),
            Self::Unmapped(file) => Some(file.note()),
        }
    }

    fn check(&self) -> Result<(), Broken> {
        match self {
            Self::Mapped(file) => file.check(),
            Self::Unmapped(file) => file.check(),
        }
    }
}

impl UnmappedFile {
    /// The piece as an iterator of copies, read by pread(2) and checked after reading.
    ///
    /// Reading may wait: for the disk, or for the server of the file system.
    #[must_use]
    pub const fn into_copied_frames(self) -> Frames {
        Frames { file: Held::Unmapped(self), mapped: None, at: 0, fetched: 0, is_over: false }
    }
}

impl FileBytes {
    /// The piece as an iterator of copies, read by pread(2) and checked after reading. Safe on any
    /// file, and for everything that reads a body: no byte of the mapping is touched.
    ///
    /// Reading waits for the disk; see [`Frames::cold`].
    #[must_use]
    pub fn into_copied_frames(self) -> Frames {
        Frames { file: Held::Mapped(self), mapped: None, at: 0, fetched: 0, is_over: false }
    }

    /// The piece as an iterator of references, if the kernel guarantees that the file cannot
    /// change; see [`into_bytes_if_immutable`](Self::into_bytes_if_immutable).
    ///
    /// # Errors
    ///
    /// Gives the piece back if there is no such guarantee.
    pub fn into_frames_if_immutable(self) -> Result<Frames, Self> {
        let bytes = self.clone().into_bytes_if_immutable()?;
        Ok(Frames::of_mapped(self, bytes))
    }
}

impl Frames {
    /// By reference, unless every byte of the file is to be copied.
    pub(crate) fn of_mapped(file: FileBytes, bytes: Bytes) -> Self {
        let copies = file.note().is_some_and(|note| note.stability == Stability::Copy);
        let file = Held::Mapped(file);
        Self { file, mapped: (!copies).then_some(bytes), at: 0, fetched: 0, is_over: false }
    }

    /// Bytes that were not handed out yet.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.file.len() - self.at
    }

    /// Whether the end was reached, or an error: there is nothing more to ask for. Not so when the
    /// last piece was handed out, since the end is an answer too.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the pieces are copies: those of [`FileBytes::into_copied_frames`], and of every file
    /// under [`Stability::Copy`].
    #[must_use]
    pub const fn are_copies(&self) -> bool {
        self.mapped.is_none()
    }

    /// What has to be fetched from the disk before the next piece can be read without waiting;
    /// `None` if nothing. For tasks that must not wait: run it on a thread that may, then continue,
    /// even if that failed. Nothing of an [`UnmappedFile`], of which each piece may wait.
    #[must_use]
    pub fn cold(&self) -> Option<Cold> {
        let Held::Mapped(file) = &self.file else { return None };
        let len = self.next_len();
        match warm::probe(file.file(), self.offset(), len as u64) {
            Warmth::Hot => None,
            Warmth::Cold { .. } => {
                let at = usize::try_from(self.at).ok()?;
                Some(Cold(file.slice(at..at + len)?))
            }
        }
    }

    fn offset(&self) -> u64 {
        self.file.file_offset() + self.at
    }

    fn next_len(&self) -> usize {
        let most = match self.mapped {
            Some(_) => usize::try_from(QUANTUM).unwrap_or(usize::MAX),
            None => COPIED_BYTES_MAX,
        };
        usize::try_from(self.remaining()).map_or(most, |remaining| most.min(remaining))
    }

    /// The next piece, or nothing at the end.
    fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let len = self.next_len();
        let piece = match &self.mapped {
            _ if len == 0 => None,
            Some(bytes) => {
                let at = bytes.len() - usize::try_from(self.remaining()).unwrap_or(0);
                Some(bytes.slice(at..at + len))
            }
            None => Some(self.read(len)?),
        };
        self.check()?;
        self.note_sent(len);
        self.at += len as u64;
        Ok(piece)
    }

    /// Remembers a few of the next `len` bytes.
    fn note_sent(&self, len: usize) {
        if let Some(note) = self.file.note() {
            let end = self.offset() + len as u64;
            note.note_sent(self.file.file(), &(self.offset()..end));
        }
    }

    fn read(&self, len: usize) -> Result<Bytes, Error> {
        let mut read = vec![0; len];
        let mut done = 0;
        while done < len {
            let at = self.offset() + done as u64;
            match rustix::io::pread(self.file.file(), &mut read[done..], at) {
                Ok(0) => return Err(self.truncated(at.min(self.file.end()))),
                Ok(n) => done += n,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.error(ErrorKind::Io(errno))),
            }
        }
        Ok(read.into())
    }

    /// Whether what was handed out so far was in the file, and is what was to be sent.
    fn check(&self) -> Result<(), Error> {
        self.file.check().map_err(|broken| self.truncated(broken.offset))?;
        match self.file.note().map(|note| note.vouches(self.file.file())) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(self.error(ErrorKind::Changed)),
            Some(Err(errno)) => Err(self.error(ErrorKind::Io(errno))),
        }
    }

    /// The file has no byte at `end`.
    fn truncated(&self, end: u64) -> Error {
        if let Some(note) = self.file.note() {
            note.note_change();
        }
        let missing = (self.file.file_offset() + self.file.len()).saturating_sub(end);
        self.error(ErrorKind::Truncated { missing })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        let (wanted, file_offset) = (Some(self.remaining()), Some(self.offset()));
        Error { wanted, file_offset, ..Error::new(Method::Copy, kind) }
    }
}

impl Iterator for Frames {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.is_over {
            return None;
        }
        let piece = self.piece().transpose();
        self.is_over = !matches!(piece, Some(Ok(_)));
        piece
    }
}

impl std::iter::FusedIterator for Frames {}

/// A range of a file that is on its disk and not in memory.
#[derive(Debug)]
pub struct Cold(FileBytes);

impl Cold {
    /// Brings it into the page cache, waiting for the disk.
    ///
    /// # Errors
    ///
    /// Those of sendfile(2), `EIO` among them; reading the bytes would meet them too.
    pub fn prefetch(&self) -> io::Result<()> {
        Ok(warm::prefetch(self.0.file(), self.0.file_offset(), self.0.len() as u64)?)
    }
}

impl FileBytes {
    /// The file-backed bytes that a slice is, found by its address; `None` for other memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (region, file_offset) = underpass_sys::region::Region::find(bytes)?;
        let start = usize::try_from(file_offset - region.file_offset()).ok()?;
        Some(Self::from_parts(region.to_shared(), start..start + bytes.len()))
    }

    /// Whether the file still has every byte of the mapping that was touched, and its
    /// [`Stability`] still vouches for it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Truncated`], [`ErrorKind::Changed`], and those of fstat(2).
    pub fn verify(&self) -> Result<(), Error> {
        self.clone().into_copied_frames().check()
    }
}
