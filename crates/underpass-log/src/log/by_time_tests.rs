//! Look-ups by time, compared with what a list of records says.

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixture::*;
use super::*;

/// A batch of records at these times, each with an empty key and value, as `DefaultRecord` writes
/// it: length, attributes, the deltas of time and offset, key, value, headers.
fn timed(times: &[i64]) -> Vec<u8> {
    let count = i32::try_from(times.len()).unwrap();
    let mut records = Vec::new();
    for (at, time) in times.iter().enumerate() {
        let mut record = vec![0];
        record.extend(zigzag(time - times[0]));
        record.extend(zigzag(i64::try_from(at).unwrap()));
        record.extend([1, 1, 0]);
        records.extend(zigzag(i64::try_from(record.len()).unwrap()));
        records.extend(record);
    }
    let mut bytes = batch(count, records.len(), times[0]);
    bytes[35..43].copy_from_slice(&times.iter().max().unwrap().to_be_bytes());
    bytes[61..].copy_from_slice(&records);
    seal(bytes)
}

fn zigzag(number: i64) -> Vec<u8> {
    let mut left = (number << 1 ^ number >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while left > 0x7f {
        bytes.push(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    bytes.push(left.to_le_bytes()[0]);
    bytes
}

/// The first record of `time` or later among those before `visible`.
fn first(times: &[i64], start: i64, visible: i64, time: i64) -> Option<(i64, i64)> {
    let seen = (0..visible).zip(times).skip(usize::try_from(start).unwrap());
    seen.map(|(offset, found)| (offset, *found)).find(|(_, found)| *found >= time)
}

fn check_all(log: &Log, times: &[i64], ends: &[i64]) -> Result<(), TestCaseError> {
    let reader = log.reader();
    let start = reader.start_offset();
    for visible in ends {
        for time in 95..=135 {
            let expected = first(times, start, *visible, time);
            let found = reader.find_time(time, *visible).unwrap();
            prop_assert_eq!(found, expected, "time {} before offset {}", time, visible);
        }
        let seen = &times[..usize::try_from(*visible).unwrap()];
        let latest = seen.iter().skip(usize::try_from(start).unwrap()).max();
        let expected = latest.and_then(|latest| first(times, start, *visible, *latest));
        prop_assert_eq!(reader.max_time(*visible).unwrap(), expected, "before {}", visible);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Times go up and down, within batches and between segments.
    #[test]
    fn the_first_record_of_a_time_or_later_is_found(
        batches in vec(vec(100..130_i64, 1..400), 1..40),
        segment_bytes in 300..30_000_u64,
        deleted in 0..40_usize,
        start in prop_oneof![Just(Start::Clean), Just(Start::Unclean)],
    ) {
        let (_parent, dir) = place_in_memory();
        let config = small_segments(segment_bytes);
        let mut log = Log::create(&dir, Arc::clone(&config), files()).unwrap();
        append(&mut log, batches.iter().map(|times| timed(times)));
        let times = batches.concat();
        let mut ends = vec![0];
        ends.extend(batches.iter().scan(0, |end, batch| {
            *end += i64::try_from(batch.len()).unwrap();
            Some(*end)
        }));
        let some: Vec<i64> = ends.iter().step_by(7).chain(ends.last()).copied().collect();
        check_all(&log, &times, &some)?;
        if let Some(before) = ends.get(deleted) {
            log.reader().delete_records(before - before.min(&2)).unwrap();
        }
        log.close().unwrap();
        drop(log);
        let (log, _) = Log::open(&dir, config, files(), start).unwrap();
        let start = log.reader().start_offset();
        let some: Vec<i64> = some.into_iter().filter(|end| *end >= start).collect();
        check_all(&log, &times, &some)?;
    }
}
