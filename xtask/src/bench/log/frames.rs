//! Requests of Kafka's protocol, put together by hand, and what is looked at of their answers.
//!
//! The versions are the newest without compact encodings, which Kafka 4.1 and `underpass log` both
//! read. The bench shares no code with the server that it measures.
//!
//! Source: Kafka's documentation, "Protocol" and "Record Batch".

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// What precedes the topic's name in the answer to a fetch, the frame's length included.
const BEFORE_NAME: usize = 24;

/// Where the error of a fetched partition is, and what precedes its records, from the name's end.
const FETCH_ERROR: usize = 8;
const FETCH_HEAD: usize = 46;

/// Where the partition's error is in the answer to a produce request, without the name.
const PRODUCE_ERROR: usize = 22;

/// Where a fetch says how long it may wait.
const MAX_WAIT: std::ops::Range<usize> = 23..27;

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

/// A frame that is being written.
struct Frame(Vec<u8>);

impl Frame {
    fn new(key: i16, version: i16) -> Self {
        Self(vec![0; 4]).int16(key).int16(version).int32(7).text("bench")
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn int8(self, value: i8) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn int16(self, value: i16) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn int32(self, value: i32) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn int64(self, value: i64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    fn text(self, text: &str) -> Self {
        let len = i16::try_from(text.len()).expect("names are short");
        self.int16(len).bytes(text.as_bytes())
    }

    fn end(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() - 4).expect("frames are small");
        self.0[..4].copy_from_slice(&len.to_be_bytes());
        self.0
    }
}

/// Produce, version 7.
pub(super) fn produce(topic: &str, batch: &[u8], acks: i16) -> Request {
    let len = i32::try_from(batch.len()).expect("a batch is small");
    let frame = Frame::new(0, 7).int16(-1).int16(acks).int32(30_000);
    let frame = frame.int32(1).text(topic).int32(1).int32(0).int32(len).bytes(batch).end();
    let error_at = PRODUCE_ERROR + topic.len();
    Request { frame, offset_at: None, error_at, head_bytes: error_at + 2 }
}

/// Fetch, version 11, from an offset that is filled in.
pub(super) fn fetch(topic: &str, max_bytes: i32) -> Request {
    let frame = Frame::new(1, 11).int32(-1).int32(500).int32(1).int32(max_bytes).int8(0);
    let frame = frame.int32(0).int32(-1).int32(1).text(topic).int32(1).int32(0).int32(-1);
    let offset_at = frame.0.len();
    let frame = frame.int64(0).int64(-1).int32(max_bytes).int32(0).text("").end();
    let name_end = BEFORE_NAME + topic.len();
    let (error_at, head_bytes) = (name_end + FETCH_ERROR, name_end + FETCH_HEAD);
    Request { frame, offset_at: Some(offset_at), error_at, head_bytes }
}

/// A connection for what is not measured.
#[derive(Debug)]
pub(super) struct Asking(TcpStream);

impl Asking {
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(stream))
    }

    /// The answer with its length in front.
    pub(super) fn ask(&mut self, frame: &[u8]) -> Result<Vec<u8>> {
        self.0.write_all(frame)?;
        let mut answer = vec![0; 4];
        self.0.read_exact(&mut answer)?;
        let len = usize::try_from(int32(&answer, 0)?)?;
        ensure!(len < 100 << 20, "an answer of {len} bytes");
        answer.resize(4 + len, 0);
        self.0.read_exact(&mut answer[4..])?;
        Ok(answer)
    }

    /// Creates a topic: CreateTopics, version 2.
    pub(super) fn create(
        &mut self,
        topic: &str,
        partitions: i32,
        config: &[[&str; 2]],
    ) -> Result<()> {
        let frame = Frame::new(19, 2).int32(1).text(topic).int32(partitions).int16(1).int32(0);
        let count = i32::try_from(config.len())?;
        let fill = |frame: Frame, [name, value]: &[&str; 2]| frame.text(name).text(value);
        let frame = config.iter().fold(frame.int32(count), fill).int32(30_000).int8(0).end();
        let answer = self.ask(&frame)?;
        let error = int16(&answer, 18 + topic.len())?;
        ensure!(error == 0, "creating {topic}: error {error}");
        self.until_it_has_a_leader(topic)
    }

    /// Deletes a topic: DeleteTopics, version 1.
    pub(super) fn delete(&mut self, topic: &str) -> Result<()> {
        let answer = self.ask(&Frame::new(20, 1).int32(1).text(topic).int32(30_000).end())?;
        let error = int16(&answer, 18 + topic.len())?;
        ensure!(error == 0, "deleting {topic}: error {error}");
        Ok(())
    }

    /// Asks where everything is: Metadata, version 4, of all topics.
    pub(super) fn metadata(&mut self) -> Result<()> {
        let answer = self.ask(&Frame::new(3, 4).int32(-1).int8(0).end())?;
        ensure!(int32(&answer, 4)? == 7, "an answer to another request");
        Ok(())
    }

    /// Kafka answers that a topic is there before its leader knows.
    fn until_it_has_a_leader(&mut self, topic: &str) -> Result<()> {
        let Request { mut frame, error_at, .. } = fetch(topic, 1);
        // Waits for nothing.
        frame[MAX_WAIT].copy_from_slice(&0_i32.to_be_bytes());
        let leads = underpass_testkit::wait::until(Duration::from_secs(10), || {
            let answer = self.ask(&frame).and_then(|answer| int16(&answer, error_at));
            match answer {
                Ok(0) => Some(Ok(())),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            }
        });
        leads.with_context(|| format!("{topic} has no leader"))?
    }
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
    let mut body = Vec::new();
    for i in 0..records {
        let mut record = vec![0, 0];
        varint(&mut record, i);
        // No key: a length of -1.
        record.push(1);
        varint(&mut record, value_bytes);
        record.extend((0..value_bytes).map(|byte| (i + byte).to_le_bytes()[0]));
        record.push(0);
        varint(&mut body, record.len());
        body.append(&mut record);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).expect("a time of this era");
    let count = i32::try_from(records).expect("few records");
    let checked = Frame(Vec::new()).int16(0).int32(count - 1).int64(now).int64(now);
    let checked = checked.int64(-1).int16(-1).int32(-1).int32(count).bytes(&body).0;
    let len = i32::try_from(checked.len() + 9).expect("a batch is small");
    let head = Frame(Vec::new()).int64(0).int32(len).int32(-1).int8(2);
    head.bytes(&crc32c(&checked).to_be_bytes()).bytes(&checked).0
}

/// Zigzag: lengths and places are not negative.
fn varint(to: &mut Vec<u8>, value: usize) {
    let mut left = value << 1;
    while left > 0x7f {
        to.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    to.push(left.to_le_bytes()[0]);
}

/// Castagnoli's polynomial, reflected; a bit at a time, since it is done once a batch.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

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
