//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use crate::pieces::Pieces;

/// The list of what a part has: its text, its ranges, its total, and shares of what is missing.
#[must_use]
pub fn pieces(text: &str, most: u64) -> Option<(String, Vec<(u64, u64)>, u64, Vec<(u64, u64)>)> {
    let pieces = Pieces::parse(text)?;
    Some((pieces.text(), pieces.have().to_vec(), pieces.total, pieces.shares(most)))
}
