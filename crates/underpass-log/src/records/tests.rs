//! Batches that Kafka's own library wrote (`tests/vectors/Batches.java`), and some by hand.

use proptest::prelude::*;

use super::*;
use crate::batch;

const TIME: i64 = 1_700_000_000_000;

const GZIP: &[u8] = include_bytes!("../../tests/vectors/gzip.batch");
const LZ4: &[u8] = include_bytes!("../../tests/vectors/lz4.batch");
const NONE: &[u8] = include_bytes!("../../tests/vectors/none.batch");
const SNAPPY: &[u8] = include_bytes!("../../tests/vectors/snappy.batch");
const ZSTD: &[u8] = include_bytes!("../../tests/vectors/zstd.batch");

const ALL: [&[u8]; 5] = [NONE, GZIP, SNAPPY, LZ4, ZSTD];

/// The header of Kafka's batch with these records, packed by the codec of that number.
fn with_records(number: u8, count: u8, packed: &[u8]) -> Vec<u8> {
    let mut batch = [&NONE[..HEADER_BYTES], packed].concat();
    let length = u32::try_from(batch.len() - 12).unwrap();
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = number;
    batch[26] = count.wrapping_sub(1);
    batch[60] = count;
    batch
}

/// Kafka's records, in the plain.
fn plain() -> &'static [u8] {
    &NONE[HEADER_BYTES..]
}

fn read(batch: &[u8], contents: Contents) -> Result<Vec<Record>, RecordFault> {
    Records::of(&BatchHeader::parse(batch).unwrap(), batch, contents)?.collect()
}

fn check(batch: &[u8]) -> Result<(), String> {
    validate(&BatchHeader::parse(batch).unwrap(), batch).map_err(|fault| fault.to_string())
}

fn field(bytes: &[u8]) -> Field {
    Field { len_bytes: bytes.len() as u64, bytes: bytes.to_vec() }
}

#[test]
fn the_records_of_kafkas_library_are_read_whatever_the_codec() {
    let headers = vec![(field(b"h1"), Some(field(b"x"))), (field(b"h2"), None)];
    let value = Some(field(&b"underpass ".repeat(30)));
    let (key, empty) = (Some(field(b"k")), Some(field(b"")));
    let wanted = [
        Record { offset: 0, timestamp: TIME, key: None, value, headers: Vec::new() },
        Record { offset: 1, timestamp: TIME + 5, key, value: None, headers },
        Record {
            offset: 2,
            timestamp: TIME - 3,
            key: empty.clone(),
            value: empty,
            headers: vec![],
        },
    ];
    for batch in ALL {
        batch::check(batch).unwrap();
        assert_eq!(read(batch, Contents::Keep).unwrap(), wanted);
        assert_eq!(check(batch), Ok(()));
    }
}

#[test]
fn contents_that_are_not_wanted_are_counted_only() {
    for batch in ALL {
        let records = read(batch, Contents::PassOver).unwrap();
        let lengths = |field: &Option<Field>| field.as_ref().map(|field| field.len_bytes);
        let values: Vec<_> = records.iter().map(|record| lengths(&record.value)).collect();
        assert_eq!(values, [Some(300), None, Some(0)]);
        let values = records.iter().filter_map(|record| record.value.as_ref());
        assert_eq!(values.map(|value| value.bytes.len()).sum::<usize>(), 0);
        assert!(records.iter().all(|record| record.headers.is_empty()));
    }
}

#[test]
fn snappy_as_librdkafka_sends_it_has_no_frame() {
    // The block of Kafka's library, out of its frame of 16 bytes and a length.
    let bare = with_records(2, 3, &SNAPPY[HEADER_BYTES + 20..]);
    assert_eq!(read(&bare, Contents::Keep).unwrap(), read(NONE, Contents::Keep).unwrap());
}

#[test]
fn snappy_in_two_blocks_and_two_frames_of_zstandard_are_one_stream() {
    // A block of up to 60 bytes that copies nothing: its length, and a tag of length - 1 << 2.
    let literal = |bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).unwrap();
        [&[0, 0, 0, len + 2, len, (len - 1) << 2], bytes].concat()
    };
    let (first, second) = plain().split_at(10);
    let (second, third) = second.split_at(50);
    let (second, third) = (literal(second), third.chunks(60).map(literal).collect::<Vec<_>>());
    let head = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    let snappy = [&head[..], &literal(first), &second, &third.concat()].concat();
    // RFC 8878: magic, a single segment with its size in a byte, one raw block that is the last.
    let frame = |bytes: &[u8]| {
        let len = u8::try_from(bytes.len()).unwrap();
        [&[0x28, 0xb5, 0x2f, 0xfd, 0x20, len, (len << 3) | 1, len >> 5, 0], bytes].concat()
    };
    let zstd: Vec<_> = plain().chunks(200).map(frame).collect();
    for (number, packed) in [(2, snappy), (4, zstd.concat())] {
        let batch = with_records(number, 3, &packed);
        assert_eq!(read(&batch, Contents::Keep).unwrap(), read(NONE, Contents::Keep).unwrap());
    }
}

#[test]
fn with_append_time_all_records_are_of_the_time_of_the_batch() {
    let mut batch = GZIP.to_vec();
    batch[7] = 40;
    batch[22] |= 0x08;
    batch[35..43].copy_from_slice(&77_i64.to_be_bytes());
    let records = read(&batch, Contents::PassOver).unwrap();
    let seen: Vec<_> = records.iter().map(|record| (record.offset, record.timestamp)).collect();
    assert_eq!(seen, [(40, 77), (41, 77), (42, 77)]);
}

#[test]
fn a_time_is_found_at_the_first_record_that_is_not_before_it() {
    let find = |batch: &[u8], timestamp, from| {
        let header = BatchHeader::parse(batch).unwrap();
        find_time(&header, batch, timestamp, from).unwrap()
    };
    for batch in ALL {
        let mut batch = batch.to_vec();
        batch[..8].copy_from_slice(&1_000_i64.to_be_bytes());
        assert_eq!(find(&batch, 0, 0), Some((1_000, TIME)));
        assert_eq!(find(&batch, TIME, 1_000), Some((1_000, TIME)));
        assert_eq!(find(&batch, TIME + 1, 0), Some((1_001, TIME + 5)));
        assert_eq!(find(&batch, TIME + 6, 0), None);
        // Offsets before the log's start are gone.
        assert_eq!(find(&batch, 0, 1_001), Some((1_001, TIME + 5)));
        assert_eq!(find(&batch, 0, 1_002), Some((1_002, TIME - 3)));
        assert_eq!(find(&batch, TIME, 1_002), None);
    }
}

#[test]
fn a_count_that_is_not_that_of_the_records_is_a_fault() {
    for packed in ALL {
        let number = packed[22];
        let with = |count| check(&with_records(number, count, &packed[HEADER_BYTES..]));
        assert_eq!(with(2), Err("more bytes follow the last of 2 records".to_owned()));
        assert_eq!(with(4), Err("the batch ends within record 3 of 4".to_owned()));
    }
}

/// Three records without contents, by hand, with `patch` at byte `at`: length, attributes, time,
/// offset, key, value and headers are a byte each.
fn small(at: usize, patch: u8) -> Vec<u8> {
    let mut records = [12, 0, 0, 0, 1, 1, 0, 12, 0, 10, 2, 1, 1, 0, 12, 0, 5, 4, 1, 1, 0];
    records[at] = patch;
    with_records(0, 3, &records)
}

#[test]
fn gaps_in_offsets_wrong_times_and_wrong_lengths_are_faults() {
    assert_eq!(check(&small(0, 12)), Ok(()));
    let offset = "record 1 of the batch has an offset delta of 2";
    let time =
        |latest| format!("the latest record is of {latest}, and the batch says {}", TIME + 5);
    let malformed = "record 1 of the batch has a length or a number that it cannot have";
    assert_eq!(check(&small(10, 4)), Err(offset.to_owned()));
    assert_eq!(check(&small(9, 12)), Err(time(TIME + 6)));
    assert_eq!(check(&small(9, 8)), Err(time(TIME + 4)));
    // A record of 5 or 7 bytes, without a length or with -2 of them; a key or a value of -2 or 2
    // bytes; headers that are null or too many.
    for (at, byte) in
        [(7, 10), (7, 14), (7, 1), (7, 3), (11, 3), (11, 4), (12, 3), (12, 4), (13, 1), (13, 2)]
    {
        assert_eq!(check(&small(at, byte)), Err(malformed.to_owned()), "byte {at} is {byte}");
    }
}

#[test]
fn a_codec_without_a_name_is_a_fault() {
    for number in 5..8 {
        let wanted = format!("the batch has codec {number}, and only 0 to 4 are known");
        assert_eq!(check(&with_records(number, 3, plain())), Err(wanted));
    }
}

#[test]
fn a_header_has_a_key() {
    // A key and a value without bytes; neither.
    assert_eq!(
        read(&with_records(0, 1, &[16, 0, 0, 0, 1, 1, 2, 0, 0]), Contents::Keep).unwrap().len(),
        1
    );
    assert!(read(&with_records(0, 1, &[14, 0, 0, 0, 1, 1, 2, 1]), Contents::Keep).is_err());
}

#[test]
fn nothing_follows_a_fault() {
    let batch = small(7, 1);
    let records =
        Records::of(&BatchHeader::parse(&batch).unwrap(), &batch, Contents::Keep).unwrap();
    let is_ok: Vec<_> = records.map(|record| record.is_ok()).collect();
    assert_eq!(is_ok, [true, false]);
}

#[test]
fn a_number_has_at_most_ten_bytes() {
    let mut records = vec![30, 0];
    records.extend([0xff; 9]);
    records.extend([1, 0, 1, 1, 0]);
    let found = read(&with_records(0, 1, &records), Contents::Keep).unwrap();
    assert_eq!(found[0].timestamp, i64::MIN + TIME);
    let mut records = vec![24, 0];
    records.extend([0xff; 10]);
    let malformed = "record 0 of the batch has a length or a number that it cannot have";
    assert_eq!(check(&with_records(0, 1, &records)), Err(malformed.to_owned()));
}

#[test]
fn every_cut_of_a_batch_is_a_fault() {
    for batch in ALL {
        // The mark at the end of an LZ4 frame holds nothing, and lz4_flex can do without.
        let end = if batch == LZ4 { batch.len() - 4 } else { batch.len() };
        for len in HEADER_BYTES..end {
            assert!(check(&batch[..len]).is_err(), "{len} of {} bytes", batch.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is changed, nothing panics, and what still passes has the offsets of the batch.
    #[test]
    fn a_garbled_batch_is_a_fault_or_has_its_three_offsets(
        which in 0..5_usize,
        at in HEADER_BYTES..126,
        byte in any::<u8>(),
    ) {
        let mut batch = ALL[which].to_vec();
        if let Some(there) = batch.get_mut(at) {
            *there = byte;
        }
        if check(&batch).is_ok() {
            let records = read(&batch, Contents::Keep).unwrap();
            let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
            prop_assert_eq!(offsets, [0, 1, 2]);
        }
    }
}
