//! The parts of a form, piece by piece: heads within limits, and content that is never whole in
//! memory.
//!
//! Pure: bytes in, events out.
//!
//! Source: RFC 7578 (multipart/form-data); RFC 2046 §5.1.1 (delimiters); HTML, "Multipart form
//! data" (how names are escaped).

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

use super::Refusal;
use crate::conditional::sole;

/// RFC 2046 §5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// The fields of a part: the longest name of a file, encoded thrice, and some words.
const HEAD_BYTES_MAX: usize = 4 << 10;

const FIELDS_MAX: usize = 8;

/// What may follow a boundary on its line.
const PADDING_BYTES_MAX: usize = 64;

/// What comes next in a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A part begins. It is a file if it has a name, which is empty if none was chosen.
    Begin(Option<Vec<u8>>),
    /// Some of its content.
    Content(Bytes),
    /// It is whole.
    End,
    /// There are no more parts.
    Over,
    /// More bytes are needed to tell.
    More,
}

/// A form that is being taken apart.
#[derive(Debug)]
pub(super) struct Parts {
    /// A line feed, two dashes and the boundary.
    delimiter: Vec<u8>,
    /// What has come and is not used up: less than a delimiter, or a head.
    buffer: BytesMut,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first part.
    Before,
    /// After a boundary.
    Line,
    Head,
    Content,
    Over,
}

impl Parts {
    /// A form that comes with these fields.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let boundary = boundary(headers).ok_or(Refusal::NotAForm)?;
        // The first is at the start, or after what is to be ignored.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        let delimiter = [b"\r\n--", boundary].concat();
        Ok(Self { delimiter, buffer, state: State::Before })
    }

    /// Bytes that have come.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// What comes next.
    pub(super) fn next(&mut self) -> Result<Event, Refusal> {
        loop {
            let event = match self.state {
                State::Before | State::Content => self.content(),
                State::Line => self.line()?,
                State::Head => self.head()?,
                State::Over => {
                    self.buffer.clear();
                    Some(Event::Over)
                }
            };
            match event {
                // It is to be ignored.
                Some(Event::Content(_)) if self.state == State::Before => {}
                Some(event) => return Ok(event),
                None => {}
            }
        }
    }

    fn content(&mut self) -> Option<Event> {
        let (at, is_found) = match memmem::find(&self.buffer, &self.delimiter) {
            Some(at) => (at, true),
            // The rest may be the front of one.
            None => (self.buffer.len().saturating_sub(self.delimiter.len() - 1), false),
        };
        if at > 0 {
            return Some(Event::Content(self.buffer.split_to(at).freeze()));
        }
        if !is_found {
            return Some(Event::More);
        }
        drop(self.buffer.split_to(self.delimiter.len()));
        let is_of_part = self.state == State::Content;
        self.state = State::Line;
        is_of_part.then_some(Event::End)
    }

    /// The rest of a boundary's line.
    fn line(&mut self) -> Result<Option<Event>, Refusal> {
        if self.buffer.starts_with(b"--") {
            self.state = State::Over;
            return Ok(None);
        }
        let Some(end) = memmem::find(&self.buffer, b"\r\n") else {
            let is_padded = self.buffer.len() <= PADDING_BYTES_MAX;
            return if is_padded { Ok(Some(Event::More)) } else { Err(Refusal::Malformed) };
        };
        let padding = self.buffer.split_to(end + 2);
        if !padding[..end].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(Refusal::Malformed);
        }
        self.state = State::Head;
        Ok(None)
    }

    fn head(&mut self) -> Result<Option<Event>, Refusal> {
        let searched = self.buffer.len().min(HEAD_BYTES_MAX);
        let Some(end) = memmem::find(&self.buffer[..searched], b"\r\n\r\n") else {
            let may_end = searched < HEAD_BYTES_MAX;
            return if may_end { Ok(Some(Event::More)) } else { Err(Refusal::LongHead) };
        };
        let head = self.buffer.split_to(end + 4);
        let name = file_name(&head)?;
        self.state = State::Content;
        Ok(Some(Event::Begin(name)))
    }
}

/// What the parts are divided by.
fn boundary(headers: &HeaderMap) -> Option<&[u8]> {
    let mut words = Parameters::of(sole(headers, &CONTENT_TYPE)?.as_bytes());
    if !words.first()?.eq_ignore_ascii_case(b"multipart/form-data") {
        return None;
    }
    let boundary = words.value(b"boundary")?;
    (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len()).then_some(boundary)
}

/// The name of the file in a part, if it is one. `filename*` is not for forms.
fn file_name(head: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(head, &mut fields)
    else {
        return Err(Refusal::Malformed);
    };
    let mut dispositions =
        fields.iter().filter(|it| it.name.eq_ignore_ascii_case("content-disposition"));
    let (Some(disposition), None) = (dispositions.next(), dispositions.next()) else {
        return Err(Refusal::Malformed);
    };
    let mut words = Parameters::of(disposition.value);
    if words.first().is_none_or(|kind| !kind.eq_ignore_ascii_case(b"form-data")) {
        return Err(Refusal::Malformed);
    }
    Ok(words.value(b"filename").map(unescaped))
}

/// Browsers escape three bytes by percent signs, and curl did two by backslashes.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, len) = match rest {
            [b'%', b'2', b'2', ..] => (b'"', 3),
            [b'%', b'0', b'D' | b'd', ..] => (b'\r', 3),
            [b'%', b'0', b'A' | b'a', ..] => (b'\n', 3),
            [b'\\', escaped @ (b'"' | b'\\'), ..] => (*escaped, 2),
            _ => (byte, rest.len() - after.len()),
        };
        name.push(byte);
        rest = &rest[len..];
    }
    name
}

/// The words of a field, divided by semicolons: `a; b=c; d="e"`.
struct Parameters<'v> {
    rest: &'v [u8],
}

impl<'v> Parameters<'v> {
    const fn of(rest: &'v [u8]) -> Self {
        Self { rest }
    }

    fn first(&mut self) -> Option<&'v [u8]> {
        self.next().map(|(word, _)| word)
    }

    /// The value of the first of this name among the rest, without quotes and as it is in them.
    fn value(&mut self, name: &[u8]) -> Option<&'v [u8]> {
        self.find_map(|(word, value)| if word.eq_ignore_ascii_case(name) { value } else { None })
    }
}

impl<'v> Iterator for Parameters<'v> {
    type Item = (&'v [u8], Option<&'v [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|byte| matches!(byte, b';' | b'='));
        let end = end.unwrap_or(self.rest.len());
        let word = self.rest[..end].trim_ascii();
        self.rest = &self.rest[end..];
        let Some(value) = self.rest.strip_prefix(b"=") else {
            self.rest = self.rest.strip_prefix(b";").unwrap_or_default();
            return Some((word, None));
        };
        let (value, rest) = match value.trim_ascii_start().strip_prefix(b"\"") {
            Some(quoted) => {
                let end = end_of_quoted(quoted);
                (&quoted[..end], &quoted[end..])
            }
            None => {
                let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
                (value[..end].trim_ascii(), &value[end..])
            }
        };
        // What is between the quote and the semicolon is nothing, or not understood.
        let semicolon = rest.iter().position(|&byte| byte == b';');
        self.rest = semicolon.map_or(&[][..], |at| &rest[at + 1..]);
        Some((word, Some(value)))
    }
}

/// Where the quote is that no backslash escapes.
fn end_of_quoted(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != b'"' {
        let is_escape = text[at] == b'\\' && matches!(text.get(at + 1), Some(b'"' | b'\\'));
        at += if is_escape { 2 } else { 1 };
    }
    at.min(text.len())
}

#[cfg(test)]
mod tests;
