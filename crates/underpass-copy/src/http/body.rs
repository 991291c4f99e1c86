//! A response's content, as the engine can take it or as a reader.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::{Answer, Chunked, Connection, Framing, Validator};
use crate::carry::Content;

/// Content under way.
pub(crate) struct Body<'i> {
    /// Its place in the representation.
    pub(crate) start: u64,
    /// The representation's length.
    pub(crate) total: Option<u64>,
    /// What tells this version of the representation from others.
    pub(crate) validator: Option<Validator>,
    /// Whether the server took a range out of it.
    pub(crate) is_range: bool,
    way: Way<'i>,
    /// Bytes that are left of it.
    left: Option<u64>,
}

enum Way<'i> {
    Raw(Connection<'i>),
    Chunks(Box<Chunked<Connection<'i>>>),
    Closed,
}

impl Read for Way<'_> {
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
        let (way, left) = match framing {
            Framing::Length(len) => (Way::Raw(connection), Some(len)),
            Framing::UntilClose => (Way::Raw(connection), None),
            Framing::Chunked => (Way::Chunks(Box::new(Chunked::new(connection))), None),
        };
        Self { start, total, validator, is_range, way, left }
    }

    /// Bytes it will still yield, if that is known.
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

    /// What it comes over.
    pub(crate) fn connection(&self) -> Option<&Connection<'i>> {
        match &self.way {
            Way::Raw(connection) => Some(connection),
            Way::Chunks(chunks) => Some(chunks.get_ref()),
            Way::Closed => None,
        }
    }

    /// Closes the connection, whatever is still to come over it.
    pub(crate) fn close(&mut self) {
        (self.way, self.left) = (Way::Closed, Some(0));
    }

    /// Leaves all but the first `len` bytes of what is left out.
    pub(crate) fn limit(&mut self, len: u64) {
        self.left = Some(self.left.map_or(len, |left| left.min(len)));
    }

    /// Everything that is left.
    pub(crate) fn content(&mut self) -> Content<'_> {
        let len = self.left;
        match &mut self.way {
            Way::Raw(connection) => connection.content(len),
            way @ (Way::Chunks(_) | Way::Closed) => Content::Reader(way, len),
        }
    }
}

impl Read for Body<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let max = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let max = into.len().min(max);
        if max == 0 {
            return Ok(0);
        }
        let n = self.way.read(&mut into[..max])?;
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}
