//! The extensions (TLVs) of a PROXY header of version 2: whether they are whole, and whether the
//! header has the checksum that one of them says.
//!
//! Their content does not matter here; whether the header was truncated or altered does.
//!
//! Source: HAProxy, doc/proxy-protocol.txt §2.2 ("TLV vectors"), §2.2.3 (`PP2_TYPE_CRC32C`); RFC
//! 9260 Appendix A, which the CRC32c of RFC 4960 Appendix B is.

use crc::{CRC_32_ISCSI, Crc};

use super::Malformed;

/// `PP2_TYPE_CRC32C`.
const CHECKSUM: u8 = 0x03;

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Checks the extensions of a whole header that begin at byte `at` of it.
pub(super) fn check(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let cut = Malformed::Extension { at };
        let Some((&[kind, high, low], rest)) = rest.split_first_chunk::<3>() else {
            return Err(cut);
        };
        let len = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(..len).ok_or(cut)?;
        if kind == CHECKSUM {
            let said = u32::from_be_bytes(value.try_into().map_err(|_| cut)?);
            let (before, after) = (header.get(..at + 3), rest.get(len..));
            // "replace the 32 bits of the checksum field … with all '0's".
            let mut digest = CRC32C.digest();
            for bytes in [before.unwrap_or_default(), &[0; 4], after.unwrap_or_default()] {
                digest.update(bytes);
            }
            if digest.finalize() != said {
                return Err(Malformed::Checksum);
            }
        }
        at += 3 + len;
    }
    Ok(())
}
