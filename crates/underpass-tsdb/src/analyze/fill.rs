//! How full chunks are, and how they are encoded.

use std::collections::BTreeMap;

use serde::Serialize;

/// Samples that Prometheus puts into a chunk before it begins another.
///
/// Source: Prometheus tsdb/head.go, `DefaultSamplesPerChunk`.
pub(super) const SAMPLES_FULL: u64 = 120;

/// Samples from one class of fill to the next.
const CLASS: u64 = 10;

/// Classes up to full chunks, and one for chunks with more.
const CLASSES: usize = 13;

/// Chunks whose headers were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fill {
    /// Chunks with up to 10 samples, with up to 20, and so on to 120; the last is of those with
    /// more.
    pub chunks_by_samples: Vec<u64>,
    /// By the byte that tells the encoding.
    pub encodings: BTreeMap<u8, EncodingLoad>,
    /// Chunks whose samples could not be counted: their encoding is unknown.
    pub uncounted: u64,
}

/// Chunks of one encoding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EncodingLoad {
    /// Its name.
    pub name: String,
    /// How many.
    pub chunks: u64,
    /// Their samples.
    pub samples: u64,
    /// Their bytes with lengths, encodings and checksums.
    pub bytes: u64,
}

impl Default for Fill {
    fn default() -> Self {
        Self { chunks_by_samples: vec![0; CLASSES], encodings: BTreeMap::new(), uncounted: 0 }
    }
}

impl Fill {
    /// Counts a chunk; `samples` is `None` if its encoding is unknown.
    pub(super) fn add(&mut self, encoding: u8, name: &str, samples: Option<u16>, bytes: u64) {
        let load = self.encodings.entry(encoding).or_insert_with(|| EncodingLoad {
            name: name.to_owned(),
            chunks: 0,
            samples: 0,
            bytes: 0,
        });
        load.chunks += 1;
        load.bytes += bytes;
        match samples.map(u64::from) {
            Some(samples) => {
                load.samples += samples;
                let class = samples.saturating_sub(1) / CLASS;
                let class = usize::try_from(class).map_or(CLASSES - 1, |it| it.min(CLASSES - 1));
                self.chunks_by_samples[class] += 1;
            }
            None => self.uncounted += 1,
        }
    }

    /// What a class of [`Self::chunks_by_samples`] holds: `1 to 10`.
    pub(super) fn class(at: usize) -> String {
        let first = at as u64 * CLASS + 1;
        match first > SAMPLES_FULL {
            true => format!("more than {SAMPLES_FULL}"),
            false => format!("{first} to {}", first + CLASS - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_counted_by_their_samples_and_encodings() {
        let mut fill = Fill::default();
        for samples in [0, 1, 10, 11, 120, 121, u16::MAX] {
            fill.add(1, "XOR", Some(samples), 100);
        }
        fill.add(2, "histogram", Some(120), 1_000);
        fill.add(9, "unknown", None, 7);
        let mut wanted = vec![0; 13];
        (wanted[0], wanted[1], wanted[11], wanted[12]) = (3, 1, 2, 2);
        assert_eq!(fill.chunks_by_samples, wanted);
        assert_eq!(fill.uncounted, 1);
        let xor = &fill.encodings[&1];
        assert_eq!((xor.chunks, xor.samples, xor.bytes), (7, 65_798, 700));
        assert_eq!(fill.encodings[&9].bytes, 7);
    }

    #[test]
    fn classes_are_named_by_the_samples_in_them() {
        assert_eq!(Fill::class(0), "1 to 10");
        assert_eq!(Fill::class(11), "111 to 120");
        assert_eq!(Fill::class(12), "more than 120");
    }
}
