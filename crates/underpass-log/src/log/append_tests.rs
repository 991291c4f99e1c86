//! Appends: what is assigned, what is refused, and what a full disk leaves.

use std::fs;
use std::time::Duration;

use underpass_testkit::disk::{Disk, FileSystem, power};

use super::fixture::*;
use super::names::Kind;
use super::*;

fn outcomes(log: &mut Log, batches: Vec<Vec<u8>>) -> Vec<Option<Outcome>> {
    let mut batches: Vec<_> = batches.into_iter().map(incoming).collect();
    log.append(&mut batches, 1_000).unwrap();
    batches.iter().map(Incoming::outcome).collect()
}

const fn appended(base_offset: i64) -> Option<Outcome> {
    Some(Outcome::Appended { base_offset, append_time: -1 })
}

/// The bases of the segments.
fn bases(dir: &Path) -> Vec<i64> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let parsed = names.filter_map(|name| Kind::parse(name.to_str().unwrap()));
    let mut bases: Vec<_> =
        parsed.filter(|(kind, _)| *kind == Kind::Log).map(|(_, base)| base).collect();
    bases.sort_unstable();
    bases
}

#[test]
fn a_segment_is_closed_when_the_next_batch_would_make_it_too_large() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(300), files()).unwrap();
    // 100 bytes each, and one that is larger than a segment may be.
    let sizes = [(1, 39), (2, 39), (1, 39), (1, 39), (5, 400), (1, 39)];
    let sent = sizes.map(|(count, payload)| batch(count, payload, 7)).to_vec();
    let offsets = [0, 1, 3, 4, 5, 10].map(appended);
    assert_eq!(outcomes(&mut log, sent), offsets);
    assert_eq!(bases(&dir), [0, 4, 5, 10]);
    let reader = log.reader();
    for (offset, (count, payload)) in [0, 1, 3, 4, 5, 10].into_iter().zip(sizes) {
        let bytes = written(batch(count, payload, 7), offset, 0);
        assert_eq!(plan(&reader, offset, 11, 1, true), bytes, "{offset}");
    }
}

#[test]
fn a_segment_is_closed_when_the_next_batch_is_that_much_younger_than_its_first() {
    let (_parent, dir) = place();
    let config = LogConfig { segment_age: Duration::from_millis(100), ..LogConfig::default() };
    let mut log = Log::create(&dir, Arc::new(config), files()).unwrap();
    append(&mut log, [50, 150, 20, 151, 251].map(|time| batch(1, 0, time)));
    assert_eq!(bases(&dir), [0, 3]);
}

#[test]
fn a_segment_is_closed_before_its_offsets_are_too_far_apart_for_its_index() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let mut wide = batch(1, 0, 7);
    wide[23..27].copy_from_slice(&(1_i32 << 30).to_be_bytes());
    append(&mut log, [seal(wide.clone()), seal(wide.clone()), seal(wide)]);
    assert_eq!(bases(&dir), [0, (1 << 30) + 1, (1 << 31) + 2]);
}

#[test]
fn a_log_that_assigns_times_covers_them_by_the_checksum() {
    let (_parent, dir) = place();
    let config = LogConfig { append_time: true, ..LogConfig::default() };
    let mut log = Log::create(&dir, Arc::new(config), files()).unwrap();
    let told = outcomes(&mut log, vec![batch(2, 30, 7)]);
    assert_eq!(told, [Some(Outcome::Appended { base_offset: 0, append_time: 1_000 })]);
    let bytes = plan(&log.reader(), 0, 2, 1000, true);
    let header = crate::batch::check(&bytes).unwrap();
    assert!(header.has_append_time());
    assert_eq!((header.base_timestamp, header.max_timestamp), (7, 1_000));
    assert_eq!(bytes[61..], batch(2, 30, 7)[61..]);
}

#[test]
fn a_batch_of_a_producer_that_is_queued_twice_is_written_once() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let sent = [0, 0, 1, 3].map(|sequence| of_producer(batch(1, 9, 7), 5, sequence));
    let told = outcomes(&mut log, sent.to_vec());
    let again = Outcome::Duplicate { base_offset: 0, last_offset: 0, append_time: -1 };
    let refused = Outcome::Refused(crate::wire::ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(told, [appended(0), Some(again), appended(1), Some(refused)]);
    assert_eq!(log.reader().bytes(), 140);
}

#[test]
fn batches_of_more_than_one_call_are_written_in_their_order() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let sent: Vec<_> = (0..1100).map(|at| batch(1, at % 50, 7)).collect();
    assert_eq!(outcomes(&mut log, sent.clone()), (0..1100).map(appended).collect::<Vec<_>>());
    let all: Vec<u8> = (0..).zip(sent).flat_map(|(at, bytes)| written(bytes, at, 0)).collect();
    assert!(plan(&log.reader(), 0, 1100, 1 << 20, true) == all);
}

#[test]
fn a_full_disk_refuses_batches_keeps_what_is_there_and_takes_more_when_there_is_room() {
    let disk = underpass_testkit::require!(Disk::new(FileSystem::Ext4, 16 << 20));
    let dir = disk.path().join("t-0");
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    append(&mut log, [of_producer(batch(1, 3_000, 7), 5, 0)]);
    power::fill(disk.path(), 16_384).unwrap();
    let second = of_producer(batch(1, 100_000, 7), 5, 1);
    // Twice, as a producer does that had no answer.
    let mut refused = [incoming(second.clone()), incoming(second.clone())];
    let error = log.append(&mut refused, 1).unwrap_err();
    assert!(error.is_no_room(), "{error}");
    let storage_error = Outcome::Refused(crate::wire::ErrorCode::KafkaStorageError);
    assert_eq!(refused.map(|batch| batch.outcome()), [Some(storage_error); 2]);
    let first = written(of_producer(batch(1, 3_000, 7), 5, 0), 0, 0);
    assert!(fs::read(Kind::Log.path(&dir, 0)).unwrap() == first, "the failed write is cut off");
    assert!(plan(&log.reader(), 0, 1, 9_000, true) == first);
    fs::remove_file(disk.path().join("filling")).unwrap();
    assert_eq!(outcomes(&mut log, vec![second.clone()]), [appended(1)]);
    let both = [first, written(second, 1, 0)].concat();
    assert!(plan(&log.reader(), 0, 2, 1 << 20, true) == both);
}

/// Blocks of 512 bytes that a file has.
fn blocks(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap())
}

#[test]
fn what_is_allocated_ahead_goes_back_when_a_segment_is_closed_and_at_the_end() {
    let disk = underpass_testkit::require!(Disk::new(FileSystem::Ext4, 64 << 20));
    let dir = disk.path().join("log");
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let path = |base| Kind::Log.path(&dir, base);
    let first = batch(1, 400 << 10, 7);
    let bytes = first.len() as u64;
    append(&mut log, [first.clone()]);
    assert_eq!(fs::metadata(path(0)).unwrap().len(), bytes);
    assert!(blocks(&path(0)) * 512 > bytes + (300 << 10), "{}", blocks(&path(0)));
    // The third one needs another segment.
    append(&mut log, [first.clone(), first]);
    assert_eq!(bases(&dir), [0, 2]);
    log.close().unwrap();
    for (base, bytes) in [(0, 2 * bytes), (2, bytes)] {
        assert_eq!(fs::metadata(path(base)).unwrap().len(), bytes);
        assert!(blocks(&path(base)) * 512 <= bytes + 8192, "{base}: {}", blocks(&path(base)));
    }
}
