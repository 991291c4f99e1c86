//! What is deleted from the front of a log, and who notices.

use std::fs;
use std::time::Duration;

use super::fixture::*;
use super::names::Kind;
use super::*;

/// A log with a segment for each batch, of 100 bytes and these times.
fn log(config: LogConfig, times: &[i64]) -> (tempfile::TempDir, PathBuf, Log) {
    let (parent, dir) = place();
    let config = LogConfig { segment_bytes: 100, ..config };
    let mut log = Log::create(&dir, Arc::new(config), files()).unwrap();
    append(&mut log, times.iter().map(|time| batch(1, 39, *time)));
    (parent, dir, log)
}

const fn age(ms: u64) -> Option<Duration> {
    Some(Duration::from_millis(ms))
}

/// What is deleted at `now`, if consumers have seen what is before `visible`: segments and bytes.
fn retain(log: &mut Log, now: i64, visible: i64) -> (usize, u64) {
    log.reader().learn_times().unwrap();
    let retained = log.retain(now, visible).unwrap();
    let count = (retained.segments, retained.bytes);
    retained.unlink().unwrap();
    count
}

fn is_out_of_range(log: &Log, offset: i64) -> bool {
    let plan = log.reader().plan(offset, 100, 1000, true, Patience::Now);
    matches!(plan, Err(ReadError::OutOfRange { .. }))
}

#[test]
fn segments_go_when_their_latest_record_is_too_old_up_to_the_first_that_is_not() {
    let config = LogConfig { retention_age: age(100), ..LogConfig::default() };
    let (_parent, dir, mut log) = log(config, &[10, 20, 90, 15, 200]);
    assert_eq!(retain(&mut log, 120, 5), (1, 100));
    assert_eq!(log.reader().start_offset(), 1);
    assert!(is_out_of_range(&log, 0) && !is_out_of_range(&log, 1));
    assert!(!Kind::Log.path(&dir, 0).exists() && Kind::Log.path(&dir, 1).exists());
    // Offset 2 is not too old, and 3 is behind it.
    assert_eq!(retain(&mut log, 121, 5), (1, 100));
    // What consumers have not seen stays.
    assert_eq!(retain(&mut log, 1_000, 3), (1, 100));
    assert_eq!(retain(&mut log, 1_000, 4), (1, 100));
    // All of it is too old: the last segment is closed and goes too. Offsets continue.
    assert_eq!(retain(&mut log, 1_000, 5), (1, 100));
    let reader = log.reader();
    assert_eq!((reader.start_offset(), reader.end_offset(), reader.bytes()), (5, 5, 0));
    append(&mut log, [batch(1, 39, 2_000)]);
    assert_eq!(plan(&reader, 5, 6, 1000, true), written(batch(1, 39, 2_000), 5, 0));
}

#[test]
fn segments_go_while_the_others_are_large_enough() {
    let config =
        LogConfig { retention_age: None, retention_bytes: Some(250), ..LogConfig::default() };
    let (_parent, _dir, mut log) = log(config, &[1; 5]);
    assert_eq!(retain(&mut log, i64::MAX, 5), (2, 200));
    assert_eq!(retain(&mut log, i64::MAX, 5), (0, 0));
}

#[test]
fn the_age_of_a_segment_is_known_after_a_start() {
    let config = LogConfig { retention_age: age(100), ..LogConfig::default() };
    let (_parent, dir, mut first) = log(config.clone(), &[10, 20, 300]);
    first.close().unwrap();
    drop(first);
    let config = Arc::new(config);
    let (mut log, _) = Log::open(&dir, config, files(), Start::Clean).unwrap();
    assert_eq!(retain(&mut log, 115, 3), (1, 100));
    assert_eq!(retain(&mut log, 300, 3), (1, 100));
}

#[test]
fn deleted_records_stay_deleted() {
    let (parent, dir) = place();
    let config = small_segments(200);
    let mut log = Log::create(&dir, Arc::clone(&config), files()).unwrap();
    append(&mut log, (0..6).map(|_| batch(2, 39, 7)));
    assert_eq!(log.reader().delete_records(7).unwrap(), 7);
    assert_eq!(log.reader().delete_records(3).unwrap(), 7, "a start does not go back");
    for beyond in [-1, 13] {
        assert!(matches!(log.reader().delete_records(beyond), Err(ReadError::OutOfRange { .. })));
    }
    let check = |log: &Log| {
        assert!(is_out_of_range(log, 6) && !is_out_of_range(log, 7));
        // The batch that holds it starts before.
        assert_eq!(plan(&log.reader(), 7, 12, 1, true), written(batch(2, 39, 7), 6, 0));
        assert_eq!(log.reader().start_offset(), 7);
    };
    check(&log);
    assert!(!Kind::Log.path(&dir, 0).exists() && Kind::Log.path(&dir, 4).exists());
    drop(log);
    let (log, _) = Log::open(&dir, Arc::clone(&config), files(), Start::Unclean).unwrap();
    check(&log);
    drop(log);
    // Records were deleted that are lost: their offsets are not given to others.
    fs::remove_file(Kind::Log.path(&dir, 8)).unwrap();
    fs::write(Kind::Log.path(&dir, 4), b"").unwrap();
    let (mut log, _) = Log::open(&dir, config, files(), Start::Unclean).unwrap();
    let reader = log.reader();
    assert_eq!((reader.start_offset(), reader.end_offset()), (7, 7));
    append(&mut log, [batch(1, 0, 7)]);
    assert_eq!(plan(&reader, 7, 8, 100, true), written(batch(1, 0, 7), 7, 1));
    drop(parent);
}

#[test]
fn a_send_under_way_is_not_disturbed_by_deletion() {
    let (_parent, _dir, log) = log(LogConfig::default(), &[1; 4]);
    let plan = log.reader().plan(0, 4, 1000, true, Patience::Now).unwrap();
    log.reader().delete_records(4).unwrap();
    assert_eq!(read(&plan.records), written(batch(1, 39, 1), 0, 0));
}

#[test]
fn a_log_whose_directory_got_another_name_leaves_the_next_of_the_old_name_alone() {
    let (_parent, dir, old) = log(LogConfig::default(), &[1; 40]);
    let aside = dir.with_extension("aside");
    old.reader().rename(&aside, || fs::rename(&dir, &aside)).unwrap();
    let config = small_segments(100);
    let mut new = Log::create(&dir, config, files()).unwrap();
    append(&mut new, (0..40).map(|_| batch(1, 39, 2)));
    for (log, time) in [(&old, 1), (&new, 2)] {
        // More files than stay open: so they are opened by their names.
        for from in 0..40 {
            let bytes = written(batch(1, 39, time), from, 0);
            assert_eq!(plan(&log.reader(), from, 40, 1, true), bytes, "{time}, {from}");
        }
    }
    assert_eq!(old.reader().delete_records(30).unwrap(), 30);
    assert_eq!((new.reader().start_offset(), new.reader().bytes()), (0, 4_000));
    assert!(Kind::Log.path(&dir, 0).exists() && !Kind::Log.path(&aside, 0).exists());
}
