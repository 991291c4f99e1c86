//! The streamed answer: frames with one series each, whose chunks are the bytes of the file.
//!
//! A frame is its length, a checksum, and a `ChunkedReadResponse`. Prometheus' client reads the
//! first series of a frame and no other, so a frame never has two; a series that is long is
//! continued in further frames.
//!
//! ```text
//! uvarint len · CRC32C of message, big-endian · message[len]
//! ```
//!
//! Source: prometheus/storage/remote/chunked.go, codec.go `StreamChunkedReadResponses`;
//! prompb/remote.proto, prompb/types.proto.

use bytes::Bytes;

use super::protobuf::{field_len, put_bytes, put_head, put_int64, put_message, put_varint};

/// A frame ends past this size: Prometheus' `--storage.remote.read-max-bytes-in-frame`. Its
/// client takes 50 MB.
const FRAME_BYTES: usize = 1 << 20;

/// Frames leave together from this size on: most series of a short time fill far less.
const PIECE_BYTES: usize = 64 << 10;

/// A chunk as it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk<'a> {
    pub(super) min_time: i64,
    pub(super) max_time: i64,
    /// The byte of its encoding in a block, which the message has as well.
    pub(super) encoding: u8,
    pub(super) data: &'a [u8],
}

/// Frames that are made and have not left.
#[derive(Debug)]
pub(super) struct Frames {
    /// Which query of the request they answer.
    query: i64,
    /// The `ChunkedSeries` that is being made: its labels, then chunks.
    series: Vec<u8>,
    labels_len: usize,
    /// Whole frames.
    ready: Vec<u8>,
}

impl Frames {
    pub(super) fn new(query: usize) -> Self {
        let query = i64::try_from(query).unwrap_or(i64::MAX);
        Self { query, series: Vec::new(), labels_len: 0, ready: Vec::new() }
    }

    /// Begins a series. Its labels are in order.
    pub(super) fn begin<'a>(&mut self, labels: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        self.series.clear();
        for label in labels {
            put_label(label, &mut self.series);
        }
        self.labels_len = self.series.len();
    }

    pub(super) fn add(&mut self, chunk: Chunk<'_>) {
        put_message(2, &mut self.series, |message| {
            put_int64(1, chunk.min_time, message);
            put_int64(2, chunk.max_time, message);
            put_int64(3, chunk.encoding.into(), message);
            put_bytes(4, chunk.data, message);
        });
        if self.series.len() >= FRAME_BYTES {
            self.end_frame();
            self.series.truncate(self.labels_len);
        }
    }

    /// Ends the series. One that has no chunk is only its labels.
    pub(super) fn end(&mut self, is_sent_without_chunks: bool) {
        if self.series.len() > self.labels_len || is_sent_without_chunks {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        let Self { query, series, ready, .. } = self;
        let mut last = Vec::new();
        put_int64(2, *query, &mut last);
        put_varint((field_len(series.len()) + last.len()) as u64, ready);
        let checksum_at = ready.len();
        ready.extend_from_slice(&[0; 4]);
        put_head(1, series.len(), ready);
        ready.extend_from_slice(series);
        ready.extend_from_slice(&last);
        if let Some((checksum, message)) =
            ready.get_mut(checksum_at..).and_then(|frame| frame.split_first_chunk_mut::<4>())
        {
            *checksum = crc32c::crc32c(message).to_be_bytes();
        }
    }

    /// What can leave, if that is enough to make it worth its way.
    pub(super) fn piece(&mut self) -> Option<Bytes> {
        (self.ready.len() >= PIECE_BYTES).then(|| self.rest())
    }

    /// All that can leave.
    pub(super) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.ready).into()
    }
}

/// A `Label` of a series, whose field is 1 in both kinds of answer.
pub(super) fn put_label((name, value): (&[u8], &[u8]), into: &mut Vec<u8>) {
    let value_len = if value.is_empty() { 0 } else { field_len(value.len()) };
    put_head(1, field_len(name.len()) + value_len, into);
    put_bytes(1, name, into);
    if !value.is_empty() {
        put_bytes(2, value, into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [(&[u8], &[u8]); 2] = [(b"__name__", b"m"), (b"a", b"")];

    /// The frames of some bytes, with right checksums.
    fn messages(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let mut len = 0;
            for place in 0.. {
                let (&byte, rest) = bytes.split_first().unwrap();
                len |= usize::from(byte & 0x7f) << (7 * place);
                bytes = rest;
                if byte < 0x80 {
                    break;
                }
            }
            let (checksum, rest) = bytes.split_at(4);
            let (message, rest) = rest.split_at(len);
            assert_eq!(checksum, crc32c::crc32c(message).to_be_bytes());
            messages.push(message.to_vec());
            bytes = rest;
        }
        messages
    }

    /// The message is that of Prometheus 3.5's `prompb`.
    #[test]
    fn a_frame_is_length_checksum_and_message() {
        let mut frames = Frames::new(1);
        frames.begin(LABELS.into_iter());
        frames.add(Chunk { min_time: 5, max_time: 300, encoding: 1, data: b"\0\0x" });
        frames.end(false);
        let bytes = frames.rest();
        let message = b"\x0a\x22\x0a\x0d\x0a\x08__name__\x12\x01m\x0a\x03\x0a\x01a\
            \x12\x0c\x08\x05\x10\xac\x02\x18\x01\x22\x03\0\0x\x10\x01";
        assert_eq!(bytes.first(), Some(&38));
        assert_eq!(messages(&bytes), [message]);
    }

    #[test]
    fn a_series_that_is_long_is_continued_with_its_labels_and_another_begins_a_frame() {
        let data = vec![7; 600 << 10];
        let mut frames = Frames::new(0);
        for series in 0..2 {
            frames.begin(LABELS.into_iter());
            for time in 0..3 {
                let time = series * 10 + time;
                frames.add(Chunk { min_time: time, max_time: time, encoding: 2, data: &data });
            }
            frames.end(false);
        }
        let messages = messages(&frames.piece().unwrap());
        let chunks = |message: &[u8]| message.windows(8).filter(|eight| eight == &[7; 8]).count();
        let counted: Vec<_> =
            messages.iter().map(|message| chunks(message).div_ceil(600 << 10)).collect();
        assert_eq!(counted, [2, 1, 2, 1]);
        assert!(
            messages.iter().all(|message| message.windows(8).any(|eight| eight == b"__name__"))
        );
    }

    #[test]
    fn a_series_without_chunks_is_sent_only_where_labels_are_asked_for() {
        let mut frames = Frames::new(0);
        frames.begin(LABELS.into_iter());
        frames.end(false);
        assert_eq!(frames.rest().len(), 0);
        frames.begin(LABELS.into_iter());
        frames.end(true);
        assert_eq!(frames.piece(), None, "a few bytes wait for others");
        assert_eq!(messages(&frames.rest()).len(), 1);
    }
}
