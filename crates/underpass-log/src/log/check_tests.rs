//! What `check` finds, and what `dump` prints.

use std::fs::{self, File};

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
    let found = check::check(dir).findings.into_iter();
    found.map(|finding| (finding.path, finding.position, finding.what)).collect()
}

#[test]
fn a_log_that_was_closed_has_nothing_wrong_and_is_counted() {
    let (_parent, dir) = closed();
    let checked = check::check(&dir);
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

/// Three segments of two batches of two records each, and what a producer has written.
fn segments() -> (tempfile::TempDir, PathBuf) {
    let (parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(10_200), files()).unwrap();
    let batches =
        (0..6).map(|at| of_producer(batch(2, 5_000, 10 + at), 9, 2 * i32::try_from(at).unwrap()));
    append(&mut log, batches);
    log.close().unwrap();
    (parent, dir)
}

/// File, byte and words of all that is found.
fn found(dir: &Path) -> Vec<(PathBuf, u64, String)> {
    let found = check::check(dir).findings.into_iter();
    found.map(|finding| (finding.path, finding.position, finding.what)).collect()
}

#[test]
fn offsets_that_are_missing_are_noted_and_those_that_are_there_twice_are_named() {
    let (_parent, dir) = segments();
    fs::remove_file(Kind::Log.path(&dir, 4)).unwrap();
    let checked = check::check(&dir);
    assert!(checked.is_sound(), "{checked:?}");
    assert_eq!((checked.notes, checked.end), (vec!["offsets 4 to 7 are missing".into()], 12));
    fs::copy(Kind::Log.path(&dir, 8), Kind::Log.path(&dir, 2)).unwrap();
    let named = (Kind::Log.path(&dir, 2), 0, "the segment before has offsets up to 3".to_owned());
    assert_eq!(found(&dir)[0], named);
}

#[test]
fn entries_behind_the_last_batch_are_counted_where_they_start() {
    let (_parent, dir) = closed();
    let log = File::options().write(true).open(Kind::Log.path(&dir, 0)).unwrap();
    log.set_len(4 * 5_061).unwrap();
    let what = "2 entries are about offsets behind the last batch".to_owned();
    let index = (Kind::Index.path(&dir, 0), 3 * 8, what.clone());
    assert_eq!(found(&dir), [index, (Kind::TimeIndex.path(&dir, 0), 3 * 12, what)]);
}

#[test]
fn each_small_file_that_is_missing_or_damaged_is_named() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 6] = [
        (epochs::FILE, |path| fs::remove_file(path).unwrap()),
        (epochs::FILE, |path| fs::write(path, "0\n2\n0 0\n").unwrap()),
        ("log-start-offset", |path| fs::write(path, "four").unwrap()),
        ("log-start-offset", |path| fs::write(path, [0xff]).unwrap()),
        ("00000000000000000012.producers", |path| fs::write(path, "none").unwrap()),
        ("00000000000000000000.index", |path| fs::write(path, [1; 7]).unwrap()),
    ];
    for (name, damage) in cases {
        let (_parent, dir) = segments();
        damage(&dir.join(name));
        let found = found(&dir);
        assert_eq!((found.len(), &found[0].0, found[0].1), (1, &dir.join(name), 0), "{found:?}");
    }
    let (_parent, dir) = segments();
    fs::write(dir.join("log-start-offset"), "5\n").unwrap();
    let checked = check::check(&dir);
    assert!(checked.is_sound());
    assert_eq!((checked.start, checked.end), (5, 12));
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_checked() {
    let (_parent, dir) = segments();
    fs::remove_file(Kind::Log.path(&dir, 0)).unwrap();
    fs::create_dir(Kind::Log.path(&dir, 0)).unwrap();
    let checked = check::check(&dir);
    assert_eq!((checked.findings[0].path.clone(), checked.batches), (Kind::Log.path(&dir, 0), 4));
    let nowhere = dir.join("nowhere-0");
    assert_eq!(found(&nowhere).len(), 1);
    assert!(found(&nowhere)[0].2.contains("cannot be listed: No such file"));
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

/// What a dump finds and prints.
fn dumped(path: &Path, options: dump::DumpOptions) -> (Vec<check::Finding>, String) {
    let mut out = Vec::new();
    let findings = dump::dump(path, &options, &mut out).unwrap();
    (findings, String::from_utf8(out).unwrap())
}

fn base_offsets(lines: &str) -> Vec<&str> {
    lines.lines().map(|line| line.split(' ').nth(1).unwrap()).collect()
}

#[test]
fn a_dump_is_of_a_segment_or_of_all_from_an_offset_and_of_as_many_as_wanted() {
    let (_parent, dir) = segments();
    let all = dump::DumpOptions::default();
    let lines = |path: &Path, options| dumped(path, options).1;
    assert_eq!(base_offsets(&lines(&dir, all)), ["0", "2", "4", "6", "8", "10"]);
    assert_eq!(base_offsets(&lines(&Kind::Log.path(&dir, 4), all)), ["4", "6"]);
    let some = dump::DumpOptions { from: 3, batches: Some(3), ..all };
    assert_eq!(base_offsets(&lines(&dir, some)), ["2", "4", "6"]);
    let index = Kind::Index.path(&dir, 0);
    let refused = dump::dump(&index, &all, &mut Vec::new()).unwrap_err();
    assert!(refused.to_string().contains("is not a segment"), "{refused}");
}

#[test]
fn a_dump_ends_a_damaged_segment_with_its_byte_and_continues_with_the_next() {
    let (_parent, dir) = segments();
    let path = Kind::Log.path(&dir, 4);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5_061 + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (findings, lines) = dumped(&dir, dump::DumpOptions::default());
    assert_eq!(base_offsets(&lines), ["0", "2", "4", "8", "10"]);
    assert_eq!((findings.len(), &findings[0].path, findings[0].position), (1, &path, 5_061));
}

#[test]
fn a_dump_as_json_has_the_same_and_nothing_in_it_moves_a_terminal() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    // Length 10, no attributes, deltas of 0, the key ESC, the value of an override, no headers.
    let mut bytes = of_producer(batch(1, 11, 7), 9, i32::MAX);
    bytes[61..].copy_from_slice(&[20, 0, 0, 0, 2, 0x1b, 6, 0xe2, 0x80, 0xae, 0]);
    append(&mut log, [seal(bytes)]);
    let records = dump::DumpOptions { records: true, ..dump::DumpOptions::default() };
    let lines = dumped(&dir, records).1;
    assert!(lines.ends_with(" key: \\u{1b} payload: \\u{202e}\n"), "{lines}");
    let lines = dumped(&dir, dump::DumpOptions { json: true, ..records }).1;
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["producerId"], &lines[0]["lastSequence"]), (&9.into(), &i32::MAX.into()));
    assert_eq!((&lines[1]["offset"], &lines[1]["value"]), (&0.into(), &"\u{202e}".into()));
}
