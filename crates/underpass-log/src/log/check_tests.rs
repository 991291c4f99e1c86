//! What `check` finds, and what `dump` prints.

use std::fs;

use super::fixture::*;
use super::names::Kind;
use super::*;

/// A log of six batches of 5,061 bytes, in one segment, that was closed.
fn closed() -> (tempfile::TempDir, PathBuf) {
    let (parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    append(&mut log, (0..6).map(|at| batch(2, 5_000, 10 + at)));
    log.close().unwrap();
    (parent, dir)
}

/// Flips a bit of a file, and gives what is found: file, byte, and words.
fn findings(dir: &Path, kind: Kind, at: usize) -> Vec<(PathBuf, u64, String)> {
    let path = kind.path(dir, 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    let found = check::check(dir).unwrap().findings.into_iter();
    found.map(|finding| (finding.path, finding.position, finding.what)).collect()
}

#[test]
fn a_log_that_was_closed_has_nothing_wrong_and_is_counted() {
    let (_parent, dir) = closed();
    let checked = check::check(&dir).unwrap();
    assert!(checked.is_sound() && checked.notes.is_empty(), "{checked:?}");
    assert_eq!((checked.segments, checked.batches, checked.records), (1, 6, 12));
    assert_eq!((checked.bytes, checked.start, checked.end), (6 * 5_061, 0, 12));
    assert_eq!(check::partitions(dir.parent().unwrap()).unwrap(), [dir]);
}

#[test]
fn a_damaged_batch_is_named_with_its_file_and_byte() {
    let (_parent, dir) = closed();
    let found = findings(&dir, Kind::Log, 3 * 5_061 + 100);
    assert_eq!((&found[0].0, found[0].1), (&Kind::Log.path(&dir, 0), 3 * 5_061));
    assert!(found[0].2.contains("checksum"), "{found:?}");
}

#[test]
fn an_epoch_and_entries_that_do_not_agree_with_the_batches_are_named() {
    let (_parent, dir) = closed();
    // The second entry: 8 bytes of offset and position; 12 of time and offset.
    let found = findings(&dir, Kind::Index, 8 + 7);
    assert_eq!((&found[0].0, found[0].1), (&Kind::Index.path(&dir, 0), 8), "{found:?}");
    let (_parent, dir) = closed();
    let found = findings(&dir, Kind::TimeIndex, 12 + 11);
    assert_eq!((&found[0].0, found[0].1), (&Kind::TimeIndex.path(&dir, 0), 12), "{found:?}");
    let (_parent, dir) = closed();
    let found = findings(&dir, Kind::Log, 5_061 + 15);
    assert_eq!((found.len(), found[0].1), (1, 5_061), "{found:?}");
}

#[test]
fn a_dump_has_the_words_of_kafkas() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    // One record: length 7, no attributes, deltas of 0, no key, the value "a", no headers.
    let mut bytes = batch(1, 8, 7);
    bytes[61..].copy_from_slice(&[14, 0, 0, 0, 1, 2, b'a', 0]);
    append(&mut log, [batch(1, 0, 5), seal(bytes.clone())]);
    let crc = u32::from_be_bytes(seal(bytes)[17..21].try_into().unwrap());
    let options = dump::DumpOptions { from: 1, records: true, ..dump::DumpOptions::default() };
    let mut out = Vec::new();
    assert_eq!(dump::dump(&dir, &options, &mut out).unwrap(), []);
    let lines = format!(
        "baseOffset: 1 lastOffset: 1 count: 1 baseSequence: -1 lastSequence: -1 producerId: -1 \
         producerEpoch: -1 partitionLeaderEpoch: 0 isTransactional: false isControl: false \
         position: 61 CreateTime: 7 size: 69 magic: 2 compresscodec: none crc: {crc} isvalid: \
         true\n\
         | offset: 1 CreateTime: 7 keySize: -1 valueSize: 1 headerKeys: [] payload: a\n"
    );
    assert_eq!(String::from_utf8(out).unwrap(), lines);
}
