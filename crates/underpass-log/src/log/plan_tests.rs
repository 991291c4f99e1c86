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
