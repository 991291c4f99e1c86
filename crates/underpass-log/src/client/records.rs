//! Records in and out, and where they are.

use std::time::Duration;

use bytes::Bytes;

use super::{Client, ClientError, RequestName, accept};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::wire::produce::{ProducePartition, ProduceRequest, ProduceTopic};
use crate::wire::{Records, Request};

/// The most bytes of records that a fetch asks for.
const FETCH_BYTES_MAX: i32 = 50 << 20;

/// Where a batch was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The offset of its first record.
    pub base_offset: i64,
    /// The time of its appending in ms, or -1 if its records have their producer's.
    pub append_time_ms: i64,
}

/// What is in a partition from an offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Whole batches; the first may begin before the offset.
    pub records: Bytes,
    /// The offset behind the last record that may be read.
    pub high_watermark: i64,
    /// The first offset there is.
    pub log_start_offset: i64,
}

impl Client {
    /// Appends one batch, and waits until it is as safe as `acks` asks for: 1, or -1 for all.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
        acks: i16,
    ) -> Result<Produced, ClientError> {
        let response = self.call(&produce(topic, partition, batch, acks))?;
        let outcome = only(
            response.responses.into_iter().flat_map(|topic| topic.partition_responses),
            RequestName(ProduceRequest::KEY),
        )?;
        let message = outcome.error_message.as_deref();
        accept(&format!("{topic}-{partition}"), outcome.error_code, message)?;
        Ok(Produced {
            base_offset: outcome.base_offset,
            append_time_ms: outcome.log_append_time_ms,
        })
    }

    /// Sends one batch, and learns nothing of it.
    ///
    /// # Errors
    ///
    /// If it cannot be sent.
    pub fn produce_unacknowledged(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Bytes,
    ) -> Result<(), ClientError> {
        let name = RequestName(ProduceRequest::KEY);
        let version = self.version_of::<ProduceRequest>().ok_or(ClientError::Unsupported(name))?;
        let sent = self.send(&produce(topic, partition, batch, 0), version);
        sent.map_err(|source| ClientError::Io { request: name, source })
    }

    /// Reads from an offset on, waiting up to `wait` if there is nothing yet.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        from: i64,
        bytes_max: i32,
        wait: Duration,
    ) -> Result<Fetched, ClientError> {
        let wanted = FetchPartition {
            partition,
            fetch_offset: from,
            partition_max_bytes: bytes_max,
            ..FetchPartition::default()
        };
        let wanted = FetchTopic { topic: topic.into(), partitions: vec![wanted] };
        let request = FetchRequest {
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: FETCH_BYTES_MAX.max(bytes_max),
            topics: vec![wanted],
            ..FetchRequest::default()
        };
        let response = self.call(&request)?;
        let subject = format!("{topic}-{partition}");
        accept(&subject, response.error_code, None)?;
        let data = only(
            response.responses.into_iter().flat_map(|topic| topic.partitions),
            RequestName(FetchRequest::KEY),
        )?;
        accept(&subject, data.error_code, None)?;
        let records = match data.records {
            Records::Memory(bytes) => bytes,
            Records::None | Records::File(_) => Bytes::new(),
        };
        let (high_watermark, log_start_offset) = (data.high_watermark, data.log_start_offset);
        Ok(Fetched { records, high_watermark, log_start_offset })
    }

    /// The first offset whose record is not older than `timestamp`, with that record's time; -1 for
    /// the end of the log, -2 for its start, -3 for the record of the latest time. `None` if
    /// there is no such record.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn offset_at(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<Option<(i64, i64)>, ClientError> {
        let wanted = ListOffsetsPartition {
            partition_index: partition,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let wanted = ListOffsetsTopic { name: topic.into(), partitions: vec![wanted] };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![wanted],
            ..ListOffsetsRequest::default()
        };
        let response = self.call(&request)?;
        let found = only(
            response.topics.into_iter().flat_map(|topic| topic.partitions),
            RequestName(ListOffsetsRequest::KEY),
        )?;
        accept(&format!("{topic}-{partition}"), found.error_code, None)?;
        Ok((found.offset >= 0).then_some((found.offset, found.timestamp)))
    }
}

fn produce(topic: &str, partition: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let partition = ProducePartition { index: partition, records: Records::Memory(batch) };
    let topic = ProduceTopic { name: topic.into(), partition_data: vec![partition] };
    ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

/// The one part of a response that is about what was asked.
pub(crate) fn only<T>(
    mut parts: impl Iterator<Item = T>,
    request: RequestName,
) -> Result<T, ClientError> {
    match (parts.next(), parts.next()) {
        (Some(part), None) => Ok(part),
        (None, _) => {
            Err(ClientError::Response { request, fault: "no part for what was asked".into() })
        }
        (Some(_), Some(_)) => {
            Err(ClientError::Response { request, fault: "more parts than were asked for".into() })
        }
    }
}
