//! Logs whose last bytes are not as they were written.

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixture::*;
use super::names::Kind;
use super::*;

/// A copy of a log's files.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A batch as it is in a log, and the offset behind it.
type Known = (i64, Vec<u8>);

/// Batches of different sizes and numbers of records, as they are sent, and in a log from offset 0.
fn batches() -> (Vec<Vec<u8>>, Vec<Known>) {
    let sizes = [(1, 70), (3, 5000), (2, 0), (4, 40), (1, 0), (2, 9)];
    let sent: Vec<_> = sizes.map(|(count, payload)| batch(count, payload, 7)).into();
    let mut end = 0;
    let known = sent.iter().zip(sizes).map(|(bytes, (count, _))| {
        let known = written(bytes.clone(), end, 0);
        end += i64::from(count);
        (end, known)
    });
    let known = known.collect();
    (sent, known)
}

/// Opens a log after a crash; it has to be the first batches of `known`, and to work.
fn recovered(dir: &Path, known: &[Known], case: &str) {
    let config = small_segments(1 << 20);
    let (mut log, recovery) = Log::open(dir, config, files(), Start::Unclean).unwrap();
    let end = known.last().map_or(0, |(end, _)| *end);
    let reader = log.reader();
    assert_eq!(reader.end_offset(), end, "{case}");
    assert!(recovery.is_recovered && recovery.epoch == 1, "{case}");
    let bytes: Vec<u8> = known.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(plan(&reader, 0, end, 1 << 20, true) == bytes, "{case}");
    append(&mut log, [batch(2, 10, 9)]);
    let appended = written(batch(2, 10, 9), end, 1);
    assert!(plan(&reader, end, end + 2, 1 << 20, true) == appended, "{case}");
    assert_eq!(fs::read(Kind::Log.path(dir, 0)).unwrap(), [bytes, appended].concat(), "{case}");
}

#[test]
fn a_log_that_was_cut_anywhere_in_its_last_three_batches_keeps_what_is_whole() {
    let (parent, dir) = place_in_memory();
    let (sent, known) = batches();
    append(&mut Log::create(&dir, small_segments(1 << 20), files()).unwrap(), sent);
    let whole = fs::read(Kind::Log.path(&dir, 0)).unwrap();
    let ends: Vec<usize> = (1..=known.len())
        .map(|count| known[..count].iter().map(|(_, bytes)| bytes.len()).sum())
        .collect();
    assert_eq!(ends.last(), Some(&whole.len()));
    for len in ends[2]..=whole.len() {
        let case = parent.path().join(len.to_string());
        copy(&dir, &case);
        fs::write(Kind::Log.path(&case, 0), &whole[..len]).unwrap();
        let left = ends.iter().filter(|end| **end <= len).count();
        recovered(&case, &known[..left], &format!("{len} bytes"));
        fs::remove_dir_all(&case).unwrap();
    }
}

#[test]
fn a_garbled_byte_in_the_last_three_batches_ends_the_log_before_its_batch() {
    let (parent, dir) = place_in_memory();
    let (sent, known) = batches();
    append(&mut Log::create(&dir, small_segments(1 << 20), files()).unwrap(), sent);
    let whole = fs::read(Kind::Log.path(&dir, 0)).unwrap();
    let mut start: usize = known[..3].iter().map(|(_, bytes)| bytes.len()).sum();
    for at in 3..known.len() {
        let len = known[at].1.len();
        // The checksum does not cover the offset: a higher one is taken for what compaction leaves.
        for byte in 8..len {
            for flip in [0x01, 0x80] {
                let case = parent.path().join("case");
                copy(&dir, &case);
                let mut garbled = whole.clone();
                garbled[start + byte] ^= flip;
                fs::write(Kind::Log.path(&case, 0), &garbled).unwrap();
                recovered(&case, &known[..at], &format!("byte {byte} of batch {at} ^ {flip:#x}"));
                fs::remove_dir_all(&case).unwrap();
            }
        }
        start += len;
    }
}

/// What the file of epochs says.
fn saved_epochs(dir: &Path) -> String {
    fs::read_to_string(dir.join(epochs::FILE)).unwrap()
}

#[test]
fn an_epoch_is_written_down_before_its_first_batch_and_by_an_orderly_end() {
    let (_parent, dir) = place();
    let config = small_segments(1 << 20);
    append(&mut Log::create(&dir, Arc::clone(&config), files()).unwrap(), [batch(2, 10, 7)]);
    let open = || Log::open(&dir, Arc::clone(&config), files(), Start::Unclean).unwrap().0;
    for _ in 0..2 {
        // It begins again, as long as nothing is written in it.
        let mut log = open();
        assert_eq!((log.reader().epoch(), saved_epochs(&dir).as_str()), (1, "0\n1\n0 0\n"));
        // Nor is anything written while it cannot be written down.
        let in_the_way = dir.join(format!("{}.new", epochs::FILE));
        fs::create_dir(&in_the_way).unwrap();
        let size = || Kind::Log.path(&dir, 0).metadata().unwrap().len();
        let (mut refused, before) = ([incoming(batch(1, 1, 7))], size());
        log.append(&mut refused, 1).unwrap_err();
        assert_eq!((size(), refused[0].outcome()), (before, None));
        fs::remove_dir(in_the_way).unwrap();
    }
    append(&mut open(), [batch(1, 1, 7)]);
    assert_eq!(saved_epochs(&dir), "0\n2\n0 0\n1 2\n");
    open().close().unwrap();
    assert_eq!(saved_epochs(&dir), "0\n3\n0 0\n1 2\n2 3\n");
}

#[test]
fn a_log_that_was_closed_is_as_it_was() {
    let (_parent, dir) = place();
    let (sent, known) = batches();
    let config = small_segments(5600);
    let mut log = Log::create(&dir, Arc::clone(&config), files()).unwrap();
    append(&mut log, sent.iter().cloned().chain([of_producer(batch(1, 30, 4), 9, 0)]));
    log.close().unwrap();
    drop(log);
    let (mut log, recovery) = Log::open(&dir, config, files(), Start::Clean).unwrap();
    assert!(!recovery.is_recovered);
    let reader = log.reader();
    assert_eq!((reader.start_offset(), reader.end_offset()), (0, 14));
    let mut from = 0;
    for (end, bytes) in &known {
        for offset in from..*end {
            assert_eq!(plan(&reader, offset, 14, 1, true), *bytes, "offset {offset}");
        }
        from = *end;
    }
    // The producer is remembered, and so is the epoch.
    let mut again = [incoming(of_producer(batch(1, 30, 4), 9, 0)), incoming(batch(1, 1, 1))];
    log.append(&mut again, 1).unwrap();
    let outcomes = again.map(|batch| batch.outcome().unwrap());
    assert!(matches!(outcomes[0], Outcome::Duplicate { base_offset: 13, last_offset: 13, .. }));
    assert_eq!(outcomes[1], Outcome::Appended { base_offset: 14, append_time: -1 });
    assert_eq!(plan(&reader, 14, 15, 100, true), written(batch(1, 1, 1), 14, 0));
}

/// Does to one of the files what a disk does.
fn damage(dir: &Path, (file, what, at, byte): (usize, u8, usize, u8)) {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    names.sort_unstable();
    let Some(path) = names.get(file % names.len().max(1)) else { return };
    let mut bytes = fs::read(path).unwrap();
    let at = at % (bytes.len() + 1);
    match what {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, byte),
        2 => bytes.extend(vec![byte; at % 97]),
        3 => return fs::remove_file(path).unwrap(),
        _ if at < bytes.len() => bytes[at] ^= byte,
        _ => {}
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever was done to the files, opening ends well, and what is read was written.
    #[test]
    fn a_damaged_log_opens_and_has_no_batch_that_was_not_written(
        damages in vec((0..9_usize, 0..7_u8, 0..40_000_usize, 1..=255_u8), 1..6),
        is_closed: bool,
        start in prop_oneof![Just(Start::Clean), Just(Start::Unclean)],
    ) {
        let (_parent, dir) = place_in_memory();
        let config = small_segments(6_000);
        let mut log = Log::create(&dir, Arc::clone(&config), files()).unwrap();
        let payload = |at: i32| 40 + 700 * usize::try_from(at).unwrap();
        let sent: Vec<_> = (0..12).map(|at| batch(1 + at % 3, payload(at), 7)).collect();
        append(&mut log, sent.clone());
        if is_closed {
            log.close().unwrap();
        }
        drop(log);
        damages.into_iter().for_each(|one| damage(&dir, one));
        let Ok((mut log, _)) = Log::open(&dir, Arc::clone(&config), files(), start) else {
            return Ok(());
        };
        let reader = log.reader();
        let end = reader.end_offset();
        for from in (reader.start_offset()..end).take(200) {
            let Ok(plan) = reader.plan(from, end, 0, true, Patience::Wait) else { continue };
            let answer = read(&plan.records);
            // Closed segments are believed that were on the disk when they were closed.
            if start == Start::Unclean && !is_closed && !answer.is_empty() {
                prop_assert!(sent.iter().any(|sent| sent[21..] == answer[21..]), "offset {}", from);
            }
        }
        append(&mut log, [batch(2, 99, 7)]);
        log.close().unwrap();
        drop(log);
        let (log, _) = Log::open(&dir, config, files(), Start::Clean).unwrap();
        prop_assert_eq!(log.reader().end_offset(), end + 2);
    }
}
