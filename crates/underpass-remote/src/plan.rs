//! What a reader that misses bytes leads to: nothing new, a request to the origin, or a wait.
//!
//! One request serves all who read behind it. A reader far ahead of it is given another request,
//! because waiting for a gigabyte to see the last hundred bytes is what people complain of;
//! a reader shortly ahead of it waits, because a request costs a round trip as well.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::extents::Extents;

/// What a reader far ahead asks for first; each next one in sequence asks for twice as much,
pub(crate) const JUMP_BYTES_MIN: u64 = 64 << 10;

/// up to this.
pub(crate) const JUMP_BYTES_MAX: u64 = 1 << 20;

/// A fill of which nothing came for this long, and for some round trips, is not counted on by those
/// who are ahead of it.
const STALLED_AFTER: Duration = Duration::from_millis(500);

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
    /// Measured of late; 0 before its first byte.
    pub(crate) bytes_per_second: u64,
    /// When bytes came last, or it began.
    pub(crate) came: Instant,
}

impl Filling {
    /// How fast its next bytes will come, as far as that is known.
    fn rate(&self, now: Instant, round_trip: Duration) -> u64 {
        let quiet = now.saturating_duration_since(self.came);
        if quiet > STALLED_AFTER.max(4 * round_trip) { 0 } else { self.bytes_per_second }
    }
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
    /// When it is.
    pub(crate) now: Instant,
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
        if !origin.has_ranges || arrives_soon(fill, need, origin.round_trip) {
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

/// Whether a fill is there before the answer to another request would have been read.
fn arrives_soon(fill: &Filling, need: &Need, round_trip: Duration) -> bool {
    let rate = u128::from(fill.rate(need.now, round_trip));
    let bytes = rate * (2 * round_trip).as_micros() / 1_000_000;
    u128::from(need.range.start - fill.at) <= bytes.max(u128::from(JUMP_BYTES_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const LEN: u64 = 64 * MIB;
    const ORIGIN: OriginFacts =
        OriginFacts { round_trip: Duration::from_millis(20), has_ranges: true, fills_max: 4 };

    fn fill(at: u64, end: u64) -> Filling {
        Filling { number: 1, at, end, bytes_per_second: 8 * MIB, came: Instant::now() }
    }

    fn need(range: Range<u64>) -> Need {
        Need { range, jump: JUMP_BYTES_MIN, now: Instant::now() }
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

    #[test]
    fn what_has_stalled_is_not_waited_for_by_those_who_are_ahead_of_it() {
        let whole = fill(2 * MIB, LEN);
        let near = 2 * MIB + 300_000;
        let next = |range, after, round_trip| {
            let need = Need { now: whole.came + after, ..need(range) };
            plan(&Extents::none(LEN), &[whole], &need, &OriginFacts { round_trip, ..ORIGIN })
        };
        let (second, short) = (Duration::from_secs(1), ORIGIN.round_trip);
        assert_eq!(next(near..LEN, second / 4, short), Next::Wait);
        let page = near / 4096 * 4096;
        assert_eq!(next(near..LEN, second, short), Next::Ask(page..near + JUMP_BYTES_MIN));
        assert_eq!(next(2 * MIB..LEN, second, short), Next::Wait, "it is at its place");
        assert_eq!(next(near..LEN, second, second / 2), Next::Wait, "an origin far away");
    }
}
