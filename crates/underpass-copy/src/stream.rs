//! Descriptors that are read or written in order, and do not wait where that is ours to decide.
//!
//! `O_NONBLOCK` belongs to the open file and not to the descriptor, so it is never set on one that
//! came from outside: others who share it would get EAGAIN, also after this process was killed. A
//! pipe or terminal is opened again; where that is refused, and with a socket, which cannot be, the
//! bytes pass through memory by calls that do not wait.
//!
//! Source: proc(5) on `/proc/self/fd`; open(2); recv(2), send(2), `MSG_DONTWAIT`; pipe(7),
//! `PIPE_BUF`.

use std::fs::{File, FileType};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use underpass_client::{Interrupt, WaitingStream};

use crate::socket;

/// What poll(2) promises room for in a pipe.
const PIPE_BUF: usize = 4096;

/// Why the bytes of a descriptor pass through memory.
pub(crate) const SHARED: &str = "other processes share it, and must not find it non-blocking";

/// A descriptor that is read or written in order.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) fd: OwnedFd,
    kind: FileType,
    share: Share,
    mode: Option<u32>,
}

/// Whom its open file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// To this process.
    Ours,
    /// To others too, who have made it non-blocking, or cannot tell.
    Free,
    /// To others too, and calls on it wait.
    Blocking,
}

impl Stream {
    /// An open file of ours.
    pub(crate) fn ours(fd: OwnedFd) -> io::Result<Self> {
        let (fd, kind) = kind_of(fd)?;
        let flags = rustix::fs::fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) && !kind.is_file() {
            rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        Ok(Self { fd, kind, share: Share::Ours, mode: None })
    }

    /// A descriptor that other processes may share.
    pub(crate) fn shared(fd: OwnedFd, access: OFlags) -> io::Result<Self> {
        let (fd, kind) = kind_of(fd)?;
        if kind.is_fifo() || kind.is_char_device() {
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
            if let Ok(fd) = rustix::fs::open(path, flags, Mode::empty()) {
                return Ok(Self { fd, kind, share: Share::Ours, mode: None });
            }
        }
        let never_waits = kind.is_file() || kind.is_block_device();
        let is_free = never_waits || rustix::fs::fcntl_getfl(&fd)?.contains(OFlags::NONBLOCK);
        let share = if is_free { Share::Free } else { Share::Blocking };
        Ok(Self { fd, kind, share, mode: None })
    }

    /// The same, with the mode for a file that is made of it.
    pub(crate) fn with_mode(self, mode: u32) -> Self {
        Self { mode: Some(mode), ..self }
    }

    /// The mode for a file that is made of it, if it has a name itself.
    pub(crate) const fn mode(&self) -> Option<u32> {
        self.mode
    }

    /// Whether the engine can have it, whose calls wait unless the open file is non-blocking.
    pub(crate) fn is_for_the_engine(&self) -> bool {
        self.share != Share::Blocking
    }

    /// Whether it is a file or a disk: it can be read again, and fsync(2) means something.
    pub(crate) fn is_kept(&self) -> bool {
        self.kind.is_file() || self.kind.is_block_device()
    }

    /// Where a file or disk is read next.
    pub(crate) fn offset(&self) -> io::Result<u64> {
        Ok(rustix::fs::seek(&self.fd, SeekFrom::Current(0))?)
    }

    /// Reads and writes it in this process.
    pub(crate) fn waiting<'s>(&'s self, interrupt: &'s Interrupt) -> Waiting<'s> {
        let how = match self.share {
            Share::Ours | Share::Free => How::Itself,
            Share::Blocking if self.kind.is_socket() => How::Told,
            Share::Blocking => How::WhenReady,
        };
        Waiting { inner: WaitingStream::new(self.fd.as_fd(), interrupt), how }
    }

    /// Ends what was written: for the peer, if this process has made the connection.
    pub(crate) fn finish(&self, sync: bool) -> io::Result<()> {
        if sync {
            rustix::fs::fsync(&self.fd)?;
        }
        match self.share {
            Share::Ours if self.kind.is_socket() => Ok(socket::end(&self.fd)?),
            Share::Ours | Share::Free | Share::Blocking => flush(&self.fd),
        }
    }
}

/// A descriptor that was open when the process started, for reading or writing.
///
/// # Errors
///
/// `EBADF` if it was not, or is open in the other direction only: before anything is opened or
/// truncated for it.
pub(crate) fn inherited(number: RawFd, access: OFlags) -> io::Result<File> {
    if underpass_sys::descriptor::was_closed(number) {
        return Err(Errno::BADF.into());
    }
    let fd = underpass_sys::descriptor::duplicate(number)?;
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    let mode = flags & OFlags::RWMODE;
    if flags.contains(OFlags::PATH) || (mode != OFlags::RDWR && mode != access) {
        return Err(Errno::BADF.into());
    }
    Ok(fd.into())
}

fn kind_of(fd: OwnedFd) -> io::Result<(OwnedFd, FileType)> {
    let file = File::from(fd);
    let kind = file.metadata()?.file_type();
    Ok((file.into(), kind))
}

/// Asks for the errors that come late: those of bytes that were accepted, and did not reach where
/// they are kept. NFS and FUSE tell them when a descriptor is closed, any of the open file.
pub(crate) fn flush(file: &impl AsFd) -> io::Result<()> {
    let again = rustix::io::fcntl_dupfd_cloexec(file, 3)?;
    Ok(underpass_sys::descriptor::close(again)?)
}

/// A stream whose reads and writes wait, until a signal or timeout.
#[derive(Debug)]
pub(crate) struct Waiting<'s> {
    inner: WaitingStream<'s, BorrowedFd<'s>>,
    how: How,
}

/// How a call is kept from waiting in the kernel.
#[derive(Debug, Clone, Copy)]
enum How {
    /// It never does.
    Itself,
    /// It is told so, which a socket understands.
    Told,
    /// It is made when the stream is ready, and writes as much as there is sure to be room for.
    WhenReady,
}

impl Read for Waiting<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.how {
            How::Itself => self.inner.read(into),
            How::Told => self.inner.patiently(PollFlags::IN, |socket| {
                rustix::net::recv(socket, &mut *into, RecvFlags::DONTWAIT).map(|(n, _)| n)
            }),
            How::WhenReady => {
                self.inner.wait(PollFlags::IN)?;
                self.inner.read(into)
            }
        }
    }
}

impl Write for Waiting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.how {
            How::Itself => self.inner.write(bytes),
            How::Told => self.inner.patiently(PollFlags::OUT, |socket| {
                rustix::net::send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }),
            How::WhenReady => {
                self.inner.wait(PollFlags::OUT)?;
                self.inner.write(&bytes[..bytes.len().min(PIPE_BUF)])
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
