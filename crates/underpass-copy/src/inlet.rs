//! Opens a source and finds out what it is: a range of a file, a stream, or a response.
//!
//! Files whose size says nothing (those of /proc and /sys, empty ones) are read as streams.
//!
//! Source: open(2); fifo(7).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::event::PollFlags;
use rustix::fs::{Mode, OFlags, SeekFrom};
use underpass::Source;
use underpass_client::{Body, Client, Interrupt, Range, WaitingStream};

use crate::asking::{self, Remote};
use crate::attributes;
use crate::drive::{Drive, file_source};
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Usage};
use crate::range_reader::RangeReader;
use crate::sizes::is_true_size;
use crate::socket::Listener;
use crate::stop::Stop;
use crate::stream::{self, Stream};

/// An open source.
pub(crate) enum Inlet<'i> {
    File(FileInlet),
    Stream(Stream),
    Http(Box<Body<'i>>),
}

/// A range of a regular file.
#[derive(Debug)]
pub(crate) struct FileInlet {
    pub(crate) file: File,
    pub(crate) start: u64,
    pub(crate) len: u64,
    pub(crate) mode: u32,
    /// The descriptor came from outside: the next reader expects its offset after what was
    /// copied.
    pub(crate) moves_offset: bool,
}

impl FileInlet {
    /// The range, for the engine.
    pub(crate) fn source(&self) -> Result<Source<'_>, Stop> {
        file_source(&self.file, self.start, self.len)
    }
}

impl Inlet<'_> {
    /// The mode for a file that is made of it, if it has a name itself.
    pub(crate) const fn mode(&self) -> Option<u32> {
        match self {
            Self::File(file) => Some(file.mode),
            Self::Stream(stream) => stream.mode(),
            Self::Http(_) => None,
        }
    }

    /// Bytes it will yield, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Self::File(file) => Some(file.len),
            Self::Stream(_) => None,
            Self::Http(body) => body.remaining(),
        }
    }

    /// All that is left, for the engine; `None` if only this process can read it.
    pub(crate) fn source(&self) -> Result<Option<Source<'_>>, Stop> {
        match self {
            Self::File(file) => file.source().map(Some),
            Self::Stream(stream) => {
                Ok(stream.is_for_the_engine().then(|| Source::stream(&stream.fd)))
            }
            Self::Http(body) => Ok(body.source()),
        }
    }

    /// The same, for this process.
    pub(crate) fn reader<'r>(&'r mut self, interrupt: &'r Interrupt) -> Box<dyn Read + 'r> {
        match self {
            Self::File(FileInlet { file, start, len, .. }) => {
                Box::new(RangeReader { file, at: *start, end: *start + *len })
            }
            Self::Stream(stream) => Box::new(stream.waiting(interrupt)),
            Self::Http(body) => Box::new(body.counted()),
        }
    }
}

/// Opens a source, other than a listening socket.
pub(crate) fn open<'i>(
    endpoint: &Endpoint,
    range: Range,
    client: &Client,
    (drive, interrupt): (&mut Drive<'_>, &'i Interrupt),
) -> Result<Inlet<'i>, CopyError> {
    match endpoint {
        Endpoint::Path(path) => of_path(path, range, interrupt),
        Endpoint::Standard => of_descriptor(0, endpoint, range),
        Endpoint::Descriptor(number) => of_descriptor(*number, endpoint, range),
        Endpoint::Tcp(_) | Endpoint::TcpListen(_) | Endpoint::Unix(_) | Endpoint::UnixListen(_) => {
            let fd = connect(endpoint, None, interrupt)?;
            let stream = Stream::ours(fd);
            stream.map(Inlet::Stream).map_err(|error| CopyError::open("use", endpoint, error))
        }
        Endpoint::Url(url) => {
            let remote = Remote { client, url };
            let body = asking::ask(remote, range, None, (drive, interrupt), &|_| Ok(()))?;
            Ok(Inlet::Http(Box::new(body.cut(url, range)?)))
        }
    }
}

/// A connected socket, as source or sink.
pub(crate) fn connect(
    endpoint: &Endpoint,
    listener: Option<&Listener>,
    interrupt: &Interrupt,
) -> Result<OwnedFd, CopyError> {
    let (verb, fd) = match (endpoint, listener) {
        (_, Some(listener)) => ("accept a peer at", listener.accept(interrupt)),
        (Endpoint::Tcp(host), None) => {
            ("connect to", underpass_client::connect::tcp(&host.to_string(), interrupt))
        }
        (Endpoint::Unix(path), None) => {
            ("connect to", underpass_client::connect::unix(path, interrupt))
        }
        (_, None) => ("use", Err(io::Error::from(io::ErrorKind::InvalidInput))),
    };
    fd.map_err(|error| CopyError::open(verb, endpoint, error))
}

fn of_path<'i>(
    path: &Path,
    range: Range,
    interrupt: &'i Interrupt,
) -> Result<Inlet<'i>, CopyError> {
    let cannot = |error| CopyError::open("open", path.display(), error);
    let found = std::fs::metadata(path).map_err(cannot)?;
    if found.is_dir() {
        return Err(CopyError::Usage(Usage::IsDirectory(path.display().to_string())));
    }
    if found.file_type().is_fifo() {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| cannot(e.into()))?;
        // Without a writer a FIFO reads as ended; poll(2) waits for the first.
        let fifo = WaitingStream::new(fd, interrupt);
        fifo.wait(PollFlags::IN).map_err(cannot)?;
        let stream = Stream::ours(fifo.fd).map_err(cannot)?;
        return Ok(Inlet::Stream(stream.with_mode(found.mode())));
    }
    let file = File::open(path).map_err(cannot)?;
    of_file(file, path.display(), range, false)
}

fn of_descriptor<'i>(
    number: i32,
    endpoint: &Endpoint,
    range: Range,
) -> Result<Inlet<'i>, CopyError> {
    let cannot = |error: io::Error| CopyError::open("read from", endpoint, error);
    let file = stream::inherited(number, OFlags::RDONLY).map_err(cannot)?;
    let found = file.metadata().map_err(cannot)?;
    if found.is_dir() {
        return Err(CopyError::Usage(Usage::IsDirectory(endpoint.to_string())));
    }
    if found.is_file() {
        return of_file(file, endpoint, range, true);
    }
    Stream::shared(file.into(), OFlags::RDONLY).map(Inlet::Stream).map_err(cannot)
}

fn of_file<'i>(
    file: File,
    name: impl ToString,
    range: Range,
    is_shared: bool,
) -> Result<Inlet<'i>, CopyError> {
    let cannot = |error: io::Error| CopyError::open("read", name.to_string(), error);
    let found = file.metadata().map_err(cannot)?;
    let mode = attributes::mode_without_acl(&file, found.mode());
    if !found.is_file() || !is_true_size(&file, found.len()) {
        let stream = Stream::ours(file.into()).map_err(cannot)?;
        return Ok(Inlet::Stream(stream.with_mode(mode)));
    }
    let offset = if is_shared {
        rustix::fs::seek(&file, SeekFrom::Current(0)).map_err(|e| cannot(e.into()))?
    } else {
        0
    };
    let there = found.len().saturating_sub(offset);
    let (start, len) = range.within(there).ok_or_else(|| {
        let (range, end) = (range.to_string(), name.to_string());
        CopyError::Usage(Usage::Range { range, end, len: there })
    })?;
    let start = offset + start;
    Ok(Inlet::File(FileInlet { file, start, len, mode, moves_offset: is_shared }))
}
