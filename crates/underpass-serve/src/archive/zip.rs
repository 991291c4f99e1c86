//! Members of a zip: each with a head before its content and its checksum after it, and all of them
//! once more at the end.
//!
//! Content is stored as it is. The head has the sizes, as they are known, but not the checksum,
//! since that takes a read of all of it: readers find it behind the content, and at the end.
//!
//! Source: PKWARE APPNOTE 6.3.10, §4.3 (records), §4.4 (fields), §4.5.3 (Zip64); Info-ZIP,
//! extra field 0x5455 (UT).

use super::walk::Member;

/// Sizes and offsets from here on, and counts from `u16::MAX`, are in fields of Zip64.
const SIZE_MAX: u64 = u32::MAX as u64;

/// Versions of the format that it takes to read a member.
const PLAIN: u16 = 20;
const ZIP64: u16 = 45;

/// The checksum and the sizes come after the content.
const HAS_DESCRIPTOR: u16 = 1 << 3;
const NAME_IS_UTF8: u16 = 1 << 11;

/// Made under Unix, for which the mode of a file is in the attributes.
const MADE_BY: u16 = (3 << 8) | ZIP64;

/// What comes before the content.
pub(super) fn head(path: &[u8], member: &Member) -> Vec<u8> {
    let mut extra = Vec::new();
    if is_large(member) {
        put(&mut extra, &[&1_u16.to_le_bytes(), &16_u16.to_le_bytes()]);
        put(&mut extra, &[&member.size.to_le_bytes(), &member.size.to_le_bytes()]);
    }
    extra.extend(date(member));
    let mut head = b"PK\x03\x04".to_vec();
    head.extend(described(path, member, 0, is_large(member)));
    put(&mut head, &[&len(path), &len(&extra), path, &extra]);
    head
}

/// What comes after the content, if there is any.
pub(super) fn descriptor(member: &Member, crc: u32) -> Vec<u8> {
    let mut descriptor = Vec::new();
    if has_descriptor(member) {
        put(&mut descriptor, &[b"PK\x07\x08", &crc.to_le_bytes()]);
        if is_large(member) {
            put(&mut descriptor, &[&member.size.to_le_bytes(), &member.size.to_le_bytes()]);
        } else {
            put(&mut descriptor, &[&low(member.size), &low(member.size)]);
        }
    }
    descriptor
}

/// Its line in the directory at the end; `offset` is where its head begins.
pub(super) fn line(path: &[u8], member: &Member, crc: u32, offset: u64) -> Vec<u8> {
    let mut wide = Vec::new();
    if is_large(member) {
        put(&mut wide, &[&member.size.to_le_bytes(), &member.size.to_le_bytes()]);
    }
    if offset >= SIZE_MAX {
        put(&mut wide, &[&offset.to_le_bytes()]);
    }
    let mut extra = Vec::new();
    if !wide.is_empty() {
        put(&mut extra, &[&1_u16.to_le_bytes(), &len(&wide), &wide]);
    }
    extra.extend(date(member));
    let mode: u32 = match member {
        Member { is_directory: true, .. } => 0o040_755,
        Member { is_program: true, .. } => 0o100_755,
        _ => 0o100_644,
    };
    let attributes = (mode << 16) | if member.is_directory { 0x10 } else { 0 };
    let mut line = b"PK\x01\x02".to_vec();
    put(&mut line, &[&MADE_BY.to_le_bytes()]);
    line.extend(described(path, member, crc, !wide.is_empty()));
    put(&mut line, &[&len(path), &len(&extra)]);
    // No comment, on the first disk, no attributes of the content.
    line.extend([0; 6]);
    put(&mut line, &[&attributes.to_le_bytes(), &low(offset), path, &extra]);
    line
}

/// What ends the archive: where its directory is, and how many lines it has.
pub(super) fn end(members: u64, directory_at: u64, directory_bytes: u64) -> Vec<u8> {
    let mut end = Vec::new();
    let is_small = |number: u64| number < SIZE_MAX;
    if members >= u64::from(u16::MAX) || !is_small(directory_at) || !is_small(directory_bytes) {
        put(&mut end, &[b"PK\x06\x06", &44_u64.to_le_bytes(), &MADE_BY.to_le_bytes()]);
        put(&mut end, &[&ZIP64.to_le_bytes(), &[0; 8], &members.to_le_bytes()]);
        put(&mut end, &[&members.to_le_bytes(), &directory_bytes.to_le_bytes()]);
        put(&mut end, &[&directory_at.to_le_bytes()]);
        let itself_at = directory_at + directory_bytes;
        put(&mut end, &[b"PK\x06\x07", &[0; 4], &itself_at.to_le_bytes(), &1_u32.to_le_bytes()]);
    }
    let count = u16::try_from(members).unwrap_or(u16::MAX).to_le_bytes();
    put(&mut end, &[b"PK\x05\x06", &[0; 4], &count, &count]);
    put(&mut end, &[&low(directory_bytes), &low(directory_at), &[0; 2]]);
    end
}

/// The fields that a head and a line share.
fn described(path: &[u8], member: &Member, crc: u32, is_wide: bool) -> Vec<u8> {
    let version = if is_wide { ZIP64 } else { PLAIN };
    let mut flags = if has_descriptor(member) { HAS_DESCRIPTOR } else { 0 };
    if std::str::from_utf8(path).is_ok() {
        flags |= NAME_IS_UTF8;
    }
    let (time, day) = dos_date(member.modified);
    let size = if is_large(member) { [0xff; 4] } else { low(member.size) };
    let mut fields = Vec::with_capacity(24);
    put(&mut fields, &[&version.to_le_bytes(), &flags.to_le_bytes(), &[0; 2]]);
    put(&mut fields, &[&time.to_le_bytes(), &day.to_le_bytes(), &crc.to_le_bytes(), &size, &size]);
    fields
}

const fn is_large(member: &Member) -> bool {
    member.size >= SIZE_MAX
}

const fn has_descriptor(member: &Member) -> bool {
    member.size > 0
}

/// The date to the second in UTC, where it has one of 32 bits.
fn date(member: &Member) -> Vec<u8> {
    let secs = i32::try_from(member.modified).ok();
    secs.map_or_else(Vec::new, |secs| [b"UT\x05\x00\x01", &secs.to_le_bytes()[..]].concat())
}

/// Time and day as MS-DOS has them, from 1980 to 2107, to two seconds.
fn dos_date(secs: i64) -> (u16, u16) {
    const EARLIEST: (u16, u16) = (0, (1 << 5) | 1);
    let Some(date) = crate::date::rfc3339(secs) else { return EARLIEST };
    let number = |range: std::ops::Range<usize>| {
        date.get(range).and_then(|digits| digits.parse::<u16>().ok()).unwrap_or(0)
    };
    let [year, month, day] = [number(0..4), number(5..7), number(8..10)];
    let [hour, minute, second] = [number(11..13), number(14..16), number(17..19)];
    if !(1980..=2107).contains(&year) {
        return EARLIEST;
    }
    ((hour << 11) | (minute << 5) | (second / 2), ((year - 1980) << 9) | (month << 5) | day)
}

/// A number in four bytes; what is in Zip64 is all ones.
fn low(number: u64) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

/// The length of a name, or of extra fields. Paths have less than half of this.
fn len(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes()
}

fn put(to: &mut Vec<u8>, fields: &[&[u8]]) {
    fields.iter().for_each(|field| to.extend(*field));
}
