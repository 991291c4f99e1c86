//! A Range field as `serve` reads it, next to `--range` of `copy`, which means the same.
//!
//! Input: the length in decimal, a line end, the field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use underpass_serve::fuzzing;

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else { return };
    let (first, field) = (&bytes[..at], &bytes[at + 1..]);
    let Some(len) = std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()) else {
        return;
    };
    let selected = fuzzing::select(field, len);
    if let Some(part) = &selected {
        assert!(part.start <= part.end && part.end <= len, "{part:?} of {len}");
    }
    let text = std::str::from_utf8(field).unwrap_or_default();
    let Some(word) = text.strip_prefix("bytes=") else { return };
    let Ok(range) = word.parse::<underpass_copy::Range>() else { return };
    assert_eq!(selected, expected(range, len), "{word} of {len}");
    let again = format!("bytes={range}");
    assert_eq!(fuzzing::select(again.as_bytes(), len), selected, "{again}");
});

/// RFC 9110 §14.1.2, in numbers that do not overflow.
fn expected(range: underpass_copy::Range, len: u64) -> Option<std::ops::Range<u64>> {
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
        underpass_copy::Range::Suffix(0) => return Some(len..len),
        underpass_copy::Range::Suffix(count) => (wide(len.saturating_sub(count)), wide(len)),
    };
    if from >= wide(len) {
        return Some(len..len);
    }
    let narrow = |number: u128| u64::try_from(number.min(wide(len))).expect("it is at most len");
    Some(narrow(from)..narrow(to))
}
