//! A Range field as `serve` reads it, next to `--range` of `copy`, which means the same.
//!
//! Input: the length in decimal, a line end, the field.
#![no_main]

use std::ops::Range;

use libfuzzer_sys::fuzz_target;
use underpass_serve::fuzzing;

const RANGES_MAX: usize = 5;

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (first, field) = (&bytes[..at], &bytes[at + 1..]);
    let Some(len) = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()) else {
        return;
    };
    let selected = fuzzing::select(field, len, RANGES_MAX);
    let parts = selected.as_deref().unwrap_or_default();
    assert!(parts.len() <= RANGES_MAX);
    for (at, part) in parts.iter().enumerate() {
        assert!(part.start < part.end && part.end <= len, "{part:?} of {len}");
        let is_apart = |other: &Range<u64>| part.end <= other.start || other.end <= part.start;
        assert!(parts[..at].iter().all(is_apart), "{parts:?}");
    }
    let text = std::str::from_utf8(field).unwrap_or_default();
    let Some(word) = text.strip_prefix("bytes=") else { return };
    let Ok(range) = word.parse::<underpass_copy::Range>() else { return };
    assert_eq!(selected, expected(range, len), "{word} of {len}");
    let again = format!("bytes={range}");
    assert_eq!(fuzzing::select(again.as_bytes(), len, RANGES_MAX), selected, "{again}");
});

/// RFC 9110 §14.1.2, in numbers that do not overflow.
fn expected(range: underpass_copy::Range, len: u64) -> Option<Vec<Range<u64>>> {
    if len == 0 {
        // Nothing is all there is, and any range of it is answered with it.
        return None;
    }
    let wide = |number: u64| u128::from(number);
    let (from, to) = match range {
        underpass_copy::Range::Whole => (0, wide(len)),
        underpass_copy::Range::From { first, last } => {
            (wide(first), last.map_or(wide(len), |last| wide(last) + 1))
        }
        underpass_copy::Range::Suffix(0) => return Some(vec![]),
        underpass_copy::Range::Suffix(count) => (wide(len.saturating_sub(count)), wide(len)),
    };
    if from >= wide(len) {
        return Some(vec![]);
    }
    let narrow = |number: u128| u64::try_from(number.min(wide(len))).expect("it is at most len");
    Some(vec![narrow(from)..narrow(to)])
}
