//! Byte ranges of a `GET`: which part of a representation a `Range` field asks for.
//!
//! A field that does not parse is ignored and the whole representation is sent; one that parses
//! but selects nothing is 416. The two must not be confused. A set of several ranges is answered
//! with the whole representation, which a server may always do, so a request cannot multiply the
//! bytes it costs.
//!
//! Source: RFC 9110 §14.1.1 (ranges-specifier), §14.1.2 (byte ranges), §14.2 (Range), §14.4
//! (Content-Range), §15.5.17 (416).

use std::ops::Range;

use http::HeaderValue;

/// What a `Range` field selects of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: there is no range, or not one that is honoured.
    Whole,
    /// These bytes, at least one, within the representation.
    Part(Range<u64>),
    /// Nothing: the range starts past the last byte.
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

/// Selects from a representation of `len` bytes.
#[must_use]
pub(crate) fn select(field: &[u8], len: u64) -> Selection {
    match parse(field) {
        None => Selection::Whole,
        // Clients that always send `bytes=0-` want an empty file too, and a server may ignore any
        // range.
        Some(_) if len == 0 => Selection::Whole,
        Some(Spec::Suffix { length: 0 }) => Selection::Unsatisfiable,
        Some(Spec::Suffix { length }) => Selection::Part(len - length.min(len)..len),
        Some(Spec::Int { first, .. }) if first >= len => Selection::Unsatisfiable,
        Some(Spec::Int { first, last }) => {
            let end = last.map_or(len, |last| last.saturating_add(1).min(len));
            Selection::Part(first..end)
        }
    }
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

/// The single range of a field that holds exactly one, in the only unit we serve.
fn parse(field: &[u8]) -> Option<Spec> {
    let equals = field.iter().position(|&byte| byte == b'=')?;
    let (unit, set) = (&field[..equals], &field[equals + 1..]);
    // RFC 9110 §14.1: range unit names are case-insensitive.
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    // RFC 9110 §5.6.1.2: a recipient accepts empty members of a list.
    let mut members = set.split(|&b| b == b',').map(trim).filter(|member| !member.is_empty());
    let only = members.next()?;
    if members.next().is_some() {
        return None;
    }
    let dash = only.iter().position(|&byte| byte == b'-')?;
    match (&only[..dash], &only[dash + 1..]) {
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

    use super::Selection::{Part, Unsatisfiable, Whole};
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
            assert_eq!(select(field.as_bytes(), len), selection, "{field} of {len}");
        }
    }

    #[test]
    fn what_does_not_parse_or_holds_several_ranges_is_ignored() {
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
            "bytes=0-1,3-4",
            "bytes=0-1, -1",
            "bytes=99-, 98-",
            "=1-2",
            "bytes=\u{664}-",
        ] {
            assert_eq!(select(field.as_bytes(), 10), Whole, "{field:?}");
        }
    }

    #[test]
    fn any_range_of_nothing_is_nothing_whole() {
        for field in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-5", "bytes=-0"] {
            assert_eq!(select(field.as_bytes(), 0), Whole, "{field}");
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
            let got = match select(format!("bytes={first}-{last}").as_bytes(), len) {
                Part(part) => part.collect(),
                Unsatisfiable => vec![],
                Whole => { prop_assert!(last < first || len == 0); return Ok(()); }
            };
            prop_assert!(first <= last);
            prop_assert_eq!(got, wanted);
        }

        /// Nothing a peer writes makes a part that is empty or leaves the representation.
        #[test]
        fn a_part_lies_within(field in "bytes=[-0-9, ]{0,48}|\\PC{0,24}", len in any::<u64>()) {
            if let Part(part) = select(field.as_bytes(), len) {
                prop_assert!(part.start < part.end && part.end <= len, "{part:?}");
            }
        }
    }
}
