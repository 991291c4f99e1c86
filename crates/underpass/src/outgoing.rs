//! One attempt to write slices to a socket, of which some are in files.
//!
//! The address of a slice says what it is. Ordinary ones go by sendmsg(2); a file-backed one
//! follows by sendfile(2), or, if small, is read into the stage and goes in the same sendmsg as
//! what precedes it. An attempt keeps nothing, so its count is like that of any short write.
//!
//! Source: send(2), `MSG_MORE`; sendfile(2), NOTES ("sending files with headers").

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{SendAncillaryBuffer, SendFlags};
use underpass_sys::region::Region;

use crate::error::{Error, ErrorKind};
use crate::kind::Kind;
use crate::limits::{COPY_MAX_BYTES, QUANTUM};
use crate::method::Method;
use crate::note::Note;
use crate::policy::Policy;
use crate::progress::is_refusal;
use crate::stability::Stability;
use crate::stage::{self, STAGE_BYTES};
use crate::warm::{self, Warmth};

/// Slices one sendmsg takes; hyper queues no more than this.
const SLICES_MAX: usize = 64;

/// How much of a cold file is fetched before the stream continues: 0.1 ms of a disk that reads
/// 3 GB/s, a quarter of a second of one that reads 1 MiB/s.
const COLD_FETCH_BYTES: usize = 256 * 1024;

const _: () = assert!(COPY_MAX_BYTES <= STAGE_BYTES, "a copied piece must fit the stage");

/// Whether a call may wait for a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The thread may wait.
    Open,
    /// It may not; these addresses were fetched already.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "blocking threads may wait"))]
    NoWait { fetched: Range<usize> },
}

/// What came of an attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// The socket took bytes of the slices.
    Wrote(Wrote),
    /// Nothing was written: these bytes must be fetched from the disk first.
    Cold(ColdBytes),
}

/// What the socket took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wrote {
    /// Bytes of the slices, counted from their start.
    pub(crate) bytes: usize,
    /// Of these, the ones that it was given by reference.
    pub(crate) referenced: usize,
    /// What the kernel answered where it took no reference.
    pub(crate) refused: Option<Errno>,
}

impl Wrote {
    const fn copied(bytes: usize) -> Self {
        Self { bytes, referenced: 0, refused: None }
    }
}

/// Bytes of a region that are not in the page cache.
#[derive(Debug)]
pub(crate) struct ColdBytes {
    pub(crate) region: Arc<Region>,
    pub(crate) file_offset: u64,
    /// Where they are in memory.
    pub(crate) addresses: Range<usize>,
}

impl ColdBytes {
    /// Brings them into the page cache, waiting for the disk.
    pub(crate) fn fetch(&self) -> Result<(), Errno> {
        warm::prefetch(self.region.file(), self.file_offset, self.addresses.len() as u64)
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
/// `WouldBlock` if the socket has no room; otherwise those of sendmsg(2), or an [`Error`].
pub(crate) fn attempt(
    socket: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
    policy: Policy,
    gate: &Gate,
) -> io::Result<Attempt> {
    let slices = &slices[..slices.len().min(SLICES_MAX)];
    let (head, piece) = split(slices);
    let Some(piece) = piece else {
        return Ok(Attempt::Wrote(Wrote::copied(send(socket, head, SendFlags::empty())?)));
    };
    if piece.method(policy)? == Method::Copy {
        piece.copy(socket, head, gate, None)
    } else {
        piece.refer(socket, head, policy, gate)
    }
}

/// Gives `f` the front of `slices` as memory: ordinary slices as they are, the contents of the
/// first file-backed one behind them. `Ok(Err)` if those must be fetched from the disk first.
///
/// # Errors
///
/// That the file cannot be read, or that its stability policy does not vouch for it any more.
#[cfg(any(feature = "tokio", feature = "tls"))]
pub(crate) fn with_memory<R>(
    slices: &[IoSlice<'_>],
    gate: &Gate,
    f: impl FnOnce(&[IoSlice<'_>]) -> R,
) -> Result<Result<R, ColdBytes>, Error> {
    let slices = &slices[..slices.len().min(SLICES_MAX)];
    let (head, piece) = split(slices);
    match piece {
        Some(piece) => piece.with_memory(head, gate, f),
        None => Ok(Ok(f(head))),
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
    if let [alone] = slices {
        return rustix::net::send(socket, alone, flags);
    }
    rustix::net::sendmsg(socket, slices, &mut SendAncillaryBuffer::default(), flags)
}

impl Piece<'_> {
    /// [`Method::Sendfile`] or [`Method::Copy`].
    fn method(&self, policy: Policy) -> Result<Method, Error> {
        let stable = Note::of(self.region).map_or(Stability::None, |note| note.stability);
        let copies_only = stable == Stability::Copy;
        let is_small = self.bytes.len() <= COPY_MAX_BYTES;
        match policy {
            Policy::Only(Method::Copy) | Policy::Prefer(Method::Copy) => Ok(Method::Copy),
            Policy::Only(Method::Sendfile) if !copies_only => Ok(Method::Sendfile),
            Policy::Prefer(Method::Sendfile) if !copies_only => Ok(Method::Sendfile),
            Policy::Only(method) => Err(self.unsupported(method, None)),
            Policy::Auto | Policy::Prefer(_) if copies_only || is_small => Ok(Method::Copy),
            Policy::Auto | Policy::Prefer(_) => Ok(Method::Sendfile),
        }
    }

    /// Reads the piece into the stage and sends it behind `head` in one call; `refused` is why it
    /// is not referred to.
    fn copy(
        &self,
        socket: BorrowedFd<'_>,
        head: &[IoSlice<'_>],
        gate: &Gate,
        refused: Option<Errno>,
    ) -> io::Result<Attempt> {
        let sent = self.with_memory(head, gate, |memory| {
            let staged = memory.last().map_or(0, |staged| staged.len());
            let is_last = staged == self.bytes.len();
            send(socket, memory, if is_last { SendFlags::empty() } else { SendFlags::MORE })
        })?;
        match sent {
            Ok(sent) => Ok(Attempt::Wrote(Wrote { refused, ..Wrote::copied(sent?) })),
            Err(cold) => Ok(Attempt::Cold(cold)),
        }
    }

    /// Reads the piece into the stage and gives `f` what was read, behind `head`.
    fn with_memory<R>(
        &self,
        head: &[IoSlice<'_>],
        gate: &Gate,
        f: impl FnOnce(&[IoSlice<'_>]) -> R,
    ) -> Result<Result<R, ColdBytes>, Error> {
        stage::with(self.file_offset, self.bytes.len(), |staged| {
            let staged = match self.read(staged, gate) {
                Err(Errno::AGAIN) => return Ok(Err(self.cold())),
                Err(errno) => return Err(self.failed(Method::Copy, errno)),
                Ok(0) => return Err(self.truncated(Method::Copy)),
                Ok(n) => &staged[..n],
            };
            self.note_sent(staged.len());
            if staged.len() == self.bytes.len() {
                self.vouch(Method::Copy)?;
            }
            let mut all = [IoSlice::new(&[]); SLICES_MAX];
            all[..head.len()].copy_from_slice(head);
            all[head.len()] = IoSlice::new(staged);
            Ok(Ok(f(&all[..=head.len()])))
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

    /// Sends `head`, then a quantum of the piece by reference, or copied where that is refused.
    fn refer(
        &self,
        socket: BorrowedFd<'_>,
        head: &[IoSlice<'_>],
        policy: Policy,
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
                return Ok(Attempt::Wrote(Wrote::copied(sent)));
            }
        }
        match self.sendfile(socket, quantum) {
            Ok(Ok(n)) => {
                Ok(Attempt::Wrote(Wrote { bytes: sent + n, referenced: n, refused: None }))
            }
            // What was sent of the head must be reported; the failure will be met again.
            Ok(Err(_)) | Err(_) if sent > 0 => Ok(Attempt::Wrote(Wrote::copied(sent))),
            Ok(Err(Errno::AGAIN)) => Err(Errno::AGAIN.into()),
            Ok(Err(errno)) if is_refusal(Method::Sendfile, errno, true) => match policy {
                Policy::Only(method) => Err(self.unsupported(method, Some(errno)).into()),
                Policy::Auto | Policy::Prefer(_) => self.copy(socket, &[], gate, Some(errno)),
            },
            Ok(Err(errno)) => Err(self.failed(Method::Sendfile, errno).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// How many bytes of the next quantum can be taken without waiting for the disk.
    fn hot(&self, gate: &Gate) -> usize {
        let quantum = self.bytes.len().min(usize::try_from(QUANTUM).unwrap_or(usize::MAX));
        let Gate::NoWait { fetched } = gate else { return quantum };
        if fetched.contains(&self.address()) {
            return quantum.min(fetched.end - self.address());
        }
        let (file, len) = (self.region.file(), quantum as u64);
        let warmth = match Note::of(self.region) {
            Some(note) => note.residency.probe(file, self.file_offset, len),
            None => warm::probe(file, self.file_offset, len),
        };
        match warmth {
            Warmth::Hot => quantum,
            Warmth::Cold { hot } => usize::try_from(hot).unwrap_or(0),
        }
    }

    fn sendfile(
        &self,
        socket: BorrowedFd<'_>,
        quantum: usize,
    ) -> Result<Result<usize, Errno>, Error> {
        if quantum == self.bytes.len() {
            self.vouch(Method::Sendfile)?;
        }
        let mut offset = self.file_offset;
        match rustix::fs::sendfile(socket, self.region.file(), Some(&mut offset), quantum) {
            Ok(0) => Err(self.truncated(Method::Sendfile)),
            Ok(n) => {
                self.note_sent(n);
                Ok(Ok(n))
            }
            answer => Ok(answer),
        }
    }

    /// Remembers a few of the piece's first `n` bytes.
    fn note_sent(&self, n: usize) {
        if let Some(note) = Note::of(self.region) {
            let sent = self.file_offset..self.file_offset + n as u64;
            note.note_sent(self.region.file(), &sent);
        }
    }

    /// Asks whether the file is still what it was, before the call that would complete the piece.
    fn vouch(&self, method: Method) -> Result<(), Error> {
        match Note::of(self.region).map(|note| note.vouches(self.region.file())) {
            None | Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(self.error(method, ErrorKind::Changed)),
            Some(Err(errno)) => Err(self.failed(method, errno)),
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

    fn truncated(&self, method: Method) -> Error {
        if let Some(note) = Note::of(self.region) {
            note.note_change();
        }
        self.error(method, ErrorKind::Truncated { missing: self.bytes.len() as u64 })
    }

    fn unsupported(&self, method: Method, errno: Option<Errno>) -> Error {
        let (source, sink) = (Kind::File, Kind::Socket);
        self.error(method, ErrorKind::Unsupported { source, sink, errno })
    }

    fn failed(&self, method: Method, errno: Errno) -> Error {
        self.error(method, ErrorKind::Io(errno))
    }

    fn error(&self, method: Method, kind: ErrorKind) -> Error {
        let (wanted, file_offset) = (Some(self.bytes.len() as u64), Some(self.file_offset));
        Error { wanted, file_offset, ..Error::new(method, kind) }
    }
}
