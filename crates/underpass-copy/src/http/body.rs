//! A response's content, for the engine or as a reader.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use underpass::Source;

use super::{Answer, Chunked, Connection, Framing, Validator};

/// Content that is being received.
pub(crate) struct Body<'i> {
    /// Where it starts in the representation.
    pub(crate) start: u64,
    /// The representation's length.
    pub(crate) total: Option<u64>,
    /// What identifies this version of the representation.
    pub(crate) validator: Option<Validator>,
    /// Whether the server sends a range of it.
    pub(crate) is_range: bool,
    incoming: Incoming<'i>,
    /// Bytes that are left.
    left: Option<u64>,
}

enum Incoming<'i> {
    Raw(Connection<'i>),
    Chunks(Box<Chunked<Connection<'i>>>),
    Closed,
}

impl Read for Incoming<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Raw(connection) => connection.read(into),
            Self::Chunks(chunks) => chunks.read(into),
            Self::Closed => Ok(0),
        }
    }
}

impl<'i> Body<'i> {
    pub(crate) fn new(answer: Answer<'i>) -> Self {
        let Answer { connection, framing, start, total, validator, is_range } = answer;
        let (incoming, left) = match framing {
            Framing::Length(len) => (Incoming::Raw(connection), Some(len)),
            Framing::UntilClose => (Incoming::Raw(connection), None),
            Framing::Chunked => (Incoming::Chunks(Box::new(Chunked::new(connection))), None),
        };
        Self { start, total, validator, is_range, incoming, left }
    }

    /// How many bytes are left, if that is known.
    pub(crate) const fn len(&self) -> Option<u64> {
        self.left
    }

    /// Another descriptor of its socket.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        match self.connection() {
            Some(connection) => connection.socket().fd.try_clone(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Its connection.
    pub(crate) fn connection(&self) -> Option<&Connection<'i>> {
        match &self.incoming {
            Incoming::Raw(connection) => Some(connection),
            Incoming::Chunks(chunks) => Some(chunks.get_ref()),
            Incoming::Closed => None,
        }
    }

    /// Closes the connection, even if more would come.
    pub(crate) fn close(&mut self) {
        (self.incoming, self.left) = (Incoming::Closed, Some(0));
    }

    /// Limits what is left to `len` bytes.
    pub(crate) fn limit(&mut self, len: u64) {
        self.left = Some(self.left.map_or(len, |left| left.min(len)));
    }

    /// Everything that is left, for the engine; `None` if it has to be read out of chunks.
    pub(crate) fn source(&self) -> Option<Source<'_>> {
        let Incoming::Raw(connection) = &self.incoming else { return None };
        let source = connection.source();
        Some(match self.left {
            Some(left) => source.take(left),
            None => source,
        })
    }
}

impl Read for Body<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let max = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let max = into.len().min(max);
        if max == 0 {
            return Ok(0);
        }
        let n = self.incoming.read(&mut into[..max])?;
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}
