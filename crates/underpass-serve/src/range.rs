//! Byte ranges of a `GET`: which parts of a representation a `Range` field asks for.
//!
//! A field that does not parse is ignored and the whole representation is sent; one that parses
//! but selects nothing is 416. The two must not be confused. Ranges that overlap or nearly touch
//! are joined, and a set of too many is answered with the whole representation, which a server may
//! always do: a request cannot multiply the bytes it costs.
//!
//! Source: RFC 9110 §14.1.1 (ranges-specifier), §14.1.2 (byte ranges), §14.2 (Range), §14.4
//! (Content-Range), §15.3.7.2 (several parts), §15.5.17 (416), §17.15 (denial of service).

use std::ops::Range;

use http::HeaderValue;

/// What a `Range` field selects of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: there is no range, or not one that is honoured.
    Whole,
    /// These bytes, at least one, within the representation.
    Part(Range<u64>),
    /// The same of each of these, at least two, which are far enough apart to be worth the lines
    /// between them; in the order in which they were asked for.
    Parts(Vec<Range<u64>>),
    /// Nothing: every range starts past the last byte.
    Unsatisfiable,
}

/// One byte range as it was written; positions that exceed `u64` are its greatest value, which
/// no file reaches.
enum Spec {
    /// first-pos "-" [ last-pos ], both inclusive.
    Int { first: u64, last: Option<u64> },
    /// "-" suffix-length
    Suffix { length: u64 },
}

/// RFC 9110 §15.3.7.2: what a part costs on top of its bytes. Two that are closer are one.
const BETWEEN_PARTS: u64 = 80;

/// Selects from a representation of `len` bytes, by at most `ranges_max` ranges.
#[must_use]
pub(crate) fn select(field: &[u8], len: u64, ranges_max: usize) -> Selection {
    let Some(members) = members(field) else { return Selection::Whole };
    let mut parts = Vec::new();
    let mut count = 0;
    for member in members {
        count += 1;
        let Some(range) = parse(member).filter(|_| count <= ranges_max) else {
            return Selection::Whole;
        };
        if let Some(part) = range.within(len) {
            join(&mut parts, part);
        }
    }
    match parts.len() {
        // Clients that always send `bytes=0-` want an empty file too, and a server may ignore any
        // range.
        _ if len == 0 || count == 0 => Selection::Whole,
        0 => Selection::Unsatisfiable,
        1 => Selection::Part(parts.remove(0)),
        _ => Selection::Parts(parts),
    }
}

impl Spec {
    /// The bytes of a representation that it means; `None` if there are none.
    fn within(self, len: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::Suffix { length } => len - length.min(len)..len,
            Self::Int { first, last } => {
                first..last.map_or(len, |last| last.saturating_add(1).min(len))
            }
        };
        (part.start < part.end).then_some(part)
    }
}

/// Adds a part. With those that it overlaps or nearly touches it is one, in the place of the
/// first of them.
fn join(parts: &mut Vec<Range<u64>>, mut part: Range<u64>) {
    let mut at = parts.len();
    while let Some(near) = parts.iter().position(|other| are_near(other, &part)) {
        let other = parts.remove(near);
        part = part.start.min(other.start)..part.end.max(other.end);
        at = at.min(near);
    }
    parts.insert(at, part);
}

fn are_near(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start.max(other.start) < one.end.min(other.end).saturating_add(BETWEEN_PARTS)
}

/// `Content-Range` of a part: inclusive positions and the complete length, in bytes.
#[must_use]
pub(crate) fn content_range(part: &Range<u64>, len: u64) -> HeaderValue {
    debug_assert!(part.start < part.end && part.end <= len, "{part:?} of {len}");
    HeaderValue::try_from(format!("bytes {}-{}/{len}", part.start, part.end - 1))
        .expect("digits are visible ASCII")
}

/// `Content-Range` of a 416: only the complete length, in bytes.
#[must_use]
pub(crate) fn unsatisfied_range(len: u64) -> HeaderValue {
    HeaderValue::try_from(format!("bytes */{len}")).expect("digits are visible ASCII")
}

/// The ranges of a field in the only unit we serve, as they were written.
fn members(field: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let equals = field.iter().position(|&byte| byte == b'=')?;
    let (unit, set) = (&field[..equals], &field[equals + 1..]);
    // RFC 9110 §14.1: range unit names are case-insensitive.
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    // RFC 9110 §5.6.1.2: a recipient accepts empty members of a list.
    Some(set.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty()))
}

/// A range of a set.
fn parse(member: &[u8]) -> Option<Spec> {
    let dash = member.iter().position(|&byte| byte == b'-')?;
    match (&member[..dash], &member[dash + 1..]) {
        (b"", length) => Some(Spec::Suffix { length: number(length)? }),
        (first, b"") => Some(Spec::Int { first: number(first)?, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::Int { first, last: Some(last) })
        }
    }
}

/// One or more digits, as the number they write or the greatest `u64` where that is too small.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

/// RFC 9110 §5.6.3: optional whitespace is spaces and tabs.
fn trim(mut member: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = member {
        member = rest;
    }
    member
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Selection::{Part, Parts, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn a_single_range_selects_its_bytes() {
        let table: [(&str, u64, Selection); 21] = [
            ("bytes=0-0", 10, Part(0..1)),
            ("bytes=0-9", 10, Part(0..10)),
            ("bytes=9-9", 10, Part(9..10)),
            ("bytes=2-5", 10, Part(2..6)),
            ("bytes=2-", 10, Part(2..10)),
            ("bytes=2-99", 10, Part(2..10)),
            ("bytes=-3", 10, Part(7..10)),
            ("bytes=-10", 10, Part(0..10)),
            ("bytes=-11", 10, Part(0..10)),
            ("BYTES=1-1", 10, Part(1..2)),
            ("bytes= 1-1 ", 10, Part(1..2)),
            ("bytes=,\t1-1 ,", 10, Part(1..2)),
            ("bytes=00001-0002", 10, Part(1..3)),
            ("bytes=5-18446744073709551615", 10, Part(5..10)),
            ("bytes=5-99999999999999999999999", 10, Part(5..10)),
            ("bytes=-99999999999999999999999", 10, Part(0..10)),
            ("bytes=0-18446744073709551615", u64::MAX, Part(0..u64::MAX)),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=10-12", 10, Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
        ];
        for (field, len, selection) in table {
            assert_eq!(select(field.as_bytes(), len, 4), selection, "{field} of {len}");
        }
    }

    #[test]
    fn what_does_not_parse_or_holds_too_many_ranges_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=--1",
            "bytes=1",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=1-b",
            "bytes=+1-2",
            "bytes=1-+2",
            "bytes=0x1-2",
            "bytes = 1-2",
            "bytes=1 -2",
            "bytes=1- 2",
            "bytes=1-2-3",
            "lines=1-2",
            "bytes=1-2;3",
            "bytes:1-2",
            "bytes=0-1,3-4,5-2",
            "bytes=0-1, x",
            "bytes=99-, 98-, -",
            "bytes=0-1,1-2,2-3,3-4,99-",
            "=1-2",
            "bytes=\u{664}-",
        ] {
            assert_eq!(select(field.as_bytes(), 10, 4), Whole, "{field:?}");
        }
    }

    #[test]
    fn several_ranges_are_parts_in_their_order_or_one_where_they_nearly_touch() {
        for (field, selection) in [
            ("bytes=0-0,100-100", Parts(vec![0..1, 100..101])),
            ("bytes=500-600, 0-9 ,, -1", Parts(vec![500..601, 0..10, 999..1000])),
            ("bytes=0-0,5000-,100-100", Parts(vec![0..1, 100..101])),
            // 79 and 80 bytes between.
            ("bytes=0-9,89-99", Part(0..100)),
            ("bytes=0-9,90-99", Parts(vec![0..10, 90..100])),
            ("bytes=90-99,0-9", Parts(vec![90..100, 0..10])),
            ("bytes=89-99,0-9", Part(0..100)),
            ("bytes=0-9,0-9,0-9,0-9", Part(0..10)),
            ("bytes=0-,0-", Part(0..1000)),
            // The last one fills what was between the others.
            ("bytes=900-999,0-9,400-409,100-900", Parts(vec![100..1000, 0..10])),
            ("bytes=400-409,0-9,200-209,10-500", Part(0..501)),
            ("bytes=9999-,0-0", Part(0..1)),
            ("bytes=9999-,8888-9000,-0", Unsatisfiable),
            ("bytes=0-0,100-100,200-200,300-300", Parts(vec![0..1, 100..101, 200..201, 300..301])),
            ("bytes=0-0,100-100,200-200,300-300,400-400", Whole),
            ("bytes=9990-,9991-,9992-,9993-,9994-", Whole),
        ] {
            assert_eq!(select(field.as_bytes(), 1000, 4), selection, "{field}");
        }
    }

    #[test]
    fn any_range_of_nothing_is_nothing_whole() {
        for field in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=-0"] {
            assert_eq!(select(field.as_bytes(), 0, 4), Whole, "{field}");
        }
    }

    #[test]
    fn content_range_counts_both_ends_in() {
        assert_eq!(content_range(&(0..1), 1), "bytes 0-0/1");
        assert_eq!(content_range(&(7..10), 10), "bytes 7-9/10");
        let last = u64::MAX - 1;
        assert_eq!(
            content_range(&(last..u64::MAX), u64::MAX),
            "bytes 18446744073709551614-18446744073709551614/18446744073709551615",
        );
        assert_eq!(unsatisfied_range(0), "bytes */0");
    }

    proptest! {
        /// Any two positions select what the definition says, byte by byte.
        #[test]
        fn an_int_range_is_the_bytes_between_its_ends(
            first in 0..40_u64,
            last in 0..40_u64,
            len in 0..40_u64,
        ) {
            let wanted: Vec<u64> = (0..len).filter(|at| (first..=last).contains(at)).collect();
            let got = match select(format!("bytes={first}-{last}").as_bytes(), len, 1) {
                Part(part) => part.collect(),
                Unsatisfiable => vec![],
                Parts(parts) => panic!("one range is {parts:?}"),
                Whole => { prop_assert!(last < first || len == 0); return Ok(()); }
            };
            prop_assert!(first <= last);
            prop_assert_eq!(got, wanted);
        }

        /// Nothing a peer writes makes a part that is empty or leaves the representation, nor two
        /// that are near.
        #[test]
        fn parts_lie_within_and_apart(
            field in "bytes=([0-9]{0,3}-[0-9]{0,3},? ?){0,6}|bytes=[-0-9, ]{0,48}|\\PC{0,24}",
            len in prop_oneof![any::<u64>(), 0..2000_u64],
        ) {
            let parts = match select(field.as_bytes(), len, 6) {
                Part(part) => vec![part],
                Parts(parts) => { prop_assert!(parts.len() > 1); parts }
                Whole | Unsatisfiable => vec![],
            };
            prop_assert!(parts.len() <= 6);
            for (at, part) in parts.iter().enumerate() {
                prop_assert!(part.start < part.end && part.end <= len, "{part:?}");
                prop_assert!(parts[..at].iter().all(|other| !are_near(other, part)), "{parts:?}");
            }
        }

        /// The parts are all bytes that were asked for, and others only between near ones.
        #[test]
        fn parts_cover_what_was_asked_for(
            asked in proptest::collection::vec((0..600_u64, 0..600_u64), 1..6),
            len in 1..500_u64,
        ) {
            let asked: Vec<_> = asked.iter().map(|&(a, b)| a.min(b)..a.max(b) + 1).collect();
            let set = asked.iter().map(|it| format!("{}-{}", it.start, it.end - 1));
            let set: Vec<_> = set.collect();
            let parts = match select(format!("bytes={}", set.join(",")).as_bytes(), len, 6) {
                Part(part) => vec![part],
                Parts(parts) => parts,
                Unsatisfiable => vec![],
                Whole => panic!("every range is one"),
            };
            for at in 0..len {
                let is_near = asked.iter().any(|it| {
                    it.start < at + BETWEEN_PARTS && at < it.end + BETWEEN_PARTS
                });
                let is_sent = parts.iter().any(|part| part.contains(&at));
                prop_assert!(is_sent || asked.iter().all(|it| !it.contains(&at)), "{at}");
                prop_assert!(!is_sent || is_near, "{at}");
            }
        }
    }
}
