//! A response's content, for the engine or as a reader.

use std::fmt;
use std::io::{self, Read};
use std::mem;
use std::os::fd::OwnedFd;

use underpass::Source;

use crate::chunked::Chunked;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::extent::{Extent, NotThere};
use crate::head::Framing;
use crate::pool::Home;
use crate::range::Range;
use crate::url::Url;
use crate::validator::Validator;

/// Content that is being received.
///
/// [`Self::source`] is for the engine, which leaves the content to the kernel; content in chunks,
/// and what others want to see, is read. Bytes that were moved by the source are told to
/// [`Self::place`].
pub struct Body<'i> {
    /// How far it is.
    pub place: Place,
    /// The representation's length.
    pub total: Option<u64>,
    /// What identifies this version of the representation.
    pub validator: Option<Validator>,
    /// Whether the server sends a range of it.
    pub is_range: bool,
    incoming: Incoming<'i>,
    /// Where the connection is kept afterwards, if it may be.
    home: Option<Home>,
}

/// How far a body is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Where the next byte is in the representation.
    pub at: u64,
    /// Bytes that this answer still has, if that is known.
    here: Option<u64>,
    /// Bytes that are wanted; more than are here if others have to be asked for.
    wanted: Option<u64>,
}

impl Place {
    /// This many bytes on.
    #[must_use]
    pub fn after(self, n: u64) -> Self {
        let less = |left: Option<u64>| left.map(|left| left.saturating_sub(n));
        Self { at: self.at + n, here: less(self.here), wanted: less(self.wanted) }
    }

    /// Whether this answer has no more, and more is wanted.
    #[must_use]
    pub fn is_short(self) -> bool {
        self.here == Some(0) && self.wanted.is_none_or(|wanted| wanted > 0)
    }

    /// What is still wanted.
    #[must_use]
    pub fn rest(self) -> Range {
        let last = self.wanted.map(|wanted| self.at + wanted.max(1) - 1);
        Range::From { first: self.at, last }
    }
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

impl fmt::Debug for Body<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("place", &self.place).field("total", &self.total).finish()
    }
}

impl<'i> Body<'i> {
    pub(crate) fn new(
        (connection, home): (Connection<'i>, Option<Home>),
        framing: Framing,
        extent: Extent,
        validator: Option<Validator>,
    ) -> Self {
        let incoming = match framing {
            Framing::Length(_) | Framing::UntilClose => Incoming::Raw(connection),
            Framing::Chunked => Incoming::Chunks(Box::new(Chunked::new(connection))),
        };
        let Extent { start: at, len: here, total, is_range } = extent;
        let home = home.filter(|_| framing.len().is_some());
        let place = Place { at, here, wanted: here };
        Self { place, total, validator, is_range, incoming, home }
    }

    /// That of a range at the end of a representation.
    pub(crate) const fn empty(total: u64) -> Self {
        Self {
            place: Place { at: total, here: Some(0), wanted: Some(0) },
            total: Some(total),
            validator: None,
            is_range: false,
            incoming: Incoming::Closed,
            home: None,
        }
    }

    /// Leaves what was asked for; the server may have sent other bytes before and behind it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Range`] if the representation ends before the range begins; those of reading.
    pub fn cut(mut self, url: &Url, range: Range) -> Result<Self, ClientError> {
        let Self { place: Place { at: start, here: len, .. }, total, is_range, .. } = self;
        let extent = Extent { start, len, total, is_range };
        let (ahead, wanted) =
            extent.wanted(range).map_err(|why| not_there(&why, range, url, total))?;
        self.place.wanted = None;
        let skipped = io::copy(&mut self.counted().take(ahead), &mut io::sink())
            .map_err(|error| ClientError::open("read", url, error))?;
        if skipped < ahead {
            return Err(match len {
                Some(_) => ClientError::open("read", url, io::ErrorKind::UnexpectedEof),
                None => not_there(&NotThere::Short, range, url, Some(skipped)),
            });
        }
        self.place.wanted = wanted;
        Ok(self)
    }

    /// How many bytes are left, if that is known.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        // An answer without a length may end before what is wanted does.
        self.place.wanted.filter(|_| !self.may_end())
    }

    /// Whether it may end before all that is wanted was there, because its length is unknown.
    const fn may_end(&self) -> bool {
        self.place.here.is_none()
    }

    /// Another descriptor of its socket.
    ///
    /// # Errors
    ///
    /// `NotConnected` if it is closed; those of fcntl(2).
    pub fn socket(&self) -> io::Result<OwnedFd> {
        match self.connection() {
            Some(connection) => connection.socket().fd.try_clone(),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> Option<&Connection<'i>> {
        match &self.incoming {
            Incoming::Raw(connection) => Some(connection),
            Incoming::Chunks(chunks) => Some(chunks.get_ref()),
            Incoming::Closed => None,
        }
    }

    /// Closes the connection, even if more would come.
    pub fn close(&mut self) {
        self.incoming = Incoming::Closed;
        self.place = Place { here: Some(0), wanted: Some(0), ..self.place };
    }

    /// Sets how many of the next bytes are wanted.
    pub const fn want(&mut self, len: u64) {
        self.place.wanted = Some(len);
    }

    /// What this answer has of it, for the engine; `None` if it has to be read out of chunks, or
    /// may end before what is wanted does.
    #[must_use]
    pub fn source(&self) -> Option<Source<'_>> {
        let Incoming::Raw(connection) = &self.incoming else { return None };
        match (self.left(), self.may_end()) {
            (Some(_), true) => None,
            (Some(left), false) => Some(connection.source().take(left)),
            (None, _) => Some(connection.source()),
        }
    }

    /// A reader for those who count the bytes: an early end is an end to it.
    pub fn counted(&mut self) -> impl Read {
        Counted(self)
    }

    fn left(&self) -> Option<u64> {
        self.place.here.into_iter().chain(self.place.wanted).min()
    }
}

struct Counted<'b, 'i>(&'b mut Body<'i>);

impl Read for Counted<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Self(body) = self;
        let left =
            body.left().map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let max = into.len().min(left);
        if max == 0 {
            return Ok(0);
        }
        let n = body.incoming.read(&mut into[..max])?;
        body.place = body.place.after(n as u64);
        Ok(n)
    }
}

impl Read for Body<'_> {
    /// `UnexpectedEof` where the content ends before its length.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.counted().read(into)?;
        match (self.left(), self.place.here) {
            (Some(1..), Some(missing)) if n == 0 && !into.is_empty() => {
                let why = format!("it ended, and {missing} bytes of its content are missing");
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, why))
            }
            _ => Ok(n),
        }
    }
}

impl Drop for Body<'_> {
    /// A connection whose content was taken to its end is kept for the next request.
    fn drop(&mut self) {
        let is_over = self.place.here == Some(0);
        if let Some(home) = self.home.take().filter(|_| is_over)
            && let Incoming::Raw(connection) = mem::replace(&mut self.incoming, Incoming::Closed)
        {
            home.keep(connection);
        }
    }
}

fn not_there(why: &NotThere, range: Range, url: &Url, total: Option<u64>) -> ClientError {
    let (range, end) = (range.to_string(), url.to_string());
    match (why, total) {
        (NotThere::Short, Some(len)) => ClientError::Range { range, end, len },
        (NotThere::Short | NotThere::Unknown, _) => {
            let what = "it does not give the length, from which the range is counted".to_owned();
            ClientError::Protocol { end, what }
        }
    }
}
