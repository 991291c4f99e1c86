//! One connection to a log, with requests of one partition, of versions whose fields are plain.
//!
//! Nothing is shared with the codec of the server, and every answer is read to its last byte.
//!
//! Source: Kafka's protocol guide. Produce 7, Fetch 11, `ListOffsets` 4, `CreateTopics` 4,
//! `DeleteTopics` 3, `DeleteRecords` 1, `InitProducerId` 1, `OffsetForLeaderEpoch` 3.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::answer::{Answer, invalid};
use super::batch::Sequence;

/// How long an answer may take before the client gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// No answer of a test is larger.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// For timeouts inside requests.
const TIMEOUT_MS: i32 = 30_000;

/// A connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    correlation_id: i32,
}

/// The body of a request.
#[derive(Debug, Default, Clone)]
pub struct Body(Vec<u8>);

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// Kafka's number, 0 for none.
    pub error: i16,
    /// The offset of its first record.
    pub base_offset: i64,
}

/// What a consumer asks for.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'t> {
    /// The topic.
    pub topic: &'t str,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub offset: i64,
    /// How long the server may wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// What it waits for.
    pub min_bytes: i32,
    /// The most that is wanted.
    pub max_bytes: i32,
    /// The leader epoch of which the consumer knows, or -1.
    pub leader_epoch: i32,
}

/// What a consumer gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Kafka's number, 0 for none.
    pub error: i16,
    /// The end of what consumers may see.
    pub high_watermark: i64,
    /// The first offset that there is.
    pub log_start: i64,
    /// Record batches.
    pub records: Vec<u8>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// Those of connect(2).
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation_id: 0 })
    }

    /// The socket under it.
    #[must_use]
    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends a request; [`Client::receive`] waits for its answer.
    ///
    /// # Errors
    ///
    /// Those of write(2).
    pub fn send(&mut self, key: i16, version: i16, body: &Body) -> io::Result<()> {
        self.correlation_id += 1;
        self.stream.write_all(&body.frame(key, version, self.correlation_id))
    }

    /// Waits for the answer to the last request.
    ///
    /// # Errors
    ///
    /// Those of read(2), and [`io::ErrorKind::InvalidData`] if it answers another request.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let len = i32::from_be_bytes(self.exact()?);
        let len = usize::try_from(len).ok().filter(|len| (4..=ANSWER_BYTES_MAX).contains(len));
        let len = len.ok_or_else(|| invalid("an answer of no possible length".to_owned()))?;
        let correlation_id = i32::from_be_bytes(self.exact()?);
        if correlation_id != self.correlation_id {
            let own = self.correlation_id;
            return Err(invalid(format!("an answer to {correlation_id} and not to {own}")));
        }
        let mut bytes = vec![0; len - 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(Answer::new(bytes))
    }

    /// Appends a batch, answered by these rules (`acks`: 1 when written, -1 when durable).
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`]; the batch may have been appended.
    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        acks: i16,
        batch: &[u8],
    ) -> io::Result<Produced> {
        self.send(0, 7, &produce(topic, partition, acks, batch))?;
        self.produced()
    }

    /// Waits for the answer to a [`produce`] that was sent.
    ///
    /// # Errors
    ///
    /// Those of [`Client::receive`].
    pub fn produced(&mut self) -> io::Result<Produced> {
        let mut answer = self.receive()?;
        let produced = answer.one_of(|topic| {
            topic.string()?;
            topic.one_of(|partition| {
                partition.i32()?;
                let produced = Produced { error: partition.i16()?, base_offset: partition.i64()? };
                let (_append_time, _log_start) = (partition.i64()?, partition.i64()?);
                Ok(produced)
            })
        })?;
        answer.i32()?;
        answer.end()?;
        Ok(produced)
    }

    /// Fetches.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`], and those that the whole request meets.
    pub fn fetch(&mut self, fetch: &Fetch<'_>) -> io::Result<Fetched> {
        self.send(1, 11, &fetch.body())?;
        self.fetched()
    }

    /// Waits for the answer to a fetch that was sent.
    ///
    /// # Errors
    ///
    /// Those of [`Client::receive`].
    pub fn fetched(&mut self) -> io::Result<Fetched> {
        let mut answer = self.receive()?;
        let (_throttle, error, session) = (answer.i32()?, answer.i16()?, answer.i32()?);
        if error != 0 || session != 0 {
            return Err(invalid(format!("fetch: error {error}, session {session}")));
        }
        let fetched = answer.one_of(|topic| {
            topic.string()?;
            topic.one_of(fetched_partition)
        })?;
        answer.end()?;
        Ok(fetched)
    }

    /// The offset at a time, or -1 for the end and -2 for the start; -1 if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`], and Kafka's.
    pub fn offset_at(&mut self, topic: &str, partition: i32, time: i64) -> io::Result<i64> {
        let body = Body::default().i32(-1).i8(0).i32(1).string(topic).i32(1);
        self.send(2, 4, &body.i32(partition).i32(-1).i64(time))?;
        let mut answer = self.receive()?;
        answer.i32()?;
        let (error, offset) = answer.one_of(|topic| {
            topic.string()?;
            topic.one_of(|partition| {
                partition.i32()?;
                let (error, _time, offset) = (partition.i16()?, partition.i64()?, partition.i64()?);
                partition.i32()?;
                Ok((error, offset))
            })
        })?;
        answer.end()?;
        no_error("ListOffsets", error)?;
        Ok(offset)
    }

    /// The last epoch up to this one that has batches, and where it ends.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`], and Kafka's.
    pub fn end_of_epoch(
        &mut self,
        topic: &str,
        partition: i32,
        epoch: i32,
    ) -> io::Result<(i32, i64)> {
        let body = Body::default().i32(-1).i32(1).string(topic).i32(1);
        self.send(23, 3, &body.i32(partition).i32(-1).i32(epoch))?;
        let mut answer = self.receive()?;
        answer.i32()?;
        let (error, epoch, end) = answer.one_of(|topic| {
            topic.string()?;
            topic.one_of(|partition| {
                let (error, _partition) = (partition.i16()?, partition.i32()?);
                Ok((error, partition.i32()?, partition.i64()?))
            })
        })?;
        answer.end()?;
        no_error("OffsetForLeaderEpoch", error)?;
        Ok((epoch, end))
    }

    /// Creates a topic; returns Kafka's error number.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`].
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> io::Result<i16> {
        let mut body = Body::default().i32(1).string(topic).i32(partitions).i16(1).i32(0);
        body = body.i32(i32::try_from(configs.len()).map_err(io::Error::other)?);
        for (name, value) in configs {
            body = body.string(name).string(value);
        }
        self.send(19, 4, &body.i32(TIMEOUT_MS).i8(0))?;
        let mut answer = self.receive()?;
        answer.i32()?;
        let error = answer.one_of(|topic| {
            topic.string()?;
            let error = topic.i16()?;
            topic.string()?;
            Ok(error)
        })?;
        answer.end()?;
        Ok(error)
    }

    /// Deletes a topic; returns Kafka's error number.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`].
    pub fn delete_topic(&mut self, topic: &str) -> io::Result<i16> {
        self.send(20, 3, &Body::default().i32(1).string(topic).i32(TIMEOUT_MS))?;
        let mut answer = self.receive()?;
        answer.i32()?;
        let error = answer.one_of(|topic| {
            topic.string()?;
            topic.i16()
        })?;
        answer.end()?;
        Ok(error)
    }

    /// Deletes the records before an offset; returns the first that is left.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`], and Kafka's.
    pub fn delete_records(&mut self, topic: &str, partition: i32, before: i64) -> io::Result<i64> {
        let body = Body::default().i32(1).string(topic).i32(1).i32(partition).i64(before);
        self.send(21, 1, &body.i32(TIMEOUT_MS))?;
        let mut answer = self.receive()?;
        answer.i32()?;
        let (low, error) = answer.one_of(|topic| {
            topic.string()?;
            topic.one_of(|partition| {
                partition.i32()?;
                Ok((partition.i64()?, partition.i16()?))
            })
        })?;
        answer.end()?;
        no_error("DeleteRecords", error)?;
        Ok(low)
    }

    /// The sequence that a new idempotent producer begins with.
    ///
    /// # Errors
    ///
    /// Those of [`Client::send`] and [`Client::receive`], and Kafka's.
    pub fn init_producer(&mut self) -> io::Result<Sequence> {
        self.send(22, 1, &Body::default().i16(-1).i32(TIMEOUT_MS))?;
        let mut answer = self.receive()?;
        let (_throttle, error) = (answer.i32()?, answer.i16()?);
        let (producer_id, producer_epoch) = (answer.i64()?, answer.i16()?);
        answer.end()?;
        no_error("InitProducerId", error)?;
        Ok(Sequence { producer_id, producer_epoch, base: 0 })
    }

    fn exact(&mut self) -> io::Result<[u8; 4]> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// The body of a Produce request of one batch.
#[must_use]
pub fn produce(topic: &str, partition: i32, acks: i16, batch: &[u8]) -> Body {
    let body = Body::default().i16(-1).i16(acks).i32(TIMEOUT_MS).i32(1).string(topic);
    body.i32(1).i32(partition).bytes(batch)
}

impl Fetch<'_> {
    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> Body {
        let body = Body::default().i32(-1).i32(self.max_wait_ms).i32(self.min_bytes);
        let body = body.i32(self.max_bytes).i8(0).i32(0).i32(-1).i32(1).string(self.topic).i32(1);
        let body = body.i32(self.partition).i32(self.leader_epoch).i64(self.offset).i64(-1);
        body.i32(self.max_bytes).i32(0).string("")
    }
}

impl Body {
    /// The whole request, its length in front.
    #[must_use]
    pub fn frame(&self, key: i16, version: i16, correlation_id: i32) -> Vec<u8> {
        let head = Self::default().i16(key).i16(version).i32(correlation_id).string("testkit");
        Self::default().bytes(&[&head.0[..], &self.0[..]].concat()).0
    }

    /// Appends a byte.
    #[must_use]
    pub fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends two bytes.
    #[must_use]
    pub fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends four bytes; before elements, their number.
    #[must_use]
    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends eight bytes.
    #[must_use]
    pub fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Appends a string of fewer than 32,768 bytes.
    #[must_use]
    pub fn string(self, value: &str) -> Self {
        let mut body = self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        body.0.extend(value.as_bytes());
        body
    }

    /// Appends bytes, fewer than 2 GiB.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut body = self.i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        body.0.extend(value);
        body
    }
}

fn fetched_partition(partition: &mut Answer) -> io::Result<Fetched> {
    partition.i32()?;
    let (error, high_watermark) = (partition.i16()?, partition.i64()?);
    let (_last_stable, log_start) = (partition.i64()?, partition.i64()?);
    partition.array_of(|aborted| Ok((aborted.i64()?, aborted.i64()?)))?;
    partition.i32()?;
    Ok(Fetched { error, high_watermark, log_start, records: partition.bytes()? })
}

fn no_error(api: &str, error: i16) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::other(format!("{api}: error {error}"))) }
}
