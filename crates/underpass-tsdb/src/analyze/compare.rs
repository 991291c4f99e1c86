//! Two blocks side by side: the series of each are in the order of their labels, so one pass over
//! both tells which are in one of them only.

use std::cmp::Ordering;

use super::difference::{Comparison, Presence};
use super::scan::{Damages, Scan};
use crate::Labels;
use crate::block::Block;
use crate::index::{SeriesEntry, SeriesId};

/// The series in `ids` of both blocks, or all.
pub(super) fn compare(
    (before, before_ids): (&Block, Option<Vec<SeriesId>>),
    (after, after_ids): (&Block, Option<Vec<SeriesId>>),
) -> (Comparison, Damages) {
    let mut comparison = Comparison::default();
    let (mut before, mut after) = (Row::new(before, before_ids), Row::new(after, after_ids));
    loop {
        let order = match (before.has_more, after.has_more) {
            (false, false) => break,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (true, true) => before.labels.cmp(&after.labels),
        };
        let (labels, found) = match order {
            Ordering::Less => (&before.labels, Presence::Before),
            Ordering::Equal => (&before.labels, Presence::Both),
            Ordering::Greater => (&after.labels, Presence::After),
        };
        comparison.add(labels, found);
        if order.is_le() {
            before.advance();
        }
        if order.is_ge() {
            after.advance();
        }
    }
    let mut damages = before.scan.damages;
    damages.extend(after.scan.damages);
    (comparison, damages)
}

/// The next series of a block.
struct Row<'b> {
    scan: Scan<'b>,
    entry: SeriesEntry,
    labels: Labels,
    has_more: bool,
}

impl<'b> Row<'b> {
    fn new(block: &'b Block, ids: Option<Vec<SeriesId>>) -> Self {
        let (entry, labels) = (SeriesEntry::default(), Labels::default());
        let mut row = Self { scan: Scan::new(block, ids), entry, labels, has_more: true };
        row.advance();
        row
    }

    fn advance(&mut self) {
        self.has_more = self.scan.next(&mut self.entry).is_some();
        if self.has_more {
            self.scan.labels(&self.entry, &mut self.labels);
        }
    }
}
