//! Chunks: the samples of one series over some hours, in one of six encodings.
//!
//! A decoder gets the data of a chunk, whose checksum was verified, and still trusts none of it: a
//! writer may have been broken before the checksum was made. What was decoded before a fault is
//! kept. Bits after the last sample are ignored, since writers leave different padding there.
//!
//! Encodings with start timestamps (XOR2 and the last two) are read over them: a sample here has a
//! time and a value.
//!
//! Source: Prometheus 3.14, tsdb/chunkenc/chunk.go; tsdb/docs/format/chunks.md.

mod bits;
pub mod head;
mod histogram;
mod layout;
mod start_time;
mod value;
mod varbit;
mod xor;
mod xor2;

use std::fmt;

use crate::damage::{Fault, Malformed};
use crate::sample::Samples;
use bits::Bits;
use histogram::Integer;
use value::Value;

/// How the samples of a chunk are written: the byte before its data.
///
/// The set grows with Prometheus: a byte that is not among these is [`Fault::Encoding`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Encoding {
    /// Floats.
    Xor = 1,
    /// Histograms whose counts are integers.
    Histogram = 2,
    /// Histograms whose counts are floats.
    FloatHistogram = 3,
    /// Floats, in fewer bits, and start timestamps; since Prometheus 3.11, where it is asked for.
    Xor2 = 4,
    /// Histograms whose counts are integers, and start timestamps.
    HistogramSt = 5,
    /// Histograms whose counts are floats, and start timestamps.
    FloatHistogramSt = 6,
}

impl Encoding {
    /// All that are known.
    pub const ALL: [Self; 6] = [
        Self::Xor,
        Self::Histogram,
        Self::FloatHistogram,
        Self::Xor2,
        Self::HistogramSt,
        Self::FloatHistogramSt,
    ];

    /// Its byte in a file.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// Prometheus' name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xor => "XOR",
            Self::Histogram => "histogram",
            Self::FloatHistogram => "floathistogram",
            Self::Xor2 => "XOR2",
            Self::HistogramSt => "histogramST",
            Self::FloatHistogramSt => "floathistogramST",
        }
    }

    /// Histograms with start timestamps keep flags in the upper two bits of the count.
    const fn count_mask(self) -> u16 {
        match self {
            Self::Xor | Self::Histogram | Self::FloatHistogram | Self::Xor2 => u16::MAX,
            Self::HistogramSt | Self::FloatHistogramSt => 0x3fff,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<u8> for Encoding {
    type Error = Fault;

    fn try_from(byte: u8) -> Result<Self, Fault> {
        Self::ALL.into_iter().find(|known| known.byte() == byte).ok_or(Fault::Encoding(byte))
    }
}

/// How many samples a chunk says it has, which its first two bytes tell.
///
/// # Errors
///
/// There are no two bytes.
pub fn sample_count(encoding: Encoding, data: &[u8]) -> Result<u16, Malformed> {
    match data.first_chunk() {
        Some(&count) => Ok(u16::from_be_bytes(count) & encoding.count_mask()),
        None => {
            Err(Malformed { at: 0, fault: Fault::Short { wanted: 2, left: data.len() as u64 } })
        }
    }
}

/// Appends the samples of a chunk; those before a fault stay.
///
/// # Errors
///
/// What is wrong, and at which byte of `data`.
pub fn decode(encoding: Encoding, data: &[u8], into: &mut Samples) -> Result<(), Malformed> {
    let count = sample_count(encoding, data)?;
    let Samples { floats, histograms } = into;
    match encoding {
        Encoding::Xor => xor::decode(data, count, floats),
        Encoding::Xor2 => xor2::decode(data, count, floats),
        Encoding::Histogram | Encoding::HistogramSt => {
            histogram::decode::<Integer>(encoding, data, count, histograms)
        }
        Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
            histogram::decode::<Value>(encoding, data, count, histograms)
        }
    }
}

/// An error once the bits of a sample were read past the end.
fn within(bits: &Bits<'_>, read: u16, count: u16) -> Result<(), Malformed> {
    if bits.is_past_end() {
        return Err(ended(bits, read, count));
    }
    Ok(())
}

#[cold]
fn ended(bits: &Bits<'_>, read: u16, count: u16) -> Malformed {
    bits.malformed(Fault::Samples { read, count })
}
