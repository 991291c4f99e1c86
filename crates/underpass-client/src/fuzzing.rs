//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use std::io::{self, Read, Write};

use crate::chunked::{Chunked, ChunkedWriter};
use crate::client::Client;
use crate::head::{ContentRange, Framing, Head, head_end};
use crate::url::Url;
use crate::validator::Validator;

/// A response's head.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How the content ends, or why it is refused.
    pub end: Result<End, &'static str>,
    /// The first and the last position of a part, and the length of the whole.
    pub part: Option<(u64, u64, Option<u64>)>,
    /// What identifies the version, as it is kept.
    pub validator: Option<String>,
}

/// How a response's content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// When the server closes.
    Close,
}

/// The head that these bytes begin with, and its length; `None` if they do not hold all of it.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<(usize, Result<Answer, String>)> {
    let len = head_end(bytes, 0)?;
    let head = Head::parse(&bytes[..len]);
    Some((len, head.map(|head| of_head(&head))))
}

fn of_head(head: &Head) -> Answer {
    let end = head.framing().map(|framing| match framing {
        Framing::Length(len) => End::Length(len),
        Framing::Chunked => End::Chunked,
        Framing::UntilClose => End::Close,
    });
    let validator = Validator::of(head).map(|validator| {
        let text = validator.write();
        assert_eq!(Validator::read(&text), validator, "a validator is read as it was written");
        text
    });
    let part = |range: ContentRange| (range.first, range.last, range.total);
    Answer { status: head.status, end, part: head.content_range().map(part), validator }
}

/// Content out of chunks.
pub fn chunked<R: Read>(wire: R) -> impl Read {
    Chunked::new(wire)
}

/// Content into chunks, one a piece.
///
/// # Errors
///
/// Those of `out`.
pub fn into_chunks<'p>(
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut out: &mut Vec<u8>,
) -> io::Result<()> {
    let mut writer = ChunkedWriter(&mut out);
    for piece in pieces {
        writer.write_all(piece)?;
    }
    writer.finish()
}

/// Where a redirect leads.
///
/// # Errors
///
/// Why it leads nowhere.
pub fn join(url: &Url, location: &str) -> Result<Url, &'static str> {
    url.join(location)
}

/// The head of a GET.
#[must_use]
pub fn request(url: &Url) -> String {
    Client::default().request(("GET", url), url, &[], "").expect("no proxy is named")
}
