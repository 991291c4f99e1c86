//! Checksums of an index put right, so that a changed input gets past them.

/// Puts right the checksum of every section that the TOC leads to, and of every series entry.
pub fn mend_index(bytes: &mut [u8]) {
    let Some(end) = bytes.len().checked_sub(52) else { return };
    let toc = bytes.len() - 4;
    put(bytes, end, toc);
    let place = |number: usize| {
        let start = end + 8 * number;
        let place = u64::from_be_bytes(bytes[start..start + 8].try_into().expect("8 bytes"));
        usize::try_from(place).unwrap_or(usize::MAX)
    };
    let [symbols, series, label_indices, postings, table] = [0, 1, 2, 4, 5].map(place);
    let series_end = if label_indices == 0 { postings } else { label_indices };
    mend_series(bytes, series, series_end.min(end));
    let mut at = postings;
    while at < table.min(end) && at > 0 {
        let Some(next) = mend_section(bytes, at) else { break };
        at = next.next_multiple_of(4);
    }
    for section in [symbols, table] {
        mend_section(bytes, section);
    }
}

/// Where the section ends that starts with its length in four bytes.
fn mend_section(bytes: &mut [u8], start: usize) -> Option<usize> {
    let len: [u8; 4] = bytes.get(start..start.checked_add(4)?)?.try_into().ok()?;
    let end = start.checked_add(4 + usize::try_from(u32::from_be_bytes(len)).ok()?)?;
    put(bytes, start + 4, end).then_some(end + 4)
}

fn mend_series(bytes: &mut [u8], start: usize, end: usize) {
    if start >= end {
        return;
    }
    let mut at = start.next_multiple_of(16);
    while at > 0 && at < end {
        let (mut len, mut place) = (0_usize, 0);
        while let Some(&byte) = bytes.get(at + place).filter(|_| place < 4) {
            len |= usize::from(byte & 0x7f) << (7 * place);
            place += 1;
            if byte < 0x80 {
                break;
            }
        }
        let body = at + place;
        let next = if put(bytes, body, body + len) { body + len + 4 } else { at + 1 };
        at = next.next_multiple_of(16);
    }
}

/// Puts the checksum of a range behind it, if there is room.
fn put(bytes: &mut [u8], start: usize, end: usize) -> bool {
    let Some(content) = bytes.get(start..end) else { return false };
    let sum = crc32c::crc32c(content).to_be_bytes();
    let Some(stored) = bytes.get_mut(end..).and_then(|rest| rest.first_chunk_mut()) else {
        return false;
    };
    *stored = sum;
    true
}
