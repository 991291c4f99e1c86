//! What stands before each message: which it is, in which version, and whose answer it is.
//!
//! Source: Kafka's protocol guide, "Headers"; KIP-482; KIP-511.

use super::field::{Field, Form};
use super::{ApiKey, Malformed, Message, Piece, Reader, Request, Writer};

/// What comes before a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestHeader {
    pub(crate) key: ApiKey,
    /// May be one that is not read: see [`ApiKey::reads`].
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: Option<String>,
}

/// Why a request cannot be answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderFault {
    /// No such key is known, and so it is not known what follows.
    #[error("a request with the API key {key}, version {version}, is not answered here")]
    UnknownKey { key: i16, version: i16 },
    /// The header ends too early.
    #[error("a request whose header is malformed")]
    Malformed(#[from] Malformed),
}

impl RequestHeader {
    /// Reads a header, and leaves `reader` at the message.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, HeaderFault> {
        // The client's id has two bytes of length in each version of the header.
        let form = Form::new(0, 1);
        let (key, version) = (i16::read(reader, form)?, i16::read(reader, form)?);
        let key = ApiKey::from_number(key).ok_or(HeaderFault::UnknownKey { key, version })?;
        let correlation_id = i32::read(reader, form)?;
        let client_id = Option::read(reader, form)?;
        if key.request_header(version) == 2 {
            reader.skip_tags()?;
        }
        Ok(Self { key, version, correlation_id, client_id })
    }

    fn encode(&self, writer: &mut Writer) {
        let form = Form::new(0, 1);
        self.key.number().write(writer, form);
        self.version.write(writer, form);
        self.correlation_id.write(writer, form);
        self.client_id.write(writer, form);
        if self.key.request_header(self.version) == 2 {
            writer.put_tags(&[]);
        }
    }

    /// The frame of `request`, whose header this is.
    pub(crate) fn frame<R: Request>(&self, request: &R) -> Vec<Piece> {
        debug_assert_eq!(R::KEY, self.key, "its own header");
        let mut writer = Writer::frame();
        self.encode(&mut writer);
        request.encode(&mut writer, self.version);
        writer.into_pieces()
    }
}

/// What comes before a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ResponseHeader {
    pub(crate) correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of a response to `version` of `key`.
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        key: ApiKey,
        version: i16,
    ) -> Result<Self, Malformed> {
        let correlation_id = i32::from_be_bytes(reader.array()?);
        if key.response_header(version) == 1 {
            reader.skip_tags()?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header of a response to `version` of `key`.
    pub(crate) fn encode(self, writer: &mut Writer, key: ApiKey, version: i16) {
        writer.put(&self.correlation_id.to_be_bytes());
        if key.response_header(version) == 1 {
            writer.put_tags(&[]);
        }
    }
}

/// Writes the frame of a response to the request that had `header`.
pub(crate) fn respond(writer: &mut Writer, header: &RequestHeader, response: &impl Message) {
    let RequestHeader { key, version, correlation_id, .. } = *header;
    ResponseHeader { correlation_id }.encode(writer, key, version);
    response.encode(writer, version);
}
