//! One attempt to write slices to a socket, of which some lie in files.
//!
//! Slices are told apart by address. Ordinary ones go by sendmsg(2); a file-backed one follows
//! by sendfile(2), or, if small, is read into the stage and goes in the same sendmsg as what
//! precedes it. Whatever a caller does with the count, as with any short write, is right: an
//! attempt keeps nothing.
//!
//! Source: send(2), `MSG_MORE`; sendfile(2), NOTES ("sending files with headers").

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use underpass_sys::region::Region;

use crate::file_bytes::Note;
use crate::stability::Stability;
use crate::stage::{self, STAGE_BYTES};
use crate::warm::{self, Warmth};

/// The most one sendfile moves, so that a fast peer cannot hold its thread: nginx's
/// `sendfile_max_chunk`. With half of it, the call's own cost begins to show.
pub(crate) const QUANTUM_BYTES: usize = 2 << 20;

/// Slices one sendmsg takes; hyper queues no more than this.
const SLICES_MAX: usize = 64;

/// How much of a cold file is fetched before the stream goes on: 0.1 ms of a disk that reads
/// 3 GB/s, a quarter of a second of one that reads 1 MiB/s.
const COLD_FETCH_BYTES: usize = 256 * 1024;

/// How file-backed bytes travel on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Route {
    /// Pieces of up to [`COPY_MAX_BYTES`] are copied, larger ones go by reference.
    #[default]
    Auto,
    /// Every piece goes by reference.
    Sendfile,
    /// Every piece is copied.
    Copy,
}

/// The largest piece that [`Route::Auto`] copies, in bytes; from 24 KiB on, sending by reference
/// is cheaper. Measured: `bench/runs/2026-11-21-threshold`.
pub const COPY_MAX_BYTES: usize = 16 * 1024;

const _: () = assert!(COPY_MAX_BYTES <= STAGE_BYTES, "a copied piece must fit the stage");

/// Whether a call may wait for a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The thread may wait.
    Open,
    /// It may not; these addresses were fetched already.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "threads of one's own may wait"))]
    NoWait { fetched: Range<usize> },
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The socket took this many bytes of the slices, counted from their start.
    Wrote(usize),
    /// Nothing was written: these bytes must be fetched from the disk first.
    Cold(ColdBytes),
}

/// Bytes of a region that are not in the page cache.
#[derive(Debug)]
pub(crate) struct ColdBytes {
    pub(crate) region: Arc<Region>,
    pub(crate) file_offset: u64,
    /// Where they lie in memory.
    pub(crate) addresses: Range<usize>,
}

impl ColdBytes {
    /// Brings them into the page cache, waiting for the disk.
    pub(crate) fn fetch(&self) -> Result<(), Errno> {
        warm::prefetch(self.region.file(), self.file_offset, self.addresses.len() as u64)
    }
}

/// Why a file's bytes could not be sent as promised. The peer has received a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutgoingError {
    /// Somebody truncated the file after it was mapped.
    #[error("the file ends at {offset}, {missing} bytes before the piece being sent does")]
    Truncated {
        /// Offset in the file of the first missing byte.
        offset: u64,
        /// Bytes missing of the slice being sent.
        missing: usize,
    },
    /// Its stability policy does not vouch for the file any more.
    #[error("the file changed while it was sent; its last {held_back} bytes were held back")]
    Changed {
        /// Bytes not sent.
        held_back: usize,
    },
    /// A call on the file failed.
    #[error("{call} failed at byte {offset} of the file: {source}")]
    Call {
        /// The system call.
        call: &'static str,
        /// Offset in the file.
        offset: u64,
        /// What it answered.
        source: Errno,
    },
}

impl From<OutgoingError> for io::Error {
    fn from(error: OutgoingError) -> Self {
        let kind = match error {
            OutgoingError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            OutgoingError::Changed { .. } => io::ErrorKind::InvalidData,
            OutgoingError::Call { source, .. } => source.kind(),
        };
        Self::new(kind, error)
    }
}

/// Where the rest of a piece lies that has gone by reference so far: it goes on by reference,
/// however little of it is left.
#[derive(Debug, Default)]
pub(crate) struct Continuation(usize);

impl Continuation {
    /// The route for these slices.
    pub(crate) fn route(&self, route: Route, slices: &[IoSlice<'_>]) -> Route {
        let goes_on = slices.first().is_some_and(|slice| slice.as_ptr().addr() == self.0);
        if route == Route::Auto && goes_on { Route::Sendfile } else { route }
    }

    /// Takes note of what was written of slices by `route`.
    pub(crate) fn note(&mut self, route: Route, slices: &[IoSlice<'_>], mut written: usize) {
        self.0 = 0;
        for slice in slices {
            if written < slice.len() {
                let is_referred = slice.len() > COPY_MAX_BYTES || route == Route::Sendfile;
                if written > 0 && is_referred {
                    self.0 = slice.as_ptr().addr() + written;
                }
                return;
            }
            written -= slice.len();
        }
    }
}

/// A file-backed slice and where it comes from.
struct Piece<'b> {
    bytes: &'b [u8],
    region: &'b Region,
    file_offset: u64,
}

/// Writes as much of `slices` as one round of calls takes.
///
/// # Errors
///
/// `WouldBlock` if the socket has no room; otherwise those of sendmsg(2), or an
/// [`OutgoingError`].
pub(crate) fn attempt(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    route: Route,
    gate: &Gate,
) -> io::Result<Attempt> {
    let slices = &slices[..slices.len().min(SLICES_MAX)];
    let (head, piece) = split(slices);
    let Some(piece) = piece else {
        return Ok(Attempt::Wrote(send(socket, head, SendFlags::empty())?));
    };
    if piece.is_copied(route) {
        piece.copy(socket, head, gate)
    } else {
        piece.refer(socket, head, gate)
    }
}

/// The ordinary slices at the front, and the file-backed one after them.
fn split<'s, 'b>(slices: &'s [IoSlice<'b>]) -> (&'s [IoSlice<'b>], Option<Piece<'s>>) {
    for (index, bytes) in slices.iter().enumerate() {
        if let Some((region, file_offset)) = Region::find(bytes) {
            return (&slices[..index], Some(Piece { bytes, region, file_offset }));
        }
    }
    (slices, None)
}

fn send(socket: BorrowedFd<'_>, slices: &[IoSlice<'_>], more: SendFlags) -> Result<usize, Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL | more;
    rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)
}

impl Piece<'_> {
    fn is_copied(&self, route: Route) -> bool {
        let stable = Note::of(self.region).map_or(Stability::None, |note| note.stability);
        match route {
            _ if stable == Stability::Copy => true,
            Route::Auto => self.bytes.len() <= COPY_MAX_BYTES,
            Route::Sendfile => false,
            Route::Copy => true,
        }
    }

    /// Reads the piece into the stage and sends it behind `head` in one call.
    fn copy(
        &self,
        socket: BorrowedFd<'_>,
        head: &[IoSlice<'_>],
        gate: &Gate,
    ) -> io::Result<Attempt> {
        stage::with(self.file_offset, self.bytes.len(), |staged| {
            let staged = match self.read(staged, gate) {
                Err(Errno::AGAIN) => return Ok(Attempt::Cold(self.cold())),
                Err(source) => return Err(self.failed("preadv2", source)),
                Ok(0) => return Err(self.truncated()),
                Ok(n) => &staged[..n],
            };
            let is_last = staged.len() == self.bytes.len();
            if is_last {
                self.vouch()?;
            }
            let more = if is_last { SendFlags::empty() } else { SendFlags::MORE };
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            all[..head.len()].copy_from_slice(head);
            all[head.len()] = IoSlice::new(staged);
            Ok(Attempt::Wrote(send(socket, &all[..=head.len()], more)?))
        })
    }

    fn read(&self, into: &mut [u8], gate: &Gate) -> Result<usize, Errno> {
        let (flags, len) = match gate {
            Gate::Open => (ReadWriteFlags::empty(), into.len()),
            Gate::NoWait { fetched } if fetched.contains(&self.address()) => {
                (ReadWriteFlags::empty(), into.len().min(fetched.end - self.address()))
            }
            Gate::NoWait { .. } => (ReadWriteFlags::NOWAIT, into.len()),
        };
        let into = &mut into[..len];
        let read = |flags, into: &mut [u8]| {
            let mut into = [IoSliceMut::new(into)];
            rustix::io::retry_on_intr(|| {
                rustix::io::preadv2(self.region.file(), &mut into, self.file_offset, flags)
            })
        };
        match read(flags, into) {
            // Memory file systems have no NOWAIT and no disk; 5.9 and 5.10 may answer 0 before
            // the end of the file (readv(2), BUGS).
            Err(Errno::OPNOTSUPP) | Ok(0) if flags == ReadWriteFlags::NOWAIT => {
                read(ReadWriteFlags::empty(), into)
            }
            answer => answer,
        }
    }

    /// Sends `head`, then a quantum of the piece by reference.
    fn refer(
        &self,
        socket: BorrowedFd<'_>,
        head: &[IoSlice<'_>],
        gate: &Gate,
    ) -> io::Result<Attempt> {
        let quantum = match self.hot(gate) {
            0 => return Ok(Attempt::Cold(self.cold())),
            hot => hot,
        };
        let mut sent = 0;
        if !head.is_empty() {
            let want = head.iter().map(|slice| slice.len()).sum();
            sent = send(socket, head, SendFlags::MORE)?;
            if sent < want {
                return Ok(Attempt::Wrote(sent));
            }
        }
        match self.sendfile(socket, quantum) {
            Ok(n) => Ok(Attempt::Wrote(sent + n)),
            // What the head moved must be told; the failure will be met again.
            Err(_) if sent > 0 => Ok(Attempt::Wrote(sent)),
            Err(error) => Err(error),
        }
    }

    /// How many bytes of the next quantum can be taken without waiting for the disk.
    fn hot(&self, gate: &Gate) -> usize {
        let quantum = self.bytes.len().min(QUANTUM_BYTES);
        let Gate::NoWait { fetched } = gate else { return quantum };
        if fetched.contains(&self.address()) {
            return quantum.min(fetched.end - self.address());
        }
        match warm::probe(self.region.file(), self.file_offset, quantum as u64) {
            Warmth::Hot => quantum,
            Warmth::Cold { hot } => usize::try_from(hot).unwrap_or(0),
        }
    }

    fn sendfile(&self, socket: BorrowedFd<'_>, quantum: usize) -> io::Result<usize> {
        if quantum == self.bytes.len() {
            self.vouch()?;
        }
        let mut offset = self.file_offset;
        match rustix::fs::sendfile(socket, self.region.file(), Some(&mut offset), quantum) {
            Ok(0) => Err(self.truncated()),
            Ok(n) => Ok(n),
            Err(Errno::AGAIN) => Err(Errno::AGAIN.into()),
            Err(source) => Err(self.failed("sendfile", source)),
        }
    }

    fn vouch(&self) -> io::Result<()> {
        match Note::of(self.region).map(|note| note.vouches(self.region.file())) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(OutgoingError::Changed { held_back: self.bytes.len() }.into()),
            Some(Err(source)) => Err(self.failed("fstat", source)),
        }
    }

    fn cold(&self) -> ColdBytes {
        let end = self.address() + self.bytes.len().min(COLD_FETCH_BYTES);
        ColdBytes {
            region: self.region.to_shared(),
            file_offset: self.file_offset,
            addresses: self.address()..end,
        }
    }

    fn address(&self) -> usize {
        self.bytes.as_ptr().addr()
    }

    fn truncated(&self) -> io::Error {
        if let Some(note) = Note::of(self.region) {
            note.note_change();
        }
        OutgoingError::Truncated { offset: self.file_offset, missing: self.bytes.len() }.into()
    }

    fn failed(&self, call: &'static str, source: Errno) -> io::Error {
        OutgoingError::Call { call, offset: self.file_offset, source }.into()
    }
}
