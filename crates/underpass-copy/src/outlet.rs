//! Opens a sink: a file that is made whole, an open file, a stream, or a PUT.
//!
//! Devices and FIFOs are written in place; only regular files are made under another name first. A
//! FIFO without a reader is opened again and again until it has one or a signal comes, because no
//! event announces a reader.
//!
//! Source: fifo(7) (`ENXIO`); open(2).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use underpass::Sink;
use underpass_client::{ChunkedWriter, Interrupt, Put, Woken, interrupted};

use crate::endpoint::Endpoint;
use crate::error::{CopyError, Usage};
use crate::memory::FileWriter;
use crate::stream::{self, Stream};
use crate::target::{Target, WriteMode, behind_link};

/// How long until a FIFO without a reader is tried again.
const READER_PAUSE: Duration = Duration::from_millis(20);

/// An open sink.
pub(crate) enum Outlet<'i> {
    /// A file on its way, to be written from this byte on.
    Target(Target<'static>, u64),
    /// A regular file that was open already, from its offset on.
    Open(File, u64),
    Stream(Stream),
    Put(Box<Put<'i>>),
}

impl Outlet<'_> {
    /// For the engine, after this many bytes; `None` if this process has to frame the bytes.
    pub(crate) fn sink(&self, after: u64) -> Option<Sink<'_>> {
        match self {
            Self::Target(target, at) => Some(Sink::file(target.file(), at + after)),
            Self::Open(file, at) => Some(Sink::file(file, at + after)),
            Self::Stream(stream) => stream.is_for_the_engine().then(|| Sink::stream(&stream.fd)),
            Self::Put(put) => (!put.is_chunked).then(|| put.connection.sink()),
        }
    }

    /// For this process.
    pub(crate) fn writer<'w>(
        &'w mut self,
        after: u64,
        interrupt: &'w Interrupt,
    ) -> Box<dyn Write + 'w> {
        match self {
            Self::Target(target, at) => {
                Box::new(FileWriter { file: target.file(), at: *at + after })
            }
            Self::Open(file, at) => Box::new(FileWriter { file, at: *at + after }),
            Self::Stream(stream) => Box::new(stream.waiting(interrupt)),
            Self::Put(put) => {
                let Put { connection, is_chunked, .. } = &mut **put;
                if *is_chunked { Box::new(ChunkedWriter(connection)) } else { Box::new(connection) }
            }
        }
    }
}

/// The path of the file that a sink means: in a directory, the source's name.
pub(crate) fn path_of(sink: &Path, source: &Endpoint) -> Result<PathBuf, CopyError> {
    let path = if sink.is_dir() {
        let nameless = || CopyError::Usage(Usage::Nameless(sink.display().to_string()));
        sink.join(source.file_name().ok_or_else(nameless)?)
    } else if sink.as_os_str().as_bytes().ends_with(b"/") {
        return Err(CopyError::Usage(Usage::NoDirectory(sink.display().to_string())));
    } else {
        sink.to_owned()
    };
    // The part is made next to the file, not next to a link to it.
    behind_link(&path).map_err(|error| CopyError::open("write", path.display(), error))
}

/// Whether something other than a regular file is at this path.
pub(crate) fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// Opens a file for a copy that begins at byte `at` of it.
pub(crate) fn file<'i>(
    path: &Path,
    how: WriteMode,
    permissions: Option<u32>,
    at: u64,
) -> Result<Outlet<'i>, CopyError> {
    Target::open(CWD, path, how, permissions)
        .map(|target| Outlet::Target(target, at))
        .map_err(|error| CopyError::open("write", path.display(), error))
}

/// Opens a FIFO, a device or a socket's end.
pub(crate) fn special<'i>(path: &Path, interrupt: &Interrupt) -> Result<Outlet<'i>, CopyError> {
    let cannot = |error: io::Error| CopyError::open("write", path.display(), error);
    let is_fifo = std::fs::metadata(path).map_err(cannot)?.file_type().is_fifo();
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    loop {
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(fd) => {
                return Stream::ours(fd).map(Outlet::Stream).map_err(cannot);
            }
            Err(Errno::NXIO) if is_fifo => {
                let soon = Instant::now() + READER_PAUSE;
                let woken = interrupt.wait(&[], Some(soon)).map_err(|e| cannot(e.into()))?;
                if woken == Woken::Signal {
                    return Err(cannot(interrupted()));
                }
            }
            Err(errno) => return Err(cannot(errno.into())),
        }
    }
}

/// A descriptor that was open when the process started.
pub(crate) fn descriptor<'i>(number: i32, endpoint: &Endpoint) -> Result<Outlet<'i>, CopyError> {
    let cannot = |error: io::Error| CopyError::open("write to", endpoint, error);
    let file = stream::inherited(number, OFlags::WRONLY).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| cannot(e.into()))?;
    if found.is_file() && !flags.contains(OFlags::APPEND) {
        let at = rustix::fs::seek(&file, SeekFrom::Current(0)).map_err(|e| cannot(e.into()))?;
        return Ok(Outlet::Open(file, at));
    }
    Stream::shared(file.into(), OFlags::WRONLY).map(Outlet::Stream).map_err(cannot)
}
