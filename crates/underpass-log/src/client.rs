//! A small blocking client, for the command and for tests.
//!
//! It asks one broker, one request at a time, in the latest version that both know. Its messages
//! are those of the server, read and written by the same definitions.

mod groups;
mod records;
mod topics;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use underpass_daemon::host_port::HostPort;

pub use groups::{CommittedOffset, GroupDescription, GroupMember, ListedGroup, Place};
pub use records::{Fetched, Produced};
pub use topics::{PartitionDescription, TopicDescription, TopicSetting};

use crate::wire::api_versions::{ApiVersion, ApiVersionsRequest};
use crate::wire::header::{RequestHeader, ResponseHeader};
use crate::wire::{ApiKey, ErrorCode, Malformed, Message, Piece, Reader, Request};

/// The largest response that is read.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// What it is called in a broker's log.
const NAME: &str = "underpass";

/// A connection to a broker.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
    /// What the broker answers.
    offered: Vec<ApiVersion>,
}

/// Why a request has no answer, or not the one wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No address of the host answers.
    #[error("cannot connect to {host}; is a server running there?")]
    Connect {
        /// Where to.
        host: HostPort,
        /// The last address' error.
        source: io::Error,
    },
    /// The connection failed.
    #[error("no response to {request}")]
    Io {
        /// What was asked.
        request: RequestName,
        /// How it failed.
        source: io::Error,
    },
    /// The response is not one.
    #[error("the response to {request} has {fault}")]
    Response {
        /// What was asked.
        request: RequestName,
        /// What is wrong with the response.
        fault: String,
    },
    /// The broker is older or newer than this client.
    #[error("the server does not answer {0} in a version that is known here")]
    Unsupported(RequestName),
    /// The broker said no.
    #[error("{subject}: {refusal}")]
    Refused {
        /// What the request was about.
        subject: String,
        /// What the broker said.
        refusal: Refusal,
    },
}

/// What a broker says when it does not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: ErrorCode,
    message: Option<String>,
}

/// The name of a request, as Kafka has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestName(ApiKey);

impl fmt::Display for RequestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Refusal {
    /// The protocol's number of the error.
    #[must_use]
    pub const fn code(&self) -> i16 {
        self.code.number()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "{message} ({})", self.code),
            None => self.code.fmt(f),
        }
    }
}

impl ClientError {
    /// The protocol's number of the error, if the broker gave one.
    #[must_use]
    pub const fn code(&self) -> Option<i16> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.code()),
            Self::Connect { .. }
            | Self::Io { .. }
            | Self::Response { .. }
            | Self::Unsupported(_) => None,
        }
    }
}

impl Client {
    /// Connects to a broker and asks for its versions. No answer may take longer than `patience`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`], or those of a request.
    pub fn connect(host: &HostPort, patience: Duration) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { host: host.clone(), source };
        let addresses = host.look_up().map_err(failed)?;
        let stream = connect_to_any(&addresses, patience).map_err(failed)?;
        stream.set_read_timeout(Some(patience)).map_err(failed)?;
        stream.set_write_timeout(Some(patience)).map_err(failed)?;
        // tcp(7): a request that is written in pieces would otherwise wait for an acknowledgement.
        stream.set_nodelay(true).map_err(failed)?;
        let mut client = Self { stream, correlation_id: 0, offered: Vec::new() };
        client.ask_versions()?;
        Ok(client)
    }

    fn ask_versions(&mut self) -> Result<(), ClientError> {
        let request = ApiVersionsRequest {
            client_software_name: NAME.into(),
            client_software_version: env!("CARGO_PKG_VERSION").into(),
        };
        let response = self.exchange(&request, *ApiVersionsRequest::VERSIONS.end())?;
        accept("versions", response.error_code, None)?;
        self.offered = response.api_keys;
        Ok(())
    }

    /// Sends a request and waits for its response.
    pub(crate) fn call<R: Request>(&mut self, request: &R) -> Result<R::Response, ClientError> {
        let version =
            self.version_of::<R>().ok_or(ClientError::Unsupported(RequestName(R::KEY)))?;
        self.exchange(request, version)
    }

    /// The latest version that both sides know.
    fn version_of<R: Request>(&self) -> Option<i16> {
        let offered = self.offered.iter().find(|offered| offered.api_key == R::KEY.number())?;
        latest(&(offered.min_version..=offered.max_version), &R::VERSIONS)
    }

    fn exchange<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, ClientError> {
        let name = RequestName(R::KEY);
        self.send(request, version).map_err(|source| ClientError::Io { request: name, source })?;
        let frame = self.receive().map_err(|source| ClientError::Io { request: name, source })?;
        let fault =
            |fault: Malformed| ClientError::Response { request: name, fault: fault.to_string() };
        let mut reader = Reader::new(&frame);
        let header = ResponseHeader::decode(&mut reader, R::KEY, version).map_err(fault)?;
        if header.correlation_id != self.correlation_id {
            let fault = format!("number {}, not {}", header.correlation_id, self.correlation_id);
            return Err(ClientError::Response { request: name, fault });
        }
        R::Response::decode(&mut reader, version).map_err(fault)
    }

    /// Sends a request that may have no response.
    pub(crate) fn send<R: Request>(&mut self, request: &R, version: i16) -> io::Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let header = RequestHeader {
            key: R::KEY,
            version,
            correlation_id: self.correlation_id,
            client_id: Some(NAME.into()),
        };
        for piece in header.frame(request) {
            match piece {
                Piece::Memory(bytes) => self.stream.write_all(&bytes)?,
                Piece::File(_) => return Err(io::Error::other("a request refers to a file")),
            }
        }
        Ok(())
    }

    /// One frame. Memory is taken as its bytes come, not as its length says.
    fn receive(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = i32::from_be_bytes(length);
        let bytes = usize::try_from(length).ok().filter(|&bytes| bytes <= RESPONSE_BYTES_MAX);
        let bytes =
            bytes.ok_or_else(|| io::Error::other(format!("a response of {length} bytes")))?;
        let mut frame = Vec::new();
        let read = (&self.stream).take(bytes as u64).read_to_end(&mut frame)?;
        if read < bytes {
            let fault = format!("the connection ended after {read} of {bytes} bytes");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, fault));
        }
        Ok(frame.into())
    }
}

/// The latest version of both.
fn latest(offered: &RangeInclusive<i16>, known: &RangeInclusive<i16>) -> Option<i16> {
    let latest = *offered.end().min(known.end());
    (latest >= *offered.start().max(known.start())).then_some(latest)
}

fn connect_to_any(addresses: &[SocketAddr], patience: Duration) -> io::Result<TcpStream> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match TcpStream::connect_timeout(address, patience) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Fails if there is an error in a response.
pub(crate) fn accept(
    subject: &str,
    code: ErrorCode,
    message: Option<&str>,
) -> Result<(), ClientError> {
    if !code.is_error() {
        return Ok(());
    }
    let refusal = Refusal { code, message: message.map(str::to_owned) };
    Err(ClientError::Refused { subject: subject.to_owned(), refusal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_version_that_both_know_is_used() {
        for (offered, known, wanted) in [
            (0..=9, 3..=9, Some(9)),
            (0..=4, 1..=7, Some(4)),
            (4..=18, 4..=12, Some(12)),
            (5..=9, 1..=5, Some(5)),
            (6..=9, 1..=5, None),
            (0..=2, 3..=9, None),
        ] {
            assert_eq!(latest(&offered, &known), wanted, "{offered:?} {known:?}");
        }
    }
}
