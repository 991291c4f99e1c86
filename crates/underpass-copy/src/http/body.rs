//! A response's content, as the engine can take it or as a reader.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use super::{Answer, Chunked, Connection, Framing};
use crate::carry::Content;

/// Content under way.
pub(crate) struct Body<'i> {
    /// Its place in the representation.
    pub(crate) start: u64,
    /// The representation's length.
    pub(crate) total: Option<u64>,
    /// What tells this version of the representation from others.
    pub(crate) validator: Option<String>,
    /// Whether the server took a range out of it.
    pub(crate) is_range: bool,
    way: Way<'i>,
    /// Bytes that are left of it.
    left: Option<u64>,
}

enum Way<'i> {
    Raw(Connection<'i>),
    Chunks(Box<Chunked<Connection<'i>>>),
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
        self.connection().socket().fd.try_clone()
    }

    /// What it comes over.
    pub(crate) fn connection(&self) -> &Connection<'i> {
        match &self.way {
            Way::Raw(connection) => connection,
            Way::Chunks(chunks) => chunks.get_ref(),
        }
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
            Way::Chunks(chunks) => Content::Reader(chunks, len),
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
        let n = match &mut self.way {
            Way::Raw(connection) => connection.read(&mut into[..max])?,
            Way::Chunks(chunks) => chunks.read(&mut into[..max])?,
        };
        self.left = self.left.map(|left| left - n as u64);
        Ok(n)
    }
}
