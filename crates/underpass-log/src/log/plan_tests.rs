//! Plans, compared with what a walk over all batches says.

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixture::*;
use super::*;

/// A batch of a log, as the test knows it.
#[derive(Debug, Clone)]
struct Known {
    base: i64,
    last: i64,
    bytes: Vec<u8>,
}

/// What a read must answer, where the log has one segment.
fn expected(log: &[Known], from: i64, visible: i64, max: usize, min_one: bool) -> Vec<u8> {
    let mut answer = Vec::new();
    for known in log.iter().filter(|known| known.last >= from && known.last < visible) {
        let fits = answer.len() + known.bytes.len() <= max || answer.is_empty() && min_one;
        if from >= visible || !fits {
            break;
        }
        answer.extend(&known.bytes);
    }
    answer
}

/// Appends batches of these numbers of records and bytes, `at_once` by one call.
fn fill(log: &mut Log, sizes: &[(i32, usize)], at_once: usize) -> Vec<Known> {
    let mut known = Vec::new();
    let mut base = log.reader().end_offset();
    for run in sizes.chunks(at_once) {
        let mut batches = Vec::new();
        for (count, payload) in run {
            let bytes = batch(*count, *payload, 7);
            batches.push(incoming(bytes.clone()));
            let last = base + i64::from(*count) - 1;
            known.push(Known { base, last, bytes: written(bytes, base, 0) });
            base = last + 1;
        }
        log.append(&mut batches, 1).unwrap();
    }
    known
}

/// Whether `answer` is a right answer: the expected bytes, or fewer whole batches, but not none.
fn agrees(answer: &[u8], expected: &[u8], log: &[Known]) -> bool {
    let ends = |known: &Known| answer.ends_with(&known.bytes);
    expected.starts_with(answer)
        && answer.is_empty() == expected.is_empty()
        && (answer.is_empty() || log.iter().any(ends))
}

#[test]
fn every_offset_is_answered_by_the_batch_that_holds_it() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    // Small ones in which several share an entry, one larger than a read, and ones with an entry.
    let sizes =
        [(3, 39), (1, 1939), (2, 2000), (5, 200), (1, 20_000), (4, 5000), (1, 0), (9, 4035)];
    let known = fill(&mut log, &sizes.repeat(4), 3);
    let reader = log.reader();
    for from in 0..=reader.end_offset() {
        for visible in known.iter().map(|known| known.base).chain([reader.end_offset()]) {
            for (max, min_one) in [(0, true), (150, false), (4096, true), (30_000, true)] {
                let answer = plan(&reader, from, visible, max as u64, min_one);
                let expected = expected(&known, from, visible, max, min_one);
                let (got, want) = (answer.len(), expected.len());
                let case = format!("{from} to {visible}, {max} {min_one}: {got}, not {want}");
                assert!(agrees(&answer, &expected, &known), "{case}");
            }
        }
    }
}

#[test]
fn one_small_batch_is_in_memory_and_the_place_of_the_next_is_noted() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let known = fill(&mut log, &[(1, 39), (2, 39), (1, 3000), (1, 39)], 4);
    let reader = log.reader();
    let key = reader.shared.segments()[0].key;
    let mut behind = 0;
    for batch in &known[..3] {
        let plan = reader.plan(batch.base, reader.end_offset(), 1, true, Patience::Wait).unwrap();
        assert!(
            matches!(&plan.records, crate::wire::Records::Memory(bytes) if bytes == &batch.bytes)
        );
        behind += u32::try_from(batch.bytes.len()).unwrap();
        let next = u32::try_from(batch.last + 1).unwrap();
        assert_eq!(next_read::NextRead::position(key, next), Some(behind));
    }
}

/// A log of several segments, as the test knows it.
fn in_segments(known: &[Known], segment_bytes: usize) -> Vec<Vec<Known>> {
    let mut segments: Vec<Vec<Known>> = vec![Vec::new()];
    let mut size = 0;
    for batch in known {
        if size > 0 && size + batch.bytes.len() > segment_bytes {
            segments.push(Vec::new());
            size = 0;
        }
        size += batch.bytes.len();
        segments.last_mut().unwrap().push(batch.clone());
    }
    segments
}

/// Checks reads from every offset up to some ends, by several limits.
fn check_all(reader: &LogReader, segments: &[Vec<Known>], case: &str) {
    let all = segments.concat();
    let ends = all.iter().step_by(5).map(|known| known.base).chain([reader.end_offset()]);
    for visible in ends {
        for from in reader.start_offset()..=reader.end_offset() {
            let known =
                segments.iter().find(|known| known.last().is_some_and(|it| it.last >= from));
            let known = known.map(Vec::as_slice).unwrap_or_default();
            for (max, min_one) in [(0, true), (500, false), (9_000, true)] {
                let plan = reader.plan(from, visible, max as u64, min_one, Patience::Wait);
                let plan = plan.unwrap();
                let answer = read(&plan.records);
                let expected = expected(known, from, visible, max, min_one);
                let left = all.iter().filter(|it| it.last >= from && it.last < visible);
                let bytes: usize = left.map(|known| known.bytes.len()).sum();
                let is_cut = from < visible && answer.len() < bytes;
                assert_eq!(plan.is_cut, is_cut, "{case}: {from} to {visible}, {max}");
                let (got, want) = (answer.len(), expected.len());
                let case = format!("{case}: {from} to {visible}, {max}: {got}, not {want}");
                assert!(agrees(&answer, &expected, known), "{case}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the sizes are, and however often the log was closed and opened.
    #[test]
    fn a_log_of_several_segments_is_read_like_a_list_of_batches(
        sizes in vec((1..4_i32, prop_oneof![0..300_usize, 2_000..9_000_usize]), 1..60),
        at_once in 1..5_usize,
        segment_bytes in 1_000..40_000_usize,
        start in prop_oneof![Just(Start::Clean), Just(Start::Unclean)],
    ) {
        let (_parent, dir) = place_in_memory();
        let config = small_segments(segment_bytes as u64);
        let mut log = Log::create(&dir, Arc::clone(&config), files()).unwrap();
        let known = fill(&mut log, &sizes, at_once);
        let segments = in_segments(&known, segment_bytes);
        check_all(&log.reader(), &segments, "written");
        log.close().unwrap();
        drop(log);
        let (mut log, _) = Log::open(&dir, config, files(), start).unwrap();
        check_all(&log.reader(), &segments, "opened");
        prop_assert!(check::check(&dir).findings.is_empty());
        append(&mut log, [batch(1, 100, 7)]);
        let end = log.reader().end_offset();
        let epoch = i32::from(start == Start::Unclean);
        let last = plan(&log.reader(), end - 1, end, 1, true);
        prop_assert_eq!(last, written(batch(1, 100, 7), end - 1, epoch));
        log.close().unwrap();
        prop_assert!(check::check(&dir).findings.is_empty());
    }
}

#[test]
fn offsets_that_compaction_took_away_are_answered_by_the_next_batch() {
    let (_parent, dir) = place();
    drop(Log::create(&dir, small_segments(1 << 20), files()).unwrap());
    let mut known = Vec::new();
    let mut base = 0;
    for (at, payload) in (0..40).zip([30, 1_500, 5_000].into_iter().cycle()) {
        // Some are missing before each third batch, and records within a batch are as well.
        base += if at % 3 == 0 { 7 } else { 0 };
        let count = 1 + at % 4;
        let bytes = written(batch(count, payload, 7), base, 0);
        known.push(Known { base, last: base + i64::from(count) - 1, bytes });
        base += i64::from(count);
    }
    let bytes: Vec<u8> = known.iter().flat_map(|known| known.bytes.clone()).collect();
    fs::write(names::Kind::Log.path(&dir, 0), bytes).unwrap();
    let (mut log, _) = Log::open(&dir, small_segments(1 << 20), files(), Start::Unclean).unwrap();
    check_all(&log.reader(), &[known.clone()], "recovered");
    log.close().unwrap();
    drop(log);
    let (log, _) = Log::open(&dir, small_segments(1 << 20), files(), Start::Clean).unwrap();
    check_all(&log.reader(), &[known], "opened");
}

#[test]
fn a_consumer_that_keeps_up_needs_no_read_and_neither_does_an_end_that_lags() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 30), files()).unwrap();
    let reader = log.reader();
    for _ in 0..100 {
        append(&mut log, [batch(1, 107, 7)]);
    }
    let config = small_segments(1 << 20);
    let mut large = Log::create(&dir.with_extension("large"), config, files()).unwrap();
    append(&mut large, (0..50).map(|_| batch(2, 5_000, 7)));
    // Where it would be read from.
    fs::write(names::Kind::Log.path(&dir.with_extension("large"), 0), b"").unwrap();
    for from in 2..100 {
        // Each batch but the first has an entry.
        let plan = large.reader().plan(from, 100, 12_000, false, Patience::Now).unwrap();
        assert!([5061, 10_122].contains(&plan.records.len()), "{from}");
    }
    fs::write(names::Kind::Log.path(&dir, 0), b"").unwrap();
    for (from, visible) in [(99, 100), (40, 100), (40, 70)] {
        let plan = reader.plan(from, visible, 1 << 20, true, Patience::Now).unwrap();
        assert_eq!(plan.records.len(), 168 * u64::try_from(visible - from).unwrap());
    }
}

#[test]
fn files_of_many_segments_give_way_to_one_another() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(100), files()).unwrap();
    append(&mut log, (0..60).map(|_| batch(1, 39, 7)));
    assert_eq!(log.unsynced().run().unwrap(), 60);
    for from in 0..60 {
        assert_eq!(plan(&log.reader(), from, 60, 1, true), written(batch(1, 39, 7), from, 0));
    }
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let count = targets.filter(|target| target.starts_with(&dir)).count();
    assert!(count <= 8, "{count} files are open");
}

/// The first batch of a segment and those behind the end of an append have no entry, and may be
/// followed by none for longer than a look reads.
#[test]
fn a_batch_in_front_of_a_large_one_without_an_entry_is_not_passed_over() {
    let (_parent, dir) = place();
    let mut log = Log::create(&dir, small_segments(1 << 20), files()).unwrap();
    let sizes = [(3, 2_845), (3, 9_716), (3, 3_251), (2, 8_241), (3, 9_774), (3, 100), (1, 9_000)];
    let known = fill(&mut log, &sizes, 4);
    check_all(&log.reader(), &[known], "written");
}
