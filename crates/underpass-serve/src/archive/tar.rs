//! Members of a tar: a head of 512 bytes, the content, zeros up to the next 512.
//!
//! What a head has no room for is in another one before it, as key and value: names that are
//! long or not ASCII, sizes from 8 GiB, dates before 1970.
//!
//! Source: POSIX.1-2017, pax, "ustar Interchange Format", "pax Extended Header".

use super::walk::Member;

pub(super) const BLOCK_BYTES: u64 = 512;

/// Two blocks of zeros are the end.
pub(super) const END: [u8; 1_024] = [0; 1_024];

const NAME_BYTES_MAX: usize = 100;

/// The greatest number in eleven octal digits.
const NUMBER_MAX: u64 = 0o77_777_777_777;

/// Everything of a member that comes before its content.
pub(super) fn head(path: &[u8], member: &Member) -> Vec<u8> {
    let mut records = Vec::new();
    let is_text = std::str::from_utf8(path).is_ok();
    if path.len() > NAME_BYTES_MAX || (is_text && !path.is_ascii()) {
        if !is_text {
            records.extend(record("hdrcharset", b"BINARY"));
        }
        records.extend(record("path", path));
    }
    if member.size > NUMBER_MAX {
        records.extend(record("size", member.size.to_string().as_bytes()));
    }
    let modified = u64::try_from(member.modified).ok().filter(|secs| *secs <= NUMBER_MAX);
    if modified.is_none() {
        records.extend(record("mtime", member.modified.to_string().as_bytes()));
    }
    let mut head = Vec::new();
    if !records.is_empty() {
        head.extend(block(b"././@PaxHeader", b'x', 0o644, records.len() as u64, 0));
        records.resize(records.len() + padding(records.len() as u64), 0);
        head.append(&mut records);
    }
    let (kind, mode) = match member {
        Member { is_directory: true, .. } => (b'5', 0o755),
        Member { is_program: true, .. } => (b'0', 0o755),
        _ => (b'0', 0o644),
    };
    let name = &path[..path.len().min(NAME_BYTES_MAX)];
    head.extend(block(name, kind, mode, member.size.min(NUMBER_MAX), modified.unwrap_or(0)));
    head
}

/// How many zeros follow content of this length.
pub(super) fn padding(len: u64) -> usize {
    usize::try_from(len.next_multiple_of(BLOCK_BYTES) - len).unwrap_or(0)
}

fn block(name: &[u8], kind: u8, mode: u64, size: u64, modified: u64) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{modified:011o}").as_bytes());
    // The sum of all bytes, where it is itself blank.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// `length key=value`, where the length counts its own digits too.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let others = key.len() + value.len() + 3;
    let mut len = others;
    while len != others + len.to_string().len() {
        len = others + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}
