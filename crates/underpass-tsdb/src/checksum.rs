//! CRC-32C (Castagnoli), four bytes big-endian behind what it is of.

use crate::damage::{Fault, Malformed};

/// Bytes of a checksum.
pub(crate) const LEN: usize = 4;

/// Compares a stored checksum with that of `content`.
pub(crate) fn compare(content: &[u8], stored: u32) -> Result<(), Malformed> {
    let computed = crc32c::crc32c(content);
    if stored == computed {
        return Ok(());
    }
    Err(Malformed { at: 0, fault: Fault::Checksum { stored, computed } })
}

/// The content of `bytes`, which end with its checksum.
pub(crate) fn content(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let Some((content, stored)) = bytes.split_last_chunk() else {
        let (wanted, left) = (LEN as u64, bytes.len() as u64);
        return Err(Malformed { at: 0, fault: Fault::Short { wanted, left } });
    };
    compare(content, u32::from_be_bytes(*stored))?;
    Ok(content)
}
