//! Messages for fuzz targets, which know them by key and version.

use bytes::Bytes;

use super::api_key::Visitor;
use super::header::RequestHeader;
use super::{ApiKey, Message, Reader, Request, Writer};

/// A message that was read.
#[derive(Debug)]
pub struct Decoded {
    /// Its key.
    pub key: i16,
    /// Its version.
    pub version: i16,
    /// Bytes of the frame before it.
    pub head_bytes: usize,
    /// Bytes of the frame behind it.
    pub left: usize,
    /// Bytes that it takes when it is written again; 0 if it was not.
    pub written: usize,
}

/// Reads a request as a server does; `again` has it written and read once more.
///
/// # Panics
///
/// If that is another message.
#[must_use]
pub fn request(frame: &[u8], again: bool) -> Option<Decoded> {
    let frame = Bytes::copy_from_slice(frame);
    let mut reader = Reader::new(&frame);
    let RequestHeader { key, version, .. } = RequestHeader::decode(&mut reader).ok()?;
    let head_bytes = frame.len() - reader.left();
    let again = if again { Again::Request } else { Again::No };
    let (left, written) = visit(key, version, &mut reader, again)?;
    Some(Decoded { key: key.number(), version, head_bytes, left, written })
}

/// Reads the response to a request of `key` and `version`, writes it and reads it once more.
///
/// # Panics
///
/// If that is another message.
#[must_use]
pub fn response(key: i16, version: i16, body: &[u8]) -> Option<Decoded> {
    let key = ApiKey::from_number(key)?;
    let body = Bytes::copy_from_slice(body);
    let (left, written) = visit(key, version, &mut Reader::new(&body), Again::Response)?;
    Some(Decoded { key: key.number(), version, head_bytes: 0, left, written })
}

/// Which message is read, and whether it is written again.
#[derive(Clone, Copy)]
enum Again {
    No,
    Request,
    Response,
}

struct Reading<'a, 'frame> {
    reader: &'a mut Reader<'frame>,
    version: i16,
    again: Again,
    left_and_written: Option<(usize, usize)>,
}

fn visit(
    key: ApiKey,
    version: i16,
    reader: &mut Reader<'_>,
    again: Again,
) -> Option<(usize, usize)> {
    let mut reading = Reading { reader, version, again, left_and_written: None };
    if key.reads(version) {
        key.visit(&mut reading);
    }
    reading.left_and_written
}

impl Visitor for Reading<'_, '_> {
    fn visit<R: Request>(&mut self) {
        self.left_and_written = match self.again {
            Again::No => R::decode(self.reader, self.version).ok().map(|_| (self.reader.left(), 0)),
            Again::Request => twice::<R>(self.reader, self.version),
            Again::Response => twice::<R::Response>(self.reader, self.version),
        };
    }
}

fn twice<M: Message>(reader: &mut Reader<'_>, version: i16) -> Option<(usize, usize)> {
    let message = M::decode(reader, version).ok()?;
    let mut writer = Writer::default();
    message.encode(&mut writer, version);
    let bytes = writer.into_bytes();
    let mut reader_again = Reader::new(&bytes);
    match M::decode(&mut reader_again, version) {
        // Unknown tags are left out, and with them some of the second frame's budget.
        Ok(same) => assert_eq!(message, same),
        Err(error) => assert!(error.is_of_budget(), "{error}: {message:?}"),
    }
    Some((reader.left(), bytes.len()))
}
