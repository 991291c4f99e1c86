//! The batches in a segment file, read by hand: which codec each has.
//!
//! Kafka and `underpass log` have the same files, so one reader serves both, and it shares no code
//! with either.
//!
//! Source: Kafka's documentation, "Record Batch": base offset (8 bytes), length of the rest (4),
//! leader epoch (4), magic (1), CRC (4), attributes (2), last offset delta (4).

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::CODECS;

/// What a batch's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// The offset of its first record.
    pub base_offset: u64,
    /// The offset of its last record.
    pub last_offset: u64,
    /// The name of its codec.
    pub codec: &'static str,
}

/// The batches of a partition, whose directory this is.
///
/// # Errors
///
/// Those of reading; `InvalidData` if a file does not end with a batch.
pub fn batches(partition: &Path) -> io::Result<Vec<Batch>> {
    let mut files: Vec<_> = std::fs::read_dir(partition)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let bytes = std::fs::read(&path)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (batch, after) = first(rest).ok_or_else(|| {
                let at = bytes.len() - rest.len();
                let what = format!("{}: no whole batch at byte {at}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, what)
            })?;
            all.push(batch);
            rest = after;
        }
    }
    Ok(all)
}

/// The codecs that a partition's batches have.
///
/// # Errors
///
/// Those of [`batches`].
pub fn codecs(partition: &Path) -> io::Result<BTreeSet<&'static str>> {
    Ok(batches(partition)?.into_iter().map(|batch| batch.codec).collect())
}

fn first(bytes: &[u8]) -> Option<(Batch, &[u8])> {
    let base_offset = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let len = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    let attributes = u16::from_be_bytes(bytes.get(21..23)?.try_into().ok()?);
    let delta = u32::from_be_bytes(bytes.get(23..27)?.try_into().ok()?);
    let after = bytes.get(12 + usize::try_from(len).ok()?..)?;
    let codec = CODECS.get(usize::from(attributes & 7))?;
    Some((Batch { base_offset, last_offset: base_offset + u64::from(delta), codec }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record at offset 5, zstd; the length counts what follows it.
    const ZSTD: [u8; 32] = [
        0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 20, 0, 0, 0, 0, 2, 1, 2, 3, 4, 0, 4, 0, 0, 0, 1, 9, 9, 9,
        9, 9,
    ];

    #[test]
    fn the_codec_and_the_offsets_are_those_of_the_head_and_a_cut_batch_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("00000000000000000005.log");
        std::fs::write(&file, [ZSTD, ZSTD].concat()).unwrap();
        let batch = Batch { base_offset: 5, last_offset: 6, codec: "zstd" };
        assert_eq!(batches(dir.path()).unwrap(), [batch; 2]);
        assert_eq!(codecs(dir.path()).unwrap(), ["zstd"].into());
        std::fs::write(&file, &[ZSTD, ZSTD].concat()[..63]).unwrap();
        let error = batches(dir.path()).unwrap_err().to_string();
        assert!(error.ends_with("no whole batch at byte 32"), "{error}");
    }
}
