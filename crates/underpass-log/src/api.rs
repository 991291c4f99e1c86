//! Which request is answered by whom.
//!
//! What is malformed, or of a kind or version that was not offered, ends the connection, as with
//! Kafka: there is no response whose shape its sender would know.

mod cluster;
mod configs;
mod delete_records;
mod epochs;
mod fetch;
mod group_admin;
mod group_requests;
#[cfg(test)]
mod group_tests;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;
mod producer_id;
mod producers;
mod topics;
mod versions;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use crate::connection::Connection;
use crate::server::Shared;
use crate::wire::api_versions::ApiVersionsRequest;
use crate::wire::describe_acls::DescribeAclsRequest;
use crate::wire::header::{HeaderFault, RequestHeader, respond};
use crate::wire::list_partition_reassignments::ListPartitionReassignmentsRequest;
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
    /// What was to answer it has panicked, or the server stops.
    #[error("a {0:?} request that was not answered")]
    Abandoned(ApiKey),
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

async fn dispatch(connection: &Connection, asked: Asked<'_>) -> Result<Answer, Refusal> {
    let RequestHeader { key, version, .. } = asked.header;
    if !key.reads(version) {
        let is_versions = key == ApiKey::ApiVersions;
        let refusal = Refusal::Version { key, version };
        return if is_versions { Ok(versions::unsupported(&asked.header)) } else { Err(refusal) };
    }
    match key {
        ApiKey::Produce => produce(connection, asked).await,
        ApiKey::Fetch => asked.with(async |request| fetch::handle(connection, request).await).await,
        ApiKey::ListOffsets => {
            asked.with(async |r| list_offsets::handle(connection, r).await).await
        }
        ApiKey::Metadata => {
            asked.with(async |request| metadata::handle(connection, request, version).await).await
        }
        ApiKey::ApiVersions => {
            asked.with(async |_: ApiVersionsRequest| versions::supported()).await
        }
        ApiKey::InitProducerId => {
            let ids = &connection.worker.shared.producer_ids;
            asked.with(async |request| producer_id::handle(ids, request).await).await
        }
        ApiKey::OffsetForLeaderEpoch => asked.with(async |r| epochs::handle(connection, &r)).await,
        ApiKey::DescribeCluster => asked.with(async |r| cluster::describe(connection, &r)).await,
        ApiKey::DescribeAcls => {
            asked.with(async |_: DescribeAclsRequest| cluster::describe_acls()).await
        }
        ApiKey::DescribeLogDirs => asked.apart(connection, cluster::describe_log_dirs).await,
        ApiKey::ListPartitionReassignments => {
            asked.with(async |_: ListPartitionReassignmentsRequest| Default::default()).await
        }
        ApiKey::CreateTopics => asked.apart(connection, topics::create).await,
        ApiKey::DeleteTopics => asked.apart(connection, topics::delete).await,
        ApiKey::CreatePartitions => asked.apart(connection, topics::grow).await,
        ApiKey::DeleteRecords => asked.apart(connection, delete_records::handle).await,
        ApiKey::DescribeConfigs => asked.with(async |r| configs::describe(connection, r)).await,
        ApiKey::AlterConfigs => asked.apart(connection, configs::replace).await,
        ApiKey::IncrementalAlterConfigs => asked.apart(connection, configs::change).await,
        ApiKey::FindCoordinator => group_requests::find_coordinator(connection, asked).await,
        ApiKey::JoinGroup => group_requests::join(connection, asked).await,
        ApiKey::SyncGroup => group_requests::sync(connection, asked).await,
        ApiKey::Heartbeat => group_requests::heartbeat(connection, asked).await,
        ApiKey::LeaveGroup => group_requests::leave(connection, asked).await,
        ApiKey::DescribeGroups => group_requests::describe(connection, asked).await,
        ApiKey::ListGroups => group_requests::list(connection, asked).await,
        ApiKey::DeleteGroups => group_requests::delete(connection, asked).await,
        ApiKey::OffsetCommit => group_requests::commit(connection, asked).await,
        ApiKey::OffsetFetch => group_requests::fetch(connection, asked).await,
        ApiKey::OffsetDelete => group_requests::delete_offsets(connection, asked).await,
        ApiKey::DescribeProducers => asked.apart(connection, producers::describe).await,
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

    /// Reads the request and answers it.
    async fn with<R: Request>(
        mut self,
        handle: impl AsyncFnOnce(R) -> R::Response,
    ) -> Result<Answer, Refusal> {
        let request = self.read()?;
        Ok(self.answer(&handle(request).await))
    }

    /// The same on a thread that may wait for the disk.
    async fn apart<R>(
        mut self,
        connection: &Connection,
        handle: fn(&Shared, R) -> R::Response,
    ) -> Result<Answer, Refusal>
    where
        R: Request + Send + 'static,
        R::Response: Send + 'static,
    {
        let request = self.read()?;
        let shared = Arc::clone(&connection.worker.shared);
        let response = spawn_blocking(move || handle(&shared, request)).await;
        match response {
            Ok(response) => Ok(self.answer(&response)),
            Err(_) => Err(Refusal::Abandoned(self.header.key)),
        }
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
