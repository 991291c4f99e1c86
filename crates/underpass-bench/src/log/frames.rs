//! Requests of Kafka's protocol whose answers are looked at without being read: at fixed places.
//!
//! The testkit makes them, which shares no code with the servers that are measured. Its versions
//! are without compact encodings, and Kafka 4.1 and `underpass log` both read them.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::{self, Body, Client};
use underpass_testkit::wait;

/// What precedes the topic's name in the answer to a fetch, the frame's length included.
const BEFORE_NAME: usize = 24;

/// Where the error of a fetched partition is, and what precedes its records, from the name's end.
const FETCH_ERROR: usize = 8;
const FETCH_HEAD: usize = 46;

/// Where the partition's error is in the answer to a produce request, without the name.
const PRODUCE_ERROR: usize = 22;

/// What follows the offset that a fetch asks for: log start, limit, no topics to forget, no rack.
const BEHIND_OFFSET: usize = 18;

/// `TOPIC_ALREADY_EXISTS`.
const EXISTS: i16 = 36;

/// A request for one topic, and where its answer says that it went well.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub frame: Vec<u8>,
    /// Where in the frame the offset is that is asked for.
    pub offset_at: Option<usize>,
    /// Where in the answer the partition's error is.
    pub error_at: usize,
    /// Bytes of the answer before the records, if it has any.
    pub head_bytes: usize,
}

/// Produce, version 7.
pub(super) fn produce(topic: &str, batch: &[u8], acks: i16) -> Request {
    let frame = client::produce(topic, 0, acks, batch).frame(0, 7, 7);
    let error_at = PRODUCE_ERROR + topic.len();
    Request { frame, offset_at: None, error_at, head_bytes: error_at + 2 }
}

/// Fetch, version 11, from an offset that is filled in.
pub(super) fn fetch(topic: &str, max_bytes: i32) -> Request {
    let frame = first(topic, 500, max_bytes).body().frame(1, 11, 7);
    let offset_at = Some(frame.len() - BEHIND_OFFSET - size_of::<i64>());
    let name_end = BEFORE_NAME + topic.len();
    let (error_at, head_bytes) = (name_end + FETCH_ERROR, name_end + FETCH_HEAD);
    Request { frame, offset_at, error_at, head_bytes }
}

/// A fetch from the start of partition 0.
pub(super) const fn first(topic: &str, max_wait_ms: i32, max_bytes: i32) -> client::Fetch<'_> {
    client::Fetch {
        topic,
        partition: 0,
        offset: 0,
        max_wait_ms,
        min_bytes: 1,
        max_bytes,
        leader_epoch: -1,
    }
}

/// A connection for what is not measured.
pub(super) fn connect(address: SocketAddr) -> Result<Client> {
    Client::connect(address).with_context(|| address.to_string())
}

/// Creates a topic. `false` if it is there.
pub(super) fn create(
    client: &mut Client,
    topic: &str,
    partitions: i32,
    config: &[(&str, &str)],
) -> Result<bool> {
    let error = client.create_topic(topic, partitions, config)?;
    if error == EXISTS {
        return Ok(false);
    }
    ensure!(error == 0, "creating {topic}: error {error}");
    // Kafka answers that a topic is there before its leader knows.
    let leads = wait::until(Duration::from_secs(10), || match client.fetch(&first(topic, 0, 1)) {
        Ok(fetched) => (fetched.error == 0).then_some(Ok(())),
        Err(error) => Some(Err(error)),
    });
    leads.with_context(|| format!("{topic} has no leader"))??;
    Ok(true)
}

/// Deletes a topic.
pub(super) fn delete(client: &mut Client, topic: &str) -> Result<()> {
    let error = client.delete_topic(topic)?;
    ensure!(error == 0, "deleting {topic}: error {error}");
    Ok(())
}

/// Asks where everything is: Metadata, version 4, of all topics.
pub(super) fn metadata(client: &mut Client) -> Result<()> {
    client.send(3, 4, &Body::default().i32(-1).i8(0))?;
    client.receive()?;
    Ok(())
}

pub(super) fn int16(bytes: &[u8], at: usize) -> Result<i16> {
    let two = bytes.get(at..at + 2).context("an answer is too short")?;
    Ok(i16::from_be_bytes(two.try_into()?))
}

pub(super) fn int32(bytes: &[u8], at: usize) -> Result<i32> {
    let four = bytes.get(at..at + 4).context("an answer is too short")?;
    Ok(i32::from_be_bytes(four.try_into()?))
}

/// A batch of records without keys, of values of this length.
pub(super) fn batch(records: usize, value_bytes: usize) -> Vec<u8> {
    let value = |i: usize| (0..value_bytes).map(|byte| (i + byte).to_le_bytes()[0]).collect();
    let values: Vec<Vec<u8>> = (0..records).map(value).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    batch::of(&values, i64::try_from(now).expect("a time of this era"), Sequence::NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_its_records_one_after_the_other() {
        let batch = batch(2, 3);
        assert_eq!(batch[8..12], 69_i32.to_be_bytes());
        assert_eq!(batch[57..61], 2_i32.to_be_bytes());
        // Length 9, attributes, time, place, no key, three bytes of value, no headers.
        assert_eq!(batch[61..70], [18, 0, 0, 0, 1, 6, 0, 1, 2]);
        assert_eq!(batch[70..], [0, 18, 0, 0, 2, 1, 6, 1, 2, 3, 0]);
    }
}
