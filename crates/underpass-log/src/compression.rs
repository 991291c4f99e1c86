//! The four codecs a batch may be compressed with, as a stream of what is inside.
//!
//! A batch of some kilobytes can unpack to gigabytes, so what comes out is counted
//! ([`UNPACKED_BYTES_MAX`]), and what a codec keeps in memory is bounded ([`KEPT_BYTES_MAX`]). No
//! length that a batch claims is allocated before it is compared with those.
//!
//! Source: Kafka's CompressionType; RFC 1952 (gzip), RFC 8878 (zstd), lz4_Frame_format.md, and the
//! files of [`snappy`].

mod snappy;
mod zstd;

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use self::snappy::Snappy;
use self::zstd::Zstd;

/// What the records of a batch may unpack to.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// What a codec may keep of it: a window of Zstandard, or a block of Snappy. RFC 8878 (3.1.1.1.2)
/// has decoders support windows of 8 MiB.
const KEPT_BYTES_MAX: u32 = 16 << 20;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec with this number in a batch's attributes.
    pub(crate) const fn of(number: i16) -> Option<Self> {
        match number {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Its name, as `compression.type` has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// What is inside of compressed bytes.
pub(crate) struct Unpacked<'a> {
    stream: Stream<'a>,
    left: u64,
}

enum Stream<'a> {
    Plain(&'a [u8]),
    Gzip(MultiGzDecoder<&'a [u8]>),
    Snappy(Snappy<'a>),
    Lz4(Box<FrameDecoder<&'a [u8]>>),
    Zstd(Box<Zstd<'a>>),
}

impl<'a> Unpacked<'a> {
    pub(crate) fn new(codec: Codec, packed: &'a [u8]) -> Self {
        let stream = match codec {
            Codec::None => Stream::Plain(packed),
            Codec::Gzip => Stream::Gzip(MultiGzDecoder::new(packed)),
            Codec::Snappy => Stream::Snappy(Snappy::new(packed)),
            Codec::Lz4 => Stream::Lz4(Box::new(FrameDecoder::new(packed))),
            Codec::Zstd => Stream::Zstd(Box::new(Zstd::new(packed))),
        };
        Self { stream, left: UNPACKED_BYTES_MAX }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.stream {
            Stream::Plain(bytes) => bytes.read(buffer),
            Stream::Gzip(decoder) => decoder.read(buffer),
            Stream::Snappy(decoder) => decoder.read(buffer),
            Stream::Lz4(decoder) => {
                // At the end of a frame; when asked again, it would look for another.
                let count = decoder.read(buffer)?;
                let rest = decoder.get_ref().len();
                if count == 0 && rest > 0 { Err(fault(Fault::Trailing(rest))) } else { Ok(count) }
            }
            Stream::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| fault(Fault::Unpacked))?;
        Ok(count)
    }
}

/// What is wrong with compressed bytes, other than what a decoder finds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("it unpacks to more than {UNPACKED_BYTES_MAX} bytes")]
    Unpacked,
    #[error("{0} bytes follow its end")]
    Trailing(usize),
    #[error("a block claims {claimed} bytes, of which {there} are there")]
    Block { claimed: usize, there: usize },
    #[error("a block of {packed} bytes claims to unpack to {claimed}")]
    Claim { packed: usize, claimed: usize },
}

fn fault(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::GzEncoder;
    use lz4_flex::frame::FrameEncoder;

    use super::*;

    /// 1,000 zeros, by each codec.
    fn zeros() -> Vec<(Codec, Vec<u8>)> {
        let zeros = [0; 1_000];
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&zeros).unwrap();
        let mut lz4 = FrameEncoder::new(Vec::new());
        lz4.write_all(&zeros).unwrap();
        vec![
            (Codec::None, zeros.to_vec()),
            (Codec::Gzip, gzip.finish().unwrap()),
            (Codec::Snappy, snap::raw::Encoder::new().compress_vec(&zeros).unwrap()),
            (Codec::Lz4, lz4.finish().unwrap()),
            (Codec::Zstd, rle_frame(1_000)),
        ]
    }

    /// RFC 8878: magic, a window of 128 KiB, and one block that repeats a zero and is the last.
    fn rle_frame(count: u32) -> Vec<u8> {
        let head = ((count << 3) | 0b011).to_le_bytes();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3], &head[..3], &[0]].concat()
    }

    fn unpack(mut unpacked: Unpacked<'_>) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        unpacked.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn what_unpacks_to_more_than_it_may_is_an_error() {
        for (codec, packed) in zeros() {
            let with = |left| unpack(Unpacked { left, ..Unpacked::new(codec, &packed) });
            assert_eq!(with(1_000), Ok(vec![0; 1_000]), "{}", codec.name());
            let fault = Fault::Unpacked.to_string();
            assert_eq!(with(999), Err(fault), "{}", codec.name());
        }
    }

    #[test]
    fn a_batch_may_unpack_to_64_mib() {
        let frames = |count| rle_frame(128 << 10).repeat(count);
        let unpacked = |packed: &[u8]| {
            let mut unpacked = Unpacked::new(Codec::Zstd, packed);
            io::copy(&mut unpacked, &mut io::sink()).map_err(|error| error.to_string())
        };
        assert_eq!(unpacked(&frames(512)), Ok(64 << 20));
        assert_eq!(unpacked(&frames(513)), Err(Fault::Unpacked.to_string()));
    }

    #[test]
    fn a_bare_snappy_block_may_start_like_a_frame() {
        // 130 bytes as one literal: the varint of 130, and a tag with a byte for the length.
        let packed = [&[0x82, 0x01, 60 << 2, 129], &[7; 130][..]].concat();
        assert_eq!(unpack(Unpacked::new(Codec::Snappy, &packed)), Ok(vec![7; 130]));
    }

    #[test]
    fn nothing_may_follow_an_lz4_frame() {
        let (_, mut packed) = zeros().remove(3);
        packed.push(0);
        let error = unpack(Unpacked::new(Codec::Lz4, &packed));
        assert_eq!(error, Err("1 bytes follow its end".to_owned()));
    }

    #[test]
    fn a_snappy_block_cannot_claim_more_than_its_bytes_can_hold_or_we_would_keep() {
        // Varints of 45 and of 2^32 - 1, and a tag each.
        for (packed, claimed) in
            [(&[45, 0][..], 45), (&[0xff, 0xff, 0xff, 0xff, 0x0f, 0], u32::MAX)]
        {
            let fault = Fault::Claim { packed: packed.len(), claimed: claimed as usize };
            assert_eq!(unpack(Unpacked::new(Codec::Snappy, packed)), Err(fault.to_string()));
        }
        let zeros = vec![0; KEPT_BYTES_MAX as usize + 1];
        let packed = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        let fault = Fault::Claim { packed: packed.len(), claimed: zeros.len() };
        assert_eq!(unpack(Unpacked::new(Codec::Snappy, &packed)), Err(fault.to_string()));
    }

    #[test]
    fn a_block_in_a_snappy_frame_is_all_there() {
        let head = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
        let with = |rest: &[u8]| {
            let packed = [&head[..], rest].concat();
            unpack(Unpacked::new(Codec::Snappy, &packed))
        };
        assert_eq!(with(&[0, 0, 0, 3, 1, 0, 7]), Ok(vec![7]));
        assert_eq!(with(&[]), Ok(Vec::new()));
        // An empty block is not the end.
        assert_eq!(with(&[0, 0, 0, 1, 0, 0, 0, 0, 3, 1, 0, 7]), Ok(vec![7]));
        let block = |claimed, there| Err(Fault::Block { claimed, there }.to_string());
        assert_eq!(with(&[0, 0, 0, 4, 1, 0, 7]), block(4, 3));
        assert_eq!(with(&[0xff, 0xff, 0xff, 0xff, 1, 0, 7]), block(u32::MAX as usize, 3));
        assert_eq!(with(&[0, 0, 0]), block(4, 3));
    }

    #[test]
    fn a_window_of_zstandard_is_bounded() {
        // RFC 8878, 3.1.1.1.2: exponents of 14 and 15 are windows of 16 and 32 MiB.
        let with = |exponent: u8| {
            let mut frame = rle_frame(1_000);
            frame[5] = exponent << 3;
            unpack(Unpacked::new(Codec::Zstd, &frame))
        };
        assert_eq!(with(14), Ok(vec![0; 1_000]));
        assert!(with(15).unwrap_err().contains("33554432"), "{:?}", with(15));
    }
}
