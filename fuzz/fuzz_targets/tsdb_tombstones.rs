//! Tombstones, next to a reading that keeps every record as it is.
//!
//! Input: a file, or after a zero its records alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_tsdb::{SeriesId, Tombstones};

const HEADER: [u8; 5] = [0x01, 0x30, 0xba, 0x30, 1];

fuzz_target!(|bytes: &[u8]| {
    let Some((0, records)) = bytes.split_first() else {
        drop(Tombstones::decode(bytes));
        return;
    };
    let sum = crc32c::crc32c(records).to_be_bytes();
    let decoded = Tombstones::decode(&[&HEADER, records, &sum].concat());
    let expected = read(records);
    assert_eq!(decoded.is_ok(), expected.is_some(), "{decoded:?}");
    let (Ok(decoded), Some(expected)) = (decoded, expected) else { return };
    for &(id, min, max) in &expected {
        for time in [min, max].map(|time| [time.saturating_sub(1), time, time.saturating_add(1)]) {
            time.map(|time| compare(&decoded, &expected, id, time));
        }
    }
    for id in decoded.series() {
        let intervals = decoded.of(id);
        assert!(intervals.iter().all(|interval| interval.min <= interval.max));
        assert!(intervals.windows(2).all(|two| two[0].max.saturating_add(1) < two[1].min));
    }
});

/// A series and the first and last millisecond that was deleted.
type Record = (u32, i64, i64);

fn compare(decoded: &Tombstones, expected: &[Record], id: u32, time: i64) {
    let within = |min, max| min <= time && time <= max;
    let is_gone = expected.iter().any(|&(of, min, max)| of == id && within(min, max));
    let intervals = decoded.of(SeriesId(id));
    let is_found = intervals.iter().any(|interval| within(interval.min, interval.max));
    assert_eq!(is_found, is_gone, "{time} of {id}: {intervals:?} {expected:?}");
}

fn read(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let id = u32::try_from(uvarint(&mut bytes)?);
        let (min, max) = (uvarint(&mut bytes)?, uvarint(&mut bytes)?);
        records.push((id.ok()?, unfolded(min), unfolded(max)));
    }
    Some(records)
}

fn uvarint(bytes: &mut &[u8]) -> Option<u64> {
    let len = 1 + bytes.iter().take(10).position(|byte| *byte < 0x80)?;
    let (number, rest) = bytes.split_at(len);
    *bytes = rest;
    let places = number.iter().rev();
    let sum = places.fold(0_u128, |sum, byte| sum << 7 | u128::from(byte & 0x7f));
    u64::try_from(sum).ok()
}

const fn unfolded(number: u64) -> i64 {
    let half = (number / 2) as i64;
    if number % 2 == 0 { half } else { !half }
}
