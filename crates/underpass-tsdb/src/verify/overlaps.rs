//! Blocks whose times overlap: nothing is lost by it, and queries merge them.

use crate::block::Block;
use crate::time::Rfc3339;

/// A line for each block that overlaps with one before it in time.
#[must_use]
pub fn overlaps(blocks: &[Block]) -> Vec<String> {
    let times = |block: &Block| block.meta().map(|meta| (meta.min_time, meta.max_time));
    let mut sorted: Vec<_> =
        blocks.iter().filter_map(|block| Some((times(block)?, block.name()))).collect();
    sorted.sort_unstable();
    let mut lines = Vec::new();
    let mut widest: Option<((i64, i64), &str)> = None;
    for ((min, max), name) in sorted {
        if let Some(((_, end), before)) = widest.filter(|((_, end), _)| min < *end) {
            let (from, to) = (Rfc3339(min), Rfc3339(end.min(max)));
            lines.push(format!("{before} and {name} overlap from {from} to {to}"));
        }
        if widest.is_none_or(|((_, end), _)| end < max) {
            widest = Some(((min, max), name));
        }
    }
    lines
}
