//! Which request is answered by whom.
//!
//! What is malformed, or of a kind or version that was not offered, ends the connection, as with
//! Kafka: there is no response whose shape its sender would know.

mod fetch;
mod produce;
mod versions;

use std::fmt;

use bytes::Bytes;

use crate::connection::Connection;
use crate::wire::header::{HeaderFault, RequestHeader, respond};
use crate::wire::{ApiKey, ErrorCode, Malformed, Message, Piece, Reader, Request, Writer};

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A frame to send.
    Response(Vec<Piece>),
    /// None is wanted.
    Nothing,
    /// The connection is to end.
    Close(Refusal),
}

/// Why a connection is to end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is not known what is asked for.
    #[error(transparent)]
    Header(#[from] HeaderFault),
    /// It cannot be read.
    #[error("a {key:?} request of version {version} with {fault}")]
    Malformed {
        /// What it is.
        key: ApiKey,
        /// In which version.
        version: i16,
        /// What is wrong with it.
        fault: Malformed,
    },
    /// The version was not offered.
    #[error("a {key:?} request of version {version}, which is not answered here")]
    Version {
        /// What it is.
        key: ApiKey,
        /// In which version.
        version: i16,
    },
    /// There is an error, and no response in which to say so.
    #[error("a Produce request without acknowledgement failed: {0:?}")]
    Unacknowledged(ErrorCode),
}

/// A request whose header is read.
struct Asked<'f> {
    header: RequestHeader,
    body: Reader<'f>,
}

/// Answers one request.
pub(crate) async fn answer(connection: &Connection, frame: Bytes) -> Answer {
    let mut body = Reader::new(&frame);
    let answered = match RequestHeader::decode(&mut body) {
        Ok(header) => {
            connection.worker.shared.counts.add_request(header.key);
            dispatch(connection, Asked { header, body }).await
        }
        Err(fault) => Err(fault.into()),
    };
    answered.unwrap_or_else(Answer::Close)
}

async fn dispatch(connection: &Connection, mut asked: Asked<'_>) -> Result<Answer, Refusal> {
    let RequestHeader { key, version, .. } = asked.header;
    if !key.reads(version) {
        let is_versions = key == ApiKey::ApiVersions;
        let refusal = Refusal::Version { key, version };
        return if is_versions { Ok(versions::unsupported(&asked.header)) } else { Err(refusal) };
    }
    match key {
        ApiKey::Produce => produce(connection, asked).await,
        ApiKey::Fetch => {
            let request = asked.read()?;
            Ok(asked.answer(&fetch::handle(connection, request).await))
        }
        ApiKey::ApiVersions => {
            asked.read::<crate::wire::api_versions::ApiVersionsRequest>()?;
            Ok(asked.answer(&versions::supported()))
        }
        ApiKey::ListOffsets
        | ApiKey::Metadata
        | ApiKey::OffsetCommit
        | ApiKey::OffsetFetch
        | ApiKey::FindCoordinator
        | ApiKey::JoinGroup
        | ApiKey::Heartbeat
        | ApiKey::LeaveGroup
        | ApiKey::SyncGroup
        | ApiKey::DescribeGroups
        | ApiKey::ListGroups
        | ApiKey::CreateTopics
        | ApiKey::DeleteTopics
        | ApiKey::DeleteRecords
        | ApiKey::InitProducerId
        | ApiKey::OffsetForLeaderEpoch
        | ApiKey::DescribeAcls
        | ApiKey::DescribeConfigs
        | ApiKey::AlterConfigs
        | ApiKey::DescribeLogDirs
        | ApiKey::CreatePartitions
        | ApiKey::DeleteGroups
        | ApiKey::IncrementalAlterConfigs
        | ApiKey::ListPartitionReassignments
        | ApiKey::OffsetDelete
        | ApiKey::DescribeCluster
        | ApiKey::DescribeProducers => Err(Refusal::Version { key, version }),
    }
}

async fn produce(connection: &Connection, mut asked: Asked<'_>) -> Result<Answer, Refusal> {
    let request = asked.read()?;
    match produce::handle(connection, request, asked.header.version).await {
        Ok(Some(response)) => Ok(asked.answer(&response)),
        Ok(None) => Ok(Answer::Nothing),
        Err(error) => Err(Refusal::Unacknowledged(error)),
    }
}

impl Asked<'_> {
    fn read<R: Request>(&mut self) -> Result<R, Refusal> {
        let RequestHeader { key, version, .. } = self.header;
        R::decode(&mut self.body, version).map_err(|fault| Refusal::Malformed {
            key,
            version,
            fault,
        })
    }

    fn answer(&self, response: &impl Message) -> Answer {
        let mut writer = Writer::frame();
        respond(&mut writer, &self.header, response);
        Answer::Response(writer.into_pieces())
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.fmt(f)
    }
}
