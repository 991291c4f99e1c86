//! The greatest of many, kept while they pass by.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The `limit` greatest amounts with what they belong to. Of equal amounts the smaller key comes
/// first, so two runs give the same list.
#[derive(Debug)]
pub(super) struct Top<K, T> {
    limit: usize,
    heap: BinaryHeap<Row<K, T>>,
}

#[derive(Debug)]
struct Row<K, T> {
    amount: u64,
    key: K,
    item: T,
}

impl<K: Ord, T> Top<K, T> {
    /// Keeps this many; 0 keeps all.
    pub(super) const fn new(limit: usize) -> Self {
        let limit = if limit == 0 { usize::MAX } else { limit };
        Self { limit, heap: BinaryHeap::new() }
    }

    /// Whether this amount may be among the greatest so far.
    pub(super) fn takes(&self, amount: u64) -> bool {
        self.heap.len() < self.limit || self.heap.peek().is_some_and(|last| amount >= last.amount)
    }

    /// Takes what belongs to `key` if its amount is among the greatest so far.
    pub(super) fn offer(&mut self, amount: u64, key: K, item: impl FnOnce() -> T) {
        if self.heap.len() < self.limit {
            return self.heap.push(Row { amount, key, item: item() });
        }
        let Some(mut last) = self.heap.peek_mut() else { return };
        if rank(amount, &key, last.amount, &last.key) == Ordering::Less {
            *last = Row { amount, key, item: item() };
        }
    }

    /// The greatest first.
    pub(super) fn into_rows(self) -> impl Iterator<Item = (u64, K, T)> {
        self.heap.into_sorted_vec().into_iter().map(|row| (row.amount, row.key, row.item))
    }
}

/// The order of a list: what comes first is less.
fn rank<K: Ord>(amount: u64, key: &K, other_amount: u64, other_key: &K) -> Ordering {
    other_amount.cmp(&amount).then_with(|| key.cmp(other_key))
}

impl<K: Ord, T> Ord for Row<K, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        rank(self.amount, &self.key, other.amount, &other.key)
    }
}

impl<K: Ord, T> PartialOrd for Row<K, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, T> PartialEq for Row<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<K: Ord, T> Eq for Row<K, T> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(limit: usize, rows: &[(u64, u32)]) -> Vec<(u64, u32)> {
        let mut top = Top::new(limit);
        for (amount, key) in rows {
            top.offer(*amount, *key, || ());
        }
        top.into_rows().map(|(amount, key, ())| (amount, key)).collect()
    }

    #[test]
    fn the_greatest_come_first_and_equals_by_their_keys_in_whatever_order_they_came() {
        let rows = [(5, 9), (7, 3), (5, 2), (1, 1), (7, 8), (5, 4)];
        let wanted = [(7, 3), (7, 8), (5, 2), (5, 4)];
        assert_eq!(top(4, &rows), wanted);
        let mut backwards = rows;
        backwards.reverse();
        assert_eq!(top(4, &backwards), wanted);
    }

    #[test]
    fn no_limit_keeps_all() {
        let rows: Vec<(u64, u32)> = (0..1_000).map(|key| (7, key)).collect();
        assert_eq!(top(0, &rows), rows);
        assert_eq!(top(9, &[]), []);
    }

    #[test]
    fn what_is_not_kept_is_not_made() {
        let mut top = Top::new(1);
        top.offer(5, 1, || ());
        top.offer(5, 2, || unreachable!("equal, and after the first"));
        top.offer(4, 0, || unreachable!("less"));
        assert!(top.takes(5) && !top.takes(4));
        assert_eq!(top.into_rows().count(), 1);
    }
}
