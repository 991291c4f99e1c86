//! The orders of a listing: what comes first, and which rows are on a page.
//!
//! Directories come before files in all of them. Of equals the one whose name comes first is
//! first, whichever way round the order is, so that pages never overlap.

use std::cmp::Ordering;
use std::ops::Range;

use super::query::{Query, Sort};
use super::read::Name;

/// Puts the rows of a range of the sorted list into their places, and no others: of a million
/// names a page needs a thousand.
pub(super) fn sort_within<'n>(
    names: &'n mut [Name],
    range: Range<usize>,
    query: &Query,
) -> &'n mut [Name] {
    let order = |one: &Name, other: &Name| compare(one, other, query);
    let len = range.len();
    if range.start > 0 && range.start < names.len() {
        names.select_nth_unstable_by(range.start, order);
    }
    let rest = &mut names[range.start..];
    if len < rest.len() {
        rest.select_nth_unstable_by(len, order);
    }
    let page = &mut rest[..len];
    page.sort_unstable_by(order);
    page
}

fn compare(one: &Name, other: &Name, query: &Query) -> Ordering {
    let by_name = || compare_names(&one.bytes, &other.bytes);
    let order = match query.sort {
        Sort::Name => by_name(),
        Sort::Size => one.size().cmp(&other.size()),
        Sort::Modified => one.modified().cmp(&other.modified()),
    };
    let order = if query.is_descending { order.reverse() } else { order };
    other.is_directory.cmp(&one.is_directory).then(order).then_with(by_name)
}

/// The order in which people look for names: upper and lower case are the same, numbers count by
/// their value. What is equal so far is ordered by its bytes.
fn compare_names(one: &[u8], other: &[u8]) -> Ordering {
    let (mut left, mut right) = (one, other);
    while let (Some(&a), Some(&b)) = (left.first(), right.first()) {
        let (order, used) = if a.is_ascii_digit() && b.is_ascii_digit() {
            let (m, n) = (digits(left), digits(right));
            (compare_numbers(&left[..m], &right[..n]), (m, n))
        } else {
            (a.to_ascii_lowercase().cmp(&b.to_ascii_lowercase()), (1, 1))
        };
        if order.is_ne() {
            return order;
        }
        (left, right) = (&left[used.0..], &right[used.1..]);
    }
    left.len().cmp(&right.len()).then_with(|| one.cmp(other))
}

/// How many digits text begins with.
fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn compare_numbers(one: &[u8], other: &[u8]) -> Ordering {
    let significant = |number: &[u8]| number.iter().take_while(|&&byte| byte == b'0').count();
    let (one, other) = (&one[significant(one)..], &other[significant(other)..]);
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &[u8]) -> Name {
        Name { bytes: text.into(), is_directory: false, seen: None }
    }

    #[test]
    fn names_are_in_the_order_in_which_people_count() {
        let sorted = [
            "",
            ".dot",
            "01",
            "1",
            "2",
            "10",
            "A",
            "a",
            "a.b",
            "a0b",
            "a1",
            "a1b",
            "a01c",
            "a2",
            "a10",
            "a10b",
            "a18446744073709551616",
            "B",
            "\u{e9}",
        ];
        for (at, one) in sorted.iter().enumerate() {
            for (other_at, other) in sorted.iter().enumerate() {
                let order = compare_names(one.as_bytes(), other.as_bytes());
                assert_eq!(order, at.cmp(&other_at), "{one} {other}");
            }
        }
    }

    fn names() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec("[aAb01.]{0,5}".prop_map(String::into_bytes), 1..40)
    }

    proptest! {
        #[test]
        fn a_page_is_that_part_of_all_rows_sorted(
            texts in names(), from in 0..40_usize, to in 0..40_usize, is_descending: bool,
        ) {
            let query = Query { is_descending, ..Query::default() };
            let mut names: Vec<Name> = texts.iter().map(|text| name(text)).collect();
            let mut sorted: Vec<_> = names.iter().map(|name| name.bytes.clone()).collect();
            sorted.sort_by(|one, other| {
                let order = compare(&name(one), &name(other), &query);
                // Whatever the order, its opposite is that of the two swapped.
                assert_eq!(order, compare(&name(other), &name(one), &query).reverse());
                order
            });
            let (from, to) = (from.min(names.len()), to.min(names.len()));
            let range = from.min(to)..to.max(from);
            let page = sort_within(&mut names, range.clone(), &query);
            let page: Vec<_> = page.iter().map(|name| name.bytes.clone()).collect();
            prop_assert_eq!(&page, &sorted[range]);
        }
    }
}
