//! What a reader that misses bytes leads to: nothing new, a request to the origin, or a wait.
//!
//! One request serves all who read behind it. A reader far ahead of it is given another request,
//! because waiting for a gigabyte to see the last hundred bytes is what people complain of;
//! a reader shortly ahead of it waits, because a request costs a round trip as well.

use std::ops::Range;
use std::time::Duration;

use crate::extents::Extents;

/// What a reader far ahead asks for first; each next one in sequence asks for twice as much,
pub(crate) const JUMP_BYTES_MIN: u64 = 64 << 10;

/// up to this.
pub(crate) const JUMP_BYTES_MAX: u64 = 1 << 20;

/// Ranges begin where pages do, so that no page is asked for twice.
const PAGE_BYTES: u64 = 4096;

/// A fill that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Filling {
    /// Tells it from others of the same object.
    pub(crate) number: u64,
    /// The next byte that will come.
    pub(crate) at: u64,
    /// The one after the last that was asked for.
    pub(crate) end: u64,
    /// Measured since its first byte; 0 before it.
    pub(crate) bytes_per_second: u64,
}

/// What is known of an origin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OriginFacts {
    /// From asking to the first byte.
    pub(crate) round_trip: Duration,
    /// Whether it answers ranges of exactly this generation: it has a strong validator, and said
    /// `Accept-Ranges: bytes` or answered one.
    pub(crate) has_ranges: bool,
    /// The most requests for one object at a time.
    pub(crate) fills_max: usize,
}

impl OriginFacts {
    /// Of one that was not asked yet.
    pub(crate) const UNKNOWN: Self =
        Self { round_trip: Duration::from_millis(20), has_ranges: false, fills_max: 1 };
}

/// What somebody wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// The first byte that is missing and the end of what is read.
    pub(crate) range: Range<u64>,
    /// What this reader may ask for ahead of others: see [`JUMP_BYTES_MIN`].
    pub(crate) jump: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// What is wanted is on its way.
    Wait,
    /// To ask for a range; its end may be that of the object.
    Ask(Range<u64>),
    /// To ask when a fill of this object has ended.
    Full,
}

/// What to do for a reader whose next byte is not there.
pub(crate) fn plan(there: &Extents, fills: &[Filling], need: &Need, origin: &OriginFacts) -> Next {
    let at = need.range.start;
    let coming = fills.iter().filter(|fill| fill.at <= at && at < fill.end).max_by_key(|f| f.at);
    if let Some(fill) = coming {
        if !origin.has_ranges || arrives_within(fill, at, 2 * origin.round_trip) {
            return Next::Wait;
        }
    } else if !origin.has_ranges {
        // One request for all that is missing is all that such an origin can be asked for.
        let rest = there.gap_from(0).start..there.len();
        return if fills.is_empty() { Next::Ask(rest) } else { Next::Wait };
    }
    if fills.len() >= origin.fills_max {
        return if coming.is_some() { Next::Wait } else { Next::Full };
    }
    let gap = there.gap_from(at);
    let before = there.gap_from(at / PAGE_BYTES * PAGE_BYTES);
    let start = if before.contains(&at) { before.start } else { at };
    let others = fills.iter().map(|fill| fill.at).filter(|other| *other > at).min();
    let limit = gap.end.min(others.unwrap_or(u64::MAX));
    let wanted = if coming.is_some() { at + need.jump } else { need.range.end };
    let end = wanted.max(at + JUMP_BYTES_MIN.min(need.jump)).min(limit);
    Next::Ask(start..end)
}

fn arrives_within(fill: &Filling, at: u64, time: Duration) -> bool {
    let bytes = u128::from(fill.bytes_per_second) * time.as_micros() / 1_000_000;
    u128::from(at - fill.at) <= bytes.max(u128::from(JUMP_BYTES_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LEN: u64 = 64 * MIB;
    const ORIGIN: OriginFacts =
        OriginFacts { round_trip: Duration::from_millis(20), has_ranges: true, fills_max: 4 };

    fn fill(at: u64, end: u64) -> Filling {
        Filling { number: 1, at, end, bytes_per_second: 8 * MIB }
    }

    fn need(range: Range<u64>) -> Need {
        Need { range, jump: JUMP_BYTES_MIN }
    }

    fn of(there: Range<u64>, fills: &[Filling], range: Range<u64>, origin: &OriginFacts) -> Next {
        let mut extents = Extents::none(LEN);
        let mut at = there.start;
        while at < there.end {
            let end = extents.cell(at).end.min(there.end);
            extents.insert(crate::extents::Piece {
                start: at,
                len: u32::try_from(end - at).unwrap(),
                crc32c: 0,
            });
            at = end;
        }
        plan(&extents, fills, &need(range), origin)
    }

    #[test]
    fn each_case() {
        let whole = fill(2 * MIB, LEN);
        let near = 2 * MIB + 300_000;
        for (case, there, fills, range, wanted) in [
            ("nothing there, from the first byte", 0..0, &[][..], 0..LEN, Next::Ask(0..LEN)),
            ("nothing there, 100 bytes", 0..0, &[], 0..100, Next::Ask(0..JUMP_BYTES_MIN)),
            ("the last 100", 0..0, &[], LEN - 100..LEN, Next::Ask(LEN - 4096..LEN)),
            ("behind a fill", 0..2 * MIB, &[whole], 2 * MIB..LEN, Next::Wait),
            ("shortly ahead of it", 0..2 * MIB, &[whole], near..LEN, Next::Wait),
            (
                "far ahead of it",
                0..2 * MIB,
                &[whole],
                32 * MIB..LEN,
                Next::Ask(32 * MIB..32 * MIB + JUMP_BYTES_MIN),
            ),
            (
                "before what is there",
                5 * MIB..6 * MIB,
                &[],
                4 * MIB..LEN,
                Next::Ask(4 * MIB..5 * MIB),
            ),
            (
                "before another's fill",
                0..0,
                &[fill(5 * MIB, 6 * MIB)],
                4 * MIB..LEN,
                Next::Ask(4 * MIB..5 * MIB),
            ),
            (
                "in the page that another's bytes end in",
                0..5000,
                &[],
                5500..6000,
                Next::Ask(5000..5500 + JUMP_BYTES_MIN),
            ),
            ("with four under way elsewhere", 0..0, &[fill(5, 6); 4], 40 * MIB..LEN, Next::Full),
            ("far ahead, with four under way", 0..0, &[fill(0, LEN); 4], 40 * MIB..LEN, Next::Wait),
        ] {
            assert_eq!(of(there, fills, range, &ORIGIN), wanted, "{case}");
        }
    }

    #[test]
    fn an_origin_without_ranges_is_asked_once_and_for_all() {
        let origin = OriginFacts { has_ranges: false, ..ORIGIN };
        assert_eq!(of(0..0, &[], LEN - 100..LEN, &origin), Next::Ask(0..LEN));
        assert_eq!(of(0..MIB, &[fill(MIB, LEN)], LEN - 100..LEN, &origin), Next::Wait);
    }

    #[test]
    fn a_slow_start_is_no_reason_to_ask_again() {
        let unknown = Filling { bytes_per_second: 0, ..fill(0, LEN) };
        assert_eq!(of(0..0, &[unknown], 1000..LEN, &ORIGIN), Next::Wait);
        let far = of(0..0, &[unknown], 32 * MIB..LEN, &ORIGIN);
        assert_eq!(far, Next::Ask(32 * MIB..32 * MIB + JUMP_BYTES_MIN));
    }
}
